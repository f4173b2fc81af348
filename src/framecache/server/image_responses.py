"""Responses that carry a picture: validators, ranges, thumbnails."""

import re
from dataclasses import replace
from importlib.metadata import version
from typing import Final

import cv2
import google_crc32c
import numpy as np
from fastapi import Request, Response

from framecache._index import FrameRow
from framecache._media import jpeg
from framecache._media.scaled_jpeg import decode_to_size
from framecache._version import __version__
from framecache.errors import CorruptFrame
from framecache.server.problem_details import ProblemError

IMMUTABLE: Final = "private, max-age=31536000, immutable"
REVALIDATE: Final = "private, no-cache"
_RANGE_PATTERN: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
_THUMBNAIL_QUALITY: Final = 80
_ENCODER_VERSIONS: Final = (__version__, version("simplejpeg"), cv2.__version__, np.__version__)
_ENCODER_HASH: Final = f"{google_crc32c.value(repr(_ENCODER_VERSIONS).encode()):08x}"
"""Hash of the versions involved; other versions may encode a thumbnail to other bytes."""


def cache_headers(etag: str, cache_control: str) -> dict[str, str]:
    """Return the response headers with the validator and the cache policy of a picture."""
    return {"ETag": etag, "Cache-Control": cache_control, "Accept-Ranges": "bytes"}


def etag_of(crc32c: int, size_bytes: int, *, width: int | None) -> str:
    """Return the strong ETag of a frame's picture.

    Args:
        crc32c: CRC-32C of the stored bytes.
        size_bytes: number of stored bytes.
        width: width of the thumbnail in pixels; None for the stored picture itself.
    """
    ending = f"-w{width}-{_ENCODER_HASH}" if width is not None else ""
    return f'"{crc32c:08x}-{size_bytes}{ending}"'


def not_modified_response(request: Request, headers: dict[str, str]) -> Response | None:
    """Return a 304 response if the client has the picture already, else None.

    Args:
        request: the request, which may name the pictures that its client has.
        headers: headers of the picture, made by `cache_headers`.
    """
    known = request.headers.get("if-none-match")
    if known is None:
        return None
    etags = [one.strip().removeprefix("W/") for one in known.split(",")]
    if headers["ETag"] in etags or etags == ["*"]:
        return Response(status_code=304, headers=headers)
    return None


def image_response(
    request: Request, data: bytes, *, media_type: str, headers: dict[str, str]
) -> Response:
    """Return a response with the picture, with the requested range of it, or with status 304."""
    if (held := not_modified_response(request, headers)) is not None:
        return held
    return content_response(request, data, media_type=media_type, headers=headers)


def content_response(
    request: Request, data: bytes, *, media_type: str, headers: dict[str, str]
) -> Response:
    """Return a response with the picture, or with the requested range of it."""
    wanted = request.headers.get("range", "")
    if wanted and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        return _range_response(data, wanted, media_type, headers)
    return Response(data, media_type=media_type, headers=headers)


def thumbnail_size(row: FrameRow, *, width: int) -> tuple[int, int]:
    """Return the width and height of a frame scaled down to `width` pixels; 0 if unknown."""
    if row.width <= width:
        return row.width, row.height
    return width, max(1, round(row.height * width / row.width))


def thumbnail(data: bytes, row: FrameRow, *, width: int) -> bytes:
    """Return a JPEG scaled down to `width` pixels; most of the scaling is done while decoding.

    A frame that is not wider is only encoded again, and a rendition of that size not at all.

    Args:
        data: JPEG of a frame, or of its rendition.
        row: row of the frame.
        width: width in pixels.

    Raises:
        CorruptFrame: the data is not a valid JPEG.
    """
    try:
        has_height, has_width = jpeg.size(data)
        whole = row if row.width else replace(row, width=has_width, height=has_height)
        width, height = thumbnail_size(whole, width=width)
        if (width, height) == (has_width, has_height) != (whole.width, whole.height):
            return data
        image = decode_to_size(data, width=width, height=height)
    except jpeg.InvalidJpeg as error:
        raise CorruptFrame("a stored frame is not a JPEG that can be decoded") from error
    return jpeg.encode_rgb(image, quality=_THUMBNAIL_QUALITY)


def _range_response(
    data: bytes, range_header: str, media_type: str, headers: dict[str, str]
) -> Response:
    match = _RANGE_PATTERN.fullmatch(range_header.strip())
    if match is None:
        # Several ranges, or another unit: RFC 9110 allows a server to ignore the header.
        return Response(data, media_type=media_type, headers=headers)
    size = len(data)
    if match[3] is not None:
        start, stop = max(0, size - int(match[3])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
    if start >= stop:
        raise ProblemError(
            416,
            "no_such_range",
            "The picture does not have these bytes.",
            {"Content-Range": f"bytes */{size}"},
        )
    headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Response(data[start:stop], 206, headers, media_type)
