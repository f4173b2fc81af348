"""JPEGs of frames that are not stored: encoded as an extraction does, and kept on local disk."""

import struct
from dataclasses import replace
from typing import Final

import google_crc32c

from framecache._core.chunk_entry import ChunkEntry
from framecache._index import FrameRow
from framecache._media import jpeg, video
from framecache._read.on_demand.pictures import ChunkPicture
from framecache.model import JpegSettings

_HEADER: Final = struct.Struct(">II16s")
"""Width, height and perceptual hash, before the JPEG of a kept copy."""


def encode(picture: ChunkPicture, settings: JpegSettings) -> tuple[FrameRow, bytes]:
    """Return the row and the JPEG that an extraction stores for a decoded picture."""
    from framecache._ingest.frame_encoding import encode_picture  # noqa: PLC0415 -- OpenCV

    item = picture.item
    assert not isinstance(item, video.Undecodable)
    encoded = encode_picture(item.to_planes(chroma=settings.chroma), settings, entry=picture.entry)
    row = replace(
        picture.row,
        width=encoded.width,
        height=encoded.height,
        size=len(encoded.data),
        crc32c=encoded.crc32c,
        perceptual_hash=encoded.perceptual_hash,
        status="ok",
    )
    return row, encoded.data


def undecodable_row(picture: ChunkPicture) -> FrameRow | None:
    """Return the row that an extraction stores for a frame without a picture; else None."""
    item = picture.item
    if isinstance(item, video.Undecodable):
        return replace(picture.row, status="undecodable", reason=item.reason)
    return None


def identity_of_copy(row: FrameRow, entry: ChunkEntry, settings: JpegSettings) -> str:
    """Return what determines the bytes of a JPEG, as the name of its copy."""
    return "\0".join(
        map(
            str,
            (
                *("decoded", entry.url, entry.etag, entry.size_bytes, row.pts),
                *(settings.quality, settings.aspect, settings.max_side, settings.chroma),
                entry.sample_aspect_ratio,
                *(video.ffmpeg_version(), jpeg.encoder_version()),
            ),
        )
    )


def to_copy(row: FrameRow, data: bytes) -> bytes:
    """Return a JPEG with the values of its row that are not in the index."""
    return _HEADER.pack(row.width, row.height, row.perceptual_hash.encode()) + data


def from_copy(row: FrameRow, copy: bytes) -> tuple[FrameRow, bytes] | None:
    """Return the row and the JPEG of a kept copy; None if it is not one."""
    if len(copy) <= _HEADER.size:
        return None
    width, height, name = _HEADER.unpack_from(copy)
    data = copy[_HEADER.size :]
    found = replace(
        row,
        width=width,
        height=height,
        size=len(data),
        crc32c=google_crc32c.value(data),
        perceptual_hash=name.decode("ascii", "replace").rstrip("\0"),
        status="ok",
    )
    return found, data
