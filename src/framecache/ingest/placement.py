"""Placing chunks on a timeline, by the caller's word, a clock they share, or one after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from framecache.errors import InvalidValue
from framecache.manifest import ChunkEntry, Placement
from framecache.video import VideoScan

START_BY_PTS: Final = "pts"
"""``start_seconds`` of a chunk that is to be placed by the clock of its stream."""

GivenStart = Fraction | Literal["pts"] | None
"""The start of a chunk as the caller gives it; None: after the chunk before it."""

_MOST_OVERLAP: Final = Fraction(1, 2)
_MOST_GAP: Final = Fraction(10)
_MPEG_TURN_SECONDS: Final = Fraction(2**33, 90_000)


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of a chunk on a timeline, all in seconds."""

    start: Fraction
    end: Fraction
    """Where the last frame leaves the screen, or where the next chunk starts before that."""
    last_frame_start: Fraction
    sound_seconds: Fraction
    """The part of the end in which there is only sound."""
    placement: Placement
    clock_gap: Fraction | None
    """From the end of the chunk before to this one, on their clock; None: they share none."""
    stream_clock: str | None
    clock_end: Fraction | None
    """The end of its last picture on its own clock."""


def spot_of(entry: ChunkEntry) -> Spot:
    """Return the place of a chunk that has one."""
    return Spot(
        start=entry.start,
        end=entry.end,
        last_frame_start=entry.start if entry.last_frame_start is None else entry.last_frame_start,
        sound_seconds=entry.sound_seconds,
        placement=entry.placement,
        clock_gap=entry.clock_gap,
        stream_clock=entry.stream_clock,
        clock_end=entry.clock_end,
    )


def spots(
    scanned: Sequence[tuple[str, GivenStart, VideoScan]], *, before: Spot | None
) -> list[Spot]:
    """Place chunks one after another; where one starts in the last frame before it, that ends.

    Args:
        scanned: the URL, the given start and the scan of each chunk.
        before: the chunk before them, whose end cannot change any more.

    Raises:
        InvalidValue: a chunk is given a start before the end of the one before it, or is to be
            placed by a clock that the one before does not share.
    """
    placed: list[Spot] = []
    for url, given, scan in scanned:
        spot = _spot(url, given, scan, placed[-1] if placed else before)
        if placed and spot.start < placed[-1].end:
            placed[-1] = replace(placed[-1], end=spot.start)
        placed.append(spot)
    return placed


def _spot(url: str, given: GivenStart, scan: VideoScan, before: Spot | None) -> Spot:
    gap = _clock_gap(before, scan)
    start, placement = _start(url, _untouched(given, scan, before), gap, before)
    first = int(scan.pts[0])
    return Spot(
        start=start,
        end=start + (scan.end_pts - first) * scan.time_base,
        last_frame_start=start + (int(scan.pts[-1]) - first) * scan.time_base,
        sound_seconds=(scan.end_pts - scan.picture_end_pts) * scan.time_base,
        placement=placement,
        clock_gap=gap,
        stream_clock=scan.stream_clock,
        clock_end=scan.clock_end_seconds,
    )


def _untouched(given: GivenStart, scan: VideoScan, before: Spot | None) -> GivenStart:
    """Take a start that was rounded to just before an end for that end."""
    if before is None or not isinstance(given, Fraction):
        return given
    for end in (before.end, before.end - before.sound_seconds):
        if 0 < end - given < scan.time_base / 2:
            return end
    return given


def _start(
    url: str, given: GivenStart, gap: Fraction | None, before: Spot | None
) -> tuple[Fraction, Placement]:
    if before is None:
        is_given = isinstance(given, Fraction)
        return (given if isinstance(given, Fraction) else Fraction(0)), (
            "given" if is_given else "end"
        )
    picture_end = before.end - before.sound_seconds
    if isinstance(given, Fraction):
        if given < picture_end:
            raise InvalidValue(
                f"{url} is placed at {float(given)} s, but the chunk before it ends at "
                f"{float(picture_end)} s: chunks follow each other in time"
            )
        return given, "given"
    if given == START_BY_PTS:
        _require_clock(url, gap, picture_end, before)
    if gap is not None and _continues(gap, picture_end, before, has_bound=given is None):
        return picture_end + gap, "clock"
    return before.end, "end"


def _continues(gap: Fraction, picture_end: Fraction, before: Spot, *, has_bound: bool) -> bool:
    is_near = gap <= _MOST_GAP or not has_bound
    return gap >= -_MOST_OVERLAP and is_near and picture_end + gap > before.last_frame_start


def _require_clock(url: str, gap: Fraction | None, picture_end: Fraction, before: Spot) -> None:
    if gap is None:
        raise InvalidValue(
            f"{url} cannot be placed by its PTS: only MPEG-TS or fragmented MP4 after another of "
            f"the same stream can; give start_seconds as a number, or leave it out"
        )
    if not _continues(gap, picture_end, before, has_bound=False):
        raise InvalidValue(
            f"{url} begins {float(-gap):.3f} s before the chunk before it ends, by its PTS: "
            f"give start_seconds as a number, or leave it out"
        )


def _clock_gap(before: Spot | None, scan: VideoScan) -> Fraction | None:
    if before is None or before.clock_end is None or scan.stream_clock is None:
        return None
    if before.stream_clock != scan.stream_clock:
        return None
    gap = scan.clock_start_seconds - before.clock_end
    if scan.stream_clock == "mpegts":
        gap -= _MPEG_TURN_SECONDS * round(gap / _MPEG_TURN_SECONDS)
    return gap
