"""A JPEG encoder whose bytes differ for the same pictures, as another version's may."""

from collections.abc import Collection
from dataclasses import replace

import google_crc32c
import pytest

import framecache._media.video
from framecache._core.chunk_entry import ChunkEntry
from framecache._ingest import chunk_frames
from framecache._ingest.frame_encoding import encode_picture
from framecache._layouts.encoding import EncodedJpeg
from framecache.model import JpegSettings


def sign_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the encoder append a signature: the same pictures in other bytes."""

    def encode_signed(
        item: framecache._media.video.Decoded,
        settings: JpegSettings,
        *,
        entry: ChunkEntry,
        sides_from_jpeg: Collection[int] = (),
    ) -> EncodedJpeg:
        made = encode_picture(
            item.to_planes(), settings, entry=entry, sides_from_jpeg=sides_from_jpeg
        )
        signed = made.data[:2] + b"\xff\xfe\x00\x07other" + made.data[2:]
        return replace(made, data=signed, crc32c=google_crc32c.value(signed))

    monkeypatch.setattr(chunk_frames, "encode_decoded", encode_signed)
