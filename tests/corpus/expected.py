"""Files for which framecache and ffmpeg are expected to differ, and the reasons."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between framecache's frames of a file and ffmpeg's."""

    aspects: frozenset[str]
    """Those of ``Comparison.differences``."""
    reason: str
    """Reason for it, as a sentence of the docs."""


REFUSED: Final = {
    "m2v": "MPEG video without a container",
    "m4v": "not supported",
    "mjpeg": "Motion JPEG without a container",
    "nut": "a NUT video",
    "wtv": "a WTV recording",
    "rm": "a RealMedia video",
    "gxf": "not supported",
}
"""Words for an unreadable file, by container. The message also says how to make it readable."""

_CUT_SHORT: Final = Difference(
    frozenset({"frames"}),
    "The last picture is cut short. framecache has it as `undecodable`, ffmpeg shows a part.",
)
DIFFERENT: Final[dict[str, Difference]] = {"short.flv": _CUT_SHORT, "short.mpg": _CUT_SHORT}
"""By name of the file."""
