"""Trimmed chunks: a timeline that takes only a part of a video.

The expected frames are those of FFmpeg's filter ``trim``, and the expected times are ffprobe's.
"""

import hashlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import clips
import numpy as np
import pytest

import media
from framecache import (
    AmbiguousFrame,
    Chunk,
    FrameCache,
    InvalidValue,
    NotCached,
    SettingsConflict,
    Timeline,
)
from framecache.model import Layout

_NUMBERS = count()
_SOURCE: Final = "testsrc2=size=64x48:rate=30000/1001:duration=8"
_CODED: Final = (
    "-c:v",
    "libx264",
    "-g",
    "20",
    "-bf",
    "2",
    "-pix_fmt",
    "yuv420p",
    "-preset",
    "fast",
)


def timeline() -> Timeline:
    return FrameCache(f"memory://trim-{next(_NUMBERS)}").timeline("t")


def encode(name: str, *options: str) -> Path:
    return media.made(
        name, lambda path: media.ffmpeg("-f", "lavfi", "-i", _SOURCE, *_CODED, *options, str(path))
    )


def mp4() -> Path:
    return encode("trim.mp4")


def late() -> Path:
    """A recording whose clock is at an hour."""
    place = ("-output_ts_offset", "3600", "-muxdelay", "0", "-muxpreload", "0")
    return encode("trim-late.ts", *place)


def variable() -> Path:
    kept = ("-vf", "select='lt(mod(n,7),3)'", "-fps_mode", "passthrough")
    return encode("trim-variable.mkv", *kept)


def rotated() -> Path:
    how = ("-i", str(mp4()), "-c", "copy", "-metadata:s:v", "rotate=90")
    return media.made("trim-rotated.mp4", lambda path: media.ffmpeg(*how, str(path)))


VIDEOS: Final[dict[str, Callable[[], Path]]] = {
    "mp4": mp4,
    "late ts": late,
    "variable mkv": variable,
    "rotated mp4": rotated,
}


def times(path: Path) -> list[Fraction]:
    return [frame.timestamp for frame in media.ffprobe_frames(path)]


def trimmed_hashes(path: Path, bounds: str) -> list[str]:
    """Hashes of the gray pictures that FFmpeg's filter keeps."""
    read = ("-copyts", "-i", str(path), "-vf", f"trim={bounds},format=gray")
    listed = media.ffmpeg(*read, "-fps_mode", "passthrough", "-f", "framemd5", "-").decode()
    lines = [line for line in listed.splitlines() if not line.startswith("#")]
    return [line.rpartition(",")[2].strip() for line in lines]


@cache
def whole_jpegs(path: Path) -> list[bytes]:
    match = timeline()
    match.extract(str(path))
    return [match.jpeg(at) for at in match.sequences()]


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize(
    ("start", "stop"), [(2.0, 5.0), (None, 3.3), (4.5, None), (0.0, 0.01), (1.001, 1.05)]
)
def test_trimmed_chunk_has_the_frames_of_the_filter_trim(
    name: str, start: float | None, stop: float | None
) -> None:
    path = VIDEOS[name]()
    shown = times(path)
    origin = shown[0] if name == "late ts" else Fraction(0)
    bounds = {
        key: float(origin) + value
        for key, value in (("start", start), ("end", stop))
        if value is not None
    }
    kept = trimmed_hashes(path, ":".join(f"{key}={value}" for key, value in bounds.items()))
    whole = trimmed_hashes(path, "start=-1000000")
    begin = next(at for at in range(len(whole)) if whole[at : at + len(kept)] == kept)
    match = timeline()
    match.extract(Chunk(str(path), trim_start=bounds.get("start"), trim_stop=bounds.get("end")))
    index = match.index
    assert len(index) == len(kept)
    expected = [float(one - shown[begin]) for one in shown[begin : begin + len(kept)]]
    assert index.timestamp.tolist() == pytest.approx(expected, abs=1e-9)
    jpegs = [match.jpeg(at) for at in range(len(kept))]
    assert jpegs == whole_jpegs(path)[begin : begin + len(kept)]


@pytest.mark.parametrize("layout", ["objects", "packs"])
@pytest.mark.parametrize("settings", [{}, {"fps": 7}, {"every": 4}, {"keyframes": True}])
def test_adjacent_parts_give_the_timeline_of_the_whole_video(
    layout: Layout, settings: dict[str, Any]
) -> None:
    bounds = [None, 1.7, 3.0, 3.02, 6.5, None]
    parts = [
        Chunk(str(mp4()), trim_start=start, trim_stop=stop) for start, stop in pairwise(bounds)
    ]
    joined, whole = timeline(), timeline()
    joined.extract(parts, layout=layout, **settings)
    whole.extract(str(mp4()), layout=layout, **settings)
    assert joined.index.timestamp.tolist() == pytest.approx(whole.index.timestamp.tolist())
    assert joined.index.duration.tolist() == pytest.approx(whole.index.duration.tolist())
    assert [joined.jpeg(at) for at in joined.sequences()] == [
        whole.jpeg(at) for at in whole.sequences()
    ]
    assert joined.verify(deep=True).ok


