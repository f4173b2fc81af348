"""Answers that carry a picture: validators, ranges, thumbnails."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import cv2
import google_crc32c
import numpy as np
from fastapi import Request, Response

from framecache import jpeg
from framecache._version import __version__
from framecache.errors import CorruptFrame
from framecache.http.problems import Refusal

IMMUTABLE: Final = "private, max-age=31536000, immutable"
REVALIDATE: Final = "private, no-cache"
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
_THUMBNAIL_QUALITY: Final = 80
_MADE_BY: Final = (__version__, version("simplejpeg"), cv2.__version__, np.__version__)
_MAKER: Final = f"{google_crc32c.value(repr(_MADE_BY).encode()):08x}"
"""Other versions of these may make other bytes of the same thumbnail."""


@dataclass(frozen=True, slots=True)
class Validity:
    """What a client is told of how long a picture stays what it is."""

    etag: str
    cache_control: str

    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        return {
            "ETag": self.etag,
            "Cache-Control": self.cache_control,
            "Accept-Ranges": "bytes",
        }


def etag_of(crc32c: int, size_bytes: int, *, width: int | None) -> str:
    """The strong validator of a frame's picture.

    Args:
        crc32c: of the stored bytes.
        size_bytes: how many these are.
        width: of the thumbnail; None: the stored bytes.
    """
    ending = f"-w{width}-{_MAKER}" if width is not None else ""
    return f'"{crc32c:08x}-{size_bytes}{ending}"'


def unless_held(request: Request, validity: Validity) -> Response | None:
    """The answer to a client that has the picture already; None: it is to be sent."""
    if _is_held(request.headers.get("if-none-match"), validity.etag):
        return Response(status_code=304, headers=validity.headers())
    return None


def answer(request: Request, data: bytes, *, media_type: str, validity: Validity) -> Response:
    """A picture, the part of it that is wanted, or that the client has it already."""
    if (held := unless_held(request, validity)) is not None:
        return held
    headers = validity.headers()
    wanted = request.headers.get("range", "")
    if wanted and request.headers.get("if-range", validity.etag) == validity.etag:
        return _part(data, wanted, media_type, headers)
    return Response(data, media_type=media_type, headers=headers)


def thumbnail(data: bytes, *, width: int) -> bytes:
    """A smaller JPEG of about a width; the JPEG's decoder does most of the scaling.

    Raises:
        CorruptFrame: it is no JPEG.
    """
    try:
        whole = jpeg.size(data)[1]
        scale = min((one for one in jpeg.SCALES if whole * one >= width), default=1.0)
        image = jpeg.decode(data, scale=scale)
    except jpeg.BadJpeg as error:
        raise CorruptFrame("a stored frame is not a JPEG that can be decoded") from error
    if image.shape[1] > width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(small, dtype=np.uint8)
    return jpeg.encode_rgb(image, quality=_THUMBNAIL_QUALITY)


def _is_held(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    held = [one.strip().removeprefix("W/") for one in header.split(",")]
    return etag in held or held == ["*"]


def _part(data: bytes, wanted: str, media_type: str, headers: dict[str, str]) -> Response:
    match = _RANGE.fullmatch(wanted.strip())
    if match is None:
        # Several ranges, or another unit: a server may answer with the whole.
        return Response(data, media_type=media_type, headers=headers)
    size = len(data)
    if match[3] is not None:
        start, stop = max(0, size - int(match[3])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
    if start >= stop:
        raise Refusal(
            416,
            "no_such_range",
            "The picture has no such bytes.",
            {"Content-Range": f"bytes */{size}"},
        )
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(data[start:stop], 206, headers, media_type)
