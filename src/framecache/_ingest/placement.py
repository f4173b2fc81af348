"""Placement of chunks on a timeline: at a given start, by a shared clock, or back to back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from framecache._core.chunk_entry import ChunkEntry, Placement
from framecache._media import video
from framecache.errors import InvalidValue

START_BY_PTS: Final = "pts"
"""Value of ``start_seconds`` for a chunk that is placed by the clock of its stream."""

GivenStart = Fraction | Literal["pts"] | None
"""Start of a chunk as the caller gives it, in seconds; None: after the previous chunk."""

_MAX_OVERLAP: Final = Fraction(1, 2)
_MAX_GAP: Final = Fraction(10)
_MPEG_WRAP_SECONDS: Final = Fraction(2**33, 90_000)


@dataclass(frozen=True, slots=True)
class ChunkPosition:
    """Position of a chunk on a timeline. All times are in seconds."""

    start: Fraction
    end: Fraction
    """End of the last frame, or the start of the next chunk if that is earlier."""
    last_frame_start: Fraction
    sound_seconds: Fraction
    """Length of the tail that has audio but no picture."""
    placement: Placement
    clock_gap: Fraction | None
    """Gap from the previous chunk's end to this chunk, on their shared clock; None without one."""
    stream_clock: str | None
    clock_end: Fraction | None
    """End of the last picture on the clock of the chunk's stream."""


def position_of(entry: ChunkEntry) -> ChunkPosition:
    """Return the position of a chunk that is already placed."""
    return ChunkPosition(
        start=entry.start,
        end=entry.end,
        last_frame_start=entry.start if entry.last_frame_start is None else entry.last_frame_start,
        sound_seconds=entry.sound_seconds,
        placement=entry.placement,
        clock_gap=entry.clock_gap,
        stream_clock=entry.stream_clock,
        clock_end=entry.clock_end,
    )


def compute_positions(
    scanned: Sequence[tuple[str, GivenStart, "video.VideoScan"]], *, before: ChunkPosition | None
) -> list[ChunkPosition]:
    """Place chunks in order; a chunk that starts before the previous one ends cuts it short.

    Args:
        scanned: the URL, the given start and the scan of each chunk.
        before: the chunk before the first one; its end is final.

    Raises:
        InvalidValue: the given start of a chunk is before the end of the previous one's pictures,
            or a chunk is to be placed by a clock that it does not share with the previous one, or
            that puts it too far before the previous one's end.
    """
    placed: list[ChunkPosition] = []
    for url, given, scan in scanned:
        spot = _compute_position(url, given, scan, placed[-1] if placed else before)
        if placed and spot.start < placed[-1].end:
            placed[-1] = replace(placed[-1], end=spot.start)
        placed.append(spot)
    return placed


def _compute_position(
    url: str, given: GivenStart, scan: "video.VideoScan", before: ChunkPosition | None
) -> ChunkPosition:
    gap = _clock_gap(before, scan)
    start, placement = _resolve_start(url, _snap_to_previous_end(given, scan, before), gap, before)
    first = int(scan.pts[0])
    return ChunkPosition(
        start=start,
        end=start + (scan.end_pts - first) * scan.time_base,
        last_frame_start=start + (int(scan.pts[-1]) - first) * scan.time_base,
        sound_seconds=(scan.end_pts - scan.picture_end_pts) * scan.time_base,
        placement=placement,
        clock_gap=gap,
        stream_clock=scan.stream_clock,
        clock_end=scan.clock_end_seconds,
    )


def _snap_to_previous_end(
    given: GivenStart, scan: "video.VideoScan", before: ChunkPosition | None
) -> GivenStart:
    """Replace a start that rounding put just below an end of the previous chunk by that end."""
    if before is None or not isinstance(given, Fraction):
        return given
    for end in (before.end, before.end - before.sound_seconds):
        if 0 < end - given < scan.time_base / 2:
            return end
    return given


def _resolve_start(
    url: str, given: GivenStart, gap: Fraction | None, before: ChunkPosition | None
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
                f"{url} starts at {float(given)} s, but the previous chunk ends at "
                f"{float(picture_end)} s: chunks must be in time order"
            )
        return given, "given"
    if given == START_BY_PTS:
        _require_clock(url, gap, picture_end, before)
    if gap is not None and _is_continuous(gap, picture_end, before, has_bound=given is None):
        return picture_end + gap, "clock"
    return before.end, "end"


def _is_continuous(
    gap: Fraction, picture_end: Fraction, before: ChunkPosition, *, has_bound: bool
) -> bool:
    is_near = gap <= _MAX_GAP or not has_bound
    return gap >= -_MAX_OVERLAP and is_near and picture_end + gap > before.last_frame_start


def _require_clock(
    url: str, gap: Fraction | None, picture_end: Fraction, before: ChunkPosition
) -> None:
    if gap is None:
        raise InvalidValue(
            f"{url} cannot be placed by its PTS: this needs MPEG-TS or fragmented MP4 after a "
            "chunk of the same stream; give start_seconds as a number, or omit it"
        )
    if not _is_continuous(gap, picture_end, before, has_bound=False):
        raise InvalidValue(
            f"{url} begins {float(-gap):.3f} s before the previous chunk ends, by its PTS: "
            "give start_seconds as a number, or omit it"
        )


def _clock_gap(before: ChunkPosition | None, scan: "video.VideoScan") -> Fraction | None:
    if before is None or before.clock_end is None or scan.stream_clock is None:
        return None
    if before.stream_clock != scan.stream_clock:
        return None
    gap = scan.clock_start_seconds - before.clock_end
    if scan.stream_clock == "mpegts":
        gap -= _MPEG_WRAP_SECONDS * round(gap / _MPEG_WRAP_SECONDS)
    return gap
