"""Identification of files that hold no readable video, by their first bytes. Does no I/O."""

import re
from typing import Final

_COPY: Final = "copy it with 'ffmpeg -i FILE -map 0:v -c copy COPY.mkv'"
_ENCODE: Final = "encode it with 'ffmpeg -i FILE -c:v ffv1 COPY.mkv'"
_DOWNLOAD: Final = "fetch the video itself"
_FROM_LIST: Final = (
    "give the video it names, or join its files with 'ffmpeg -i LIST -c copy COPY.mp4'"
)
_STILL: Final = (
    "give a video; to make one from many pictures: 'ffmpeg -framerate 25 -i %d.jpg -c copy "
    "VIDEO.mkv'"
)

HEAD_BYTES: Final = 2**21
"""Number of leading bytes that identify a file.

The second picture of a Motion JPEG file begins within them.
"""

_PATTERN_BYTES: Final = 4096
_JPEG: Final = b"\xff\xd8\xff"
_NEXT_JPEG: Final = b"\xff\xd9\xff\xd8\xff"
_MULTI_PICTURE: Final = b"MPF\0"
"""Marker in the header of a JPEG with several pictures, such as a gain map (CIPA DC-007)."""

_SIGNATURES: Final[tuple[tuple[bytes, str, str], ...]] = (
    (rb"(\xef\xbb\xbf)?\s*#EXTM3U", "an HLS playlist", _FROM_LIST),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<MPD\b", "a DASH playlist", _FROM_LIST),
    (rb"\s*(<\?xml[^>]*>\s*)?<SmoothStreaming", "a Smooth Streaming playlist", _FROM_LIST),
    (rb"\s*ffconcat version", "a list of files (ffconcat)", _FROM_LIST),
    (rb"(\xef\xbb\xbf)?\s*(#[^\n]*\n\s*)*file\s+'", "a list of files (concat)",
     "give the video it names, or join its files with 'ffmpeg -f concat -i LIST -c copy COPY.mp4'"),
    (rb"v=0\r?\no=", "a session description (SDP)", "record its stream, then give the recording"),
    (rb"\s*(<!--.*?-->\s*)*<(!doctype\s+)?html", "an HTML page, not a video", _DOWNLOAD),
    (rb"\s*(<\?xml[^>]*>\s*)?<Error>", "an error message of an object store", _DOWNLOAD),
    (rb"\s*<\?xml", "an XML document, not a video", _DOWNLOAD),
    (rb"\s*[\[{]\s*[\"\[{]", "a JSON document, not a video", _DOWNLOAD),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file", "run 'git lfs pull'"),
    (rb"(\xef\xbb\xbf)?WEBVTT.*#xywh=", "a list of thumbnails in sprite images", _DOWNLOAD),
    (rb"(\xef\xbb\xbf)?WEBVTT", "a list of subtitles (WebVTT)", _DOWNLOAD),
    (rb"%PDF-", "a PDF document, not a video", _DOWNLOAD),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|\xfd7zXZ", "an archive, not a video", "unpack it"),
    (rb"\xff\xd8\xff", "a JPEG picture, not a video", _STILL),
    (rb"\x89PNG\r\n", "a PNG picture, not a video", _STILL),
    (rb"II\*\0|MM\0\*", "a TIFF picture, not a video", _STILL),
    (rb"BM.{4}\0\0\0\0", "a BMP picture, not a video", _STILL),
    (rb"RIFF....WEBP", "a WebP picture, not a video", "convert it to GIF or APNG"),
    (rb".{4}(styp|sidx|moof|emsg|prft)", "a media segment without its init segment",
     "prepend it: 'cat init.mp4 SEGMENT > WHOLE.mp4'"),
    (rb".{4}(ftyp|moov|mdat|free|wide|skip)", "an MP4 without its index (moov)",
     "it was cut short or never finished: copy it again, or repair it"),
    (rb"nut/multimedia", "a NUT video, which is not supported", _COPY),
    (rb"\xb7\xd8\x00\x20\x37\x49\xda\x11", "a WTV recording, which is not supported", _COPY),
    (rb"\.RMF|\.RM", "a RealMedia video, which is not supported", _ENCODE),
    (rb"\x00\x00\x01\xb3", "MPEG video without a container, which is not supported",
     "copy it with 'ffmpeg -i FILE -c copy COPY.mpg'"),
    (rb"[FCZ]WS", "a Flash animation, not a video", "give a video"),
)  # fmt: skip
"""Patterns of leading bytes, description and remedy; the first match counts."""


def identify_file(head: bytes) -> tuple[str, str] | None:
    """Return the kind of a file with these leading bytes and a remedy; None if it is unknown."""
    begin = head[:_PATTERN_BYTES]
    if begin.startswith(_JPEG) and _NEXT_JPEG in head and _MULTI_PICTURE not in begin:
        return "Motion JPEG without a container, which is not supported", _COPY
    for pattern, what, remedy in _SIGNATURES:
        if re.match(pattern, begin, re.DOTALL | re.IGNORECASE):
            return what, remedy
    return None


def is_reference_movie(head: bytes) -> bool:
    """Return True for the leading bytes of a QuickTime reference movie.

    Such an MP4 or MOV file only refers to others (``rmra`` box).
    """
    return re.match(rb"(.{4}ftyp.{0,64})?.{4}moov.{4}rmra", head, re.DOTALL) is not None