def test_bound_printed_as_a_float_takes_the_frame_that_begins_at_it() -> None:
    shown = times(mp4())
    match = timeline()
    match.extract(Chunk(str(mp4()), trim_start=float(shown[40]), trim_stop=float(shown[50])))
    assert len(match.index) == 10


def test_start_seconds_places_the_first_frame_taken() -> None:
    match = timeline()
    match.extract(Chunk(str(mp4()), 100, trim_start="0:02", trim_stop="0:03"))
    assert match.index.timestamp[0] == 100


def test_parts_of_one_stream_keep_the_gap_between_them() -> None:
    match = timeline()
    first, second = (
        Chunk(str(late()), trim_start=start, trim_stop=start + 1) for start in (3600, 3603)
    )
    match.extract([first, second])
    shown = [float(one - times(late())[0]) for one in times(late())]
    expected = [one for one in shown if one < 1 or 3 <= one + 1e-6 < 4]
    assert match.index.timestamp.tolist() == pytest.approx(expected, abs=1e-6)


def test_part_of_a_chunk_is_appended_once() -> None:
    match = timeline()
    match.extract(Chunk(str(mp4()), trim_stop=2))
    following = Chunk(str(mp4()), trim_start=2, trim_stop=4)
    match.append(following)
    frame_count = len(match.index)
    report = match.append(following)
    assert (report.chunks_extracted, report.chunks_cached, len(match.index)) == (0, 1, frame_count)
    assert match.info().chunks[1].trim_start == 2


def test_other_part_of_a_cached_chunk_is_a_conflict() -> None:
    match = timeline()
    match.extract(Chunk(str(mp4()), trim_start=1, trim_stop=2))
    before = match.jpeg(0)
    with pytest.raises(SettingsConflict, match=r"cached from 1\.0 s to 2\.0 s; asked for whole"):
        match.extract(str(mp4()))
    assert match.jpeg(0) == before


def test_rebuild_and_repair_keep_the_part(tmp_path: Path) -> None:
    match = FrameCache(tmp_path.as_uri()).timeline("t")
    match.extract(Chunk(str(mp4()), trim_start=1, trim_stop=2))
    before = [match.jpeg(at) for at in match.sequences()]
    match.rebuild()
    assert [match.jpeg(at) for at in match.sequences()] == before
    damaged = tmp_path / "cache/timelines/t/frames/3.jpg"
    damaged.write_bytes(b"x")
    report = match.verify(repair=True)
    assert (report.repaired, report.ok) == (1, True)
    assert damaged.read_bytes() == before[3]


def test_dry_run_plans_the_part_alone() -> None:
    plan = timeline().plan_extract(Chunk(str(mp4()), trim_start=1, trim_stop=2))
    assert plan.chunks[0].frame_count == sum(1 <= one < 2 for one in times(mp4()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trim_start": 9}, r"begins from 9.0 s to its end: by its own clock, .* 7.97"),
        ({"trim_stop": 0}, "begins from its start to 0.0 s"),
        ({"trim_start": 2.001, "trim_stop": 2.002}, "no frame"),
        ({"trim_start": 2, "trim_stop": 2}, "trim_stop of .* must be after trim_start"),
        ({"trim_start": "soon"}, "trim_start of .*: a time must be"),
        ({"trim_stop": float("nan")}, "trim_stop of"),
    ],
)
def test_part_without_frames_is_rejected(given: dict[str, Any], message: str) -> None:
    match = timeline()
    with pytest.raises(InvalidValue, match=message):
        match.extract(Chunk(str(mp4()), **given))
    with pytest.raises(NotCached):
        match.frame(0)


def test_frame_numbers_of_other_tools_are_ambiguous_in_a_part() -> None:
    match = timeline()
    match.extract(Chunk(str(mp4()), trim_start=1))
    with pytest.raises(AmbiguousFrame, match="only a part"):
        match.translate(3, of="opencv")


def test_frames_before_the_part_do_not_change_it() -> None:
    """Decoding begins at a keyframe before the part, whose frames are dropped."""
    match, whole = timeline(), timeline()
    path = clips.clip(frames=45, keyframe_every=45)
    match.extract(Chunk(str(path), trim_start=1))
    whole.extract(str(path))
    hashes = [hashlib.sha256(match.jpeg(at)).digest() for at in match.sequences()]
    others = [hashlib.sha256(whole.jpeg(at)).digest() for at in whole.sequences()]
    assert hashes == others[25:]
    assert np.diff(match.index.timestamp) == pytest.approx(0.04)
