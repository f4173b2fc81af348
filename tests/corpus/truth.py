"""The frames of a file by the programs of FFmpeg."""

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

import recorded
from corpus.encoding import program
from corpus.mending import repaired, restarts
from corpus.pictures import Image, Size

_SHOWN: Final = re.compile(r"\] n: *\d+ .*? s:(\d+)x(\d+) ")
_TO_RGB: Final = "showinfo,scale=flags=area+accurate_rnd+full_chroma_int,format=rgb24"
"""Sizes are those before the conversion, which is done exactly rather than fast."""
_BYTES_A_PIXEL: Final = 3


@dataclass(frozen=True, slots=True)
class Truth:
    """Frames that a file shows."""

    times: list[Fraction]
    """Seconds from the first frame, ascending."""
    is_mended: bool
    """True if the file states times that do not ascend; ``times`` are then those of the rule."""
    restarts: int
    """At how many pictures the file's clock begins again."""
    pictures: list[Image]
    """As RGB, upright, in the order of showing."""

    @property
    def sizes(self) -> list[Size]:
        """Width and height of each picture."""
        return [(image.shape[1], image.shape[0]) for image in self.pictures]


def truth(path: Path) -> Truth:
    """Decode a file with ffmpeg, and take its times from ffprobe."""
    document = probe(path, "-show_frames", "-show_packets", "-show_entries", _ENTRIES)
    stated = _stated_times(document)
    stream = document["streams"][0]
    time_base = Fraction(stream["time_base"])
    rate = Fraction(stream["avg_frame_rate"].replace("/0", "/1"))
    step = max(round(1 / (rate * time_base)), 1) if rate else 1
    return Truth(
        times=[time * time_base for time in repaired(stated, step=step)],
        is_mended=any(pts is not None for pts in stated) and not _ascend(stated),
        restarts=restarts(stated),
        pictures=_pictures(path),
    )


def _pictures(path: Path) -> list[Image]:
    decoded = ("-map", "0:V:0", "-fps_mode", "passthrough", "-vf", _TO_RGB)
    raw = ("-autoscale", "0", "-f", "rawvideo", "-pix_fmt", "rgb24")
    command = [program("ffmpeg"), "-v", "info", "-nostats", "-nostdin", "-threads", "1"]
    finished = recorded.run([*command, "-i", str(path), *decoded, *raw, "-"])
    pictures, begin = [], 0
    for shown in _SHOWN.finditer(finished.stderr.decode(errors="replace")):
        width, height = int(shown[1]), int(shown[2])
        end = begin + width * height * _BYTES_A_PIXEL
        pixels = np.frombuffer(finished.stdout[begin:end], np.uint8)
        pictures.append(pixels.reshape(height, width, _BYTES_A_PIXEL))
        begin = end
    assert begin == len(finished.stdout)
    return pictures


def _stated_times(document: dict[str, Any]) -> list[int | None]:
    """Return the PTS of the shown pictures, in the order of showing."""
    both = document["packets_and_frames"]
    shown = [_number(one, "pts") for one in both if one["type"] == "frame"]
    if document["format"]["format_name"] in _WITHOUT_PTS and not _ascend(shown):
        # They name no times but the order of decoding. FFmpeg's PTS are guesses.
        shown = [_number(one, "dts") for one in both if one["type"] == "packet"][: len(shown)]
    return _rewound(shown)


def _rewound(times: list[int | None]) -> list[int | None]:
    """Undo what FFmpeg makes of an MPEG clock that begins again, which it takes for wrapped."""
    rewound, last = list[int | None](), None
    for pts in times:
        wrapped = None not in (pts, last) and pts - last > _HALF_WRAP  # type: ignore[operator]
        rewound.append(pts - 2 * _HALF_WRAP if wrapped and pts is not None else pts)
        last = last if rewound[-1] is None else rewound[-1]
    return rewound


_WITHOUT_PTS: Final = frozenset({"avi", "mxf"})
_HALF_WRAP: Final = 1 << 32
_ENTRIES: Final = "packet=dts:frame=pts:stream=time_base,avg_frame_rate:format=format_name"


def probe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return ffprobe's information on the first video stream that is not cover art."""
    command = [program("ffprobe"), "-v", "error", "-threads", "1", "-select_streams", "V:0"]
    finished = recorded.run([*command, "-of", "json", *arguments, str(path)])
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def _number(frame: dict[str, Any], key: str) -> int | None:
    return int(frame[key]) if key in frame else None


def _ascend(times: list[int | None]) -> bool:
    known = [pts for pts in times if pts is not None]
    return len(known) == len(times) and all(a < b for a, b in pairwise(known))
