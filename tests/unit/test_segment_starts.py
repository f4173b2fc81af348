"""Division of a chunk into segments, from the frames and random-access points of its video."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import media
from framecache._ingest.segments import SegmentLimits, find_segment_starts, is_divisible
from framecache._media import video

RATE = 25
LIMITS = SegmentLimits(seconds=Fraction(2), min_frames=20, max_frames=120)


def scanned(path: Path) -> video.VideoScan:
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


def clip(kind: str = "mp4", *, codec: str = "libx264", every: int = 10) -> Path:
    extra = ["-g", str(every), "-keyint_min", str(every)]
    extra += ["-sc_threshold", "0", "-bf", "2"] if codec == "libx264" else []
    return media.made(
        f"segments-{codec}-{every}.{kind}",
        lambda path: media.make_clip(path, codec=codec, frames=200, extra=extra),
    )


def every_frame(scan: video.VideoScan) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.arange(len(scan.pts))


def test_segment_ends_at_first_keyframe_after_its_seconds_and_frames() -> None:
    """Keyframes are each 10 frames apart, and 2 s are 50 frames."""
    scan = scanned(clip())
    assert find_segment_starts(scan, every_frame(scan), LIMITS) == (0, 50, 100, 150)
    longer = replace(LIMITS, min_frames=61)
    assert find_segment_starts(scan, every_frame(scan), longer) == (0, 70, 140)


def test_segments_begin_at_keyframes_that_ffprobe_finds() -> None:
    path = clip(every=12)
    scan = scanned(path)
    keyframes = [n for n, frame in enumerate(media.ffprobe_frames(path)) if frame.key]
    starts = find_segment_starts(scan, every_frame(scan), LIMITS)
    assert starts == (0, 60, 120, 180)
    assert set(starts) <= set(keyframes)


def test_segment_ends_after_maximum_of_frames_or_bytes_before_its_seconds() -> None:
    scan = scanned(clip())
    long = SegmentLimits(seconds=Fraction(100), min_frames=20, max_frames=35)
    assert find_segment_starts(scan, every_frame(scan), long) == (0, 40, 80, 120, 160)
    frame_bytes = 160 * 120 // 8
    large = replace(long, max_frames=1000, max_bytes=25 * frame_bytes)
    assert find_segment_starts(scan, every_frame(scan), large) == tuple(range(0, 200, 30))


def test_segments_of_sampled_frames_begin_after_the_next_keyframe() -> None:
    """Each first one of frames 0, 7, 14 … at or after a keyframe can begin a segment."""
    scan = scanned(clip())
    chosen = np.arange(0, 200, 7)
    limits = SegmentLimits(seconds=Fraction(0), min_frames=5, max_frames=120)
    expected = [0]
    for position in range(1, len(chosen)):
        has_keyframe_between = chosen[position - 1] // 10 < chosen[position] // 10
        if position - expected[-1] >= 5 and has_keyframe_between:
            expected.append(position)
    assert find_segment_starts(scan, chosen, limits) == tuple(expected)
    sparse = np.array([0, 1, 2, 3, 4, 5, 6, 120])
    assert find_segment_starts(scan, sparse, limits) == (0, 7)


def test_short_chunk_is_one_segment() -> None:
    scan = scanned(clip())
    assert find_segment_starts(scan, every_frame(scan), SegmentLimits()) == (0,)
    assert find_segment_starts(scan, np.arange(0), LIMITS) == (0,)


@pytest.mark.parametrize(
    ("kind", "codec", "every"),
    [("ts", "libx264", 10), ("avi", "mpeg4", 10), ("mp4", "libx264", 1000)],
)
def test_video_without_random_access_inside_is_one_segment(
    kind: str, codec: str, every: int
) -> None:
    scan = scanned(clip(kind, codec=codec, every=every))
    assert not is_divisible(scan)
    assert find_segment_starts(scan, every_frame(scan), LIMITS) == (0,)


def test_entry_with_many_leading_pictures_begins_no_segment() -> None:
    """The pictures before it that are decoded after it would be decoded twice."""
    scan = scanned(clip())
    early = scan.earliest_pts.copy()
    early[50] = scan.pts[48]
    leading = replace(scan, earliest_pts=early)
    assert find_segment_starts(leading, every_frame(scan), LIMITS) == (0, 60, 110, 160)
    early[50] = scan.pts[49]
    assert find_segment_starts(leading, every_frame(scan), LIMITS) == (0, 50, 100, 150)
