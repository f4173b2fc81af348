"""Frames of a video and their exact times. The only package that uses PyAV (FFmpeg).

``scan`` lists the frames that a video shows, and decodes only where the packets do not suffice;
``describe`` does the same from the sample tables of large MP4 files that can be trusted; ``decode``
returns the pictures of selected frames. The reference for an undamaged file is the
output of ffprobe's ``-show_frames``.

The names here are imported on first use: PyAV and OpenCV, which the extra ``extract`` installs, are
not needed to read frames, and take a third of a second to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from framecache._core.optional_imports import require_extra

if TYPE_CHECKING:
    from framecache._media.video.container import ffmpeg_version
    from framecache._media.video.decode_pass import INDEXED_CONTAINERS
    from framecache._media.video.decoded import Decoded, Undecodable
    from framecache._media.video.decoding import decode
    from framecache._media.video.encoding import write_mp4
    from framecache._media.video.error_boundary import TablesContradicted
    from framecache._media.video.jpeg_stream import read_jpeg_stream, write_jpeg_stream
    from framecache._media.video.scaling import scale
    from framecache._media.video.scanning import SCAN_RULES, VideoScan, describe, scan

__all__ = [
    "INDEXED_CONTAINERS",
    "SCAN_RULES",
    "Decoded",
    "TablesContradicted",
    "Undecodable",
    "VideoScan",
    "decode",
    "describe",
    "ffmpeg_version",
    "read_jpeg_stream",
    "require_packages",
    "scale",
    "scan",
    "write_jpeg_stream",
    "write_mp4",
]

_MODULES: Final = {
    "Decoded": "decoded",
    "INDEXED_CONTAINERS": "decode_pass",
    "SCAN_RULES": "scanning",
    "TablesContradicted": "error_boundary",
    "Undecodable": "decoded",
    "VideoScan": "scanning",
    "decode": "decoding",
    "describe": "scanning",
    "ffmpeg_version": "container",
    "read_jpeg_stream": "jpeg_stream",
    "scale": "scaling",
    "scan": "scanning",
    "write_jpeg_stream": "jpeg_stream",
    "write_mp4": "encoding",
}


def require_packages(needed_by: str) -> None:
    """Import what decoding needs, so that a call fails before its first request without it.

    Raises:
        MissingPackage: PyAV or OpenCV is not installed.
    """
    require_extra("extract", needed_by=needed_by)
    for module in set(_MODULES.values()):  # here, not on a thread that decodes
        import_module(f"{__name__}.{module}")


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_packages("decoding")
    return globals().setdefault(name, getattr(import_module(f"{__name__}.{_MODULES[name]}"), name))
