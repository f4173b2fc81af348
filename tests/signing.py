"""An encoder that makes other bytes of the same pictures, as another version of it would."""

from dataclasses import replace

import google_crc32c
import pytest

import framecache._media.video
from framecache._core.manifest import ChunkEntry
from framecache._ingest import chunk_frames
from framecache._ingest.frame_encoding import encode_picture
from framecache._layouts.encoding import EncodedJpeg
from framecache.model import JpegSettings


def sign_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, the encoder signs what it makes: the same pictures in other bytes."""

    def encode_otherwise(
        item: framecache._media.video.Decoded, settings: JpegSettings, *, entry: ChunkEntry
    ) -> EncodedJpeg:
        made = encode_picture(item.to_planes(), settings, entry=entry)
        signed = made.data[:2] + b"\xff\xfe\x00\x07other" + made.data[2:]
        return replace(made, data=signed, crc32c=google_crc32c.value(signed))

    monkeypatch.setattr(chunk_frames, "encode_decoded", encode_otherwise)
