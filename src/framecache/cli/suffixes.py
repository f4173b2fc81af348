"""Recognition of video and picture files by the suffix of their name."""

import re
from typing import Final

_VIDEO: Final = re.compile(
    r".+\.(apng|asf|avi|avif|dv|flv|gif|h26[45]|hevc|ivf|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|mxf|og[gv]"
    r"|ts|vob|webm|wmv|y4m)",
    re.IGNORECASE,
)
_PICTURE: Final = re.compile(r".+\.(bmp|jpe?g|png|tiff?|webp)", re.IGNORECASE)


def is_video_name(name: str) -> bool:
    """Return whether a name has the suffix of a video."""
    return _VIDEO.fullmatch(name) is not None


def is_picture_name(name: str) -> bool:
    """Return whether a name has the suffix of a picture."""
    return _PICTURE.fullmatch(name) is not None
