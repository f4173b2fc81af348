"""Which frames of packs are fetched together: ranges that are long enough, and no longer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from framecache.index import FrameRow

_ENOUGH_BYTES: Final = 1_750_000
"""A range that holds so much of JPEGs is not extended. Requests for less cost the server and us
more; what is asked for at once comes later."""

_LONGEST_BYTES: Final = 2_000_000
"""No range is longer, whatever lies between its JPEGs, unless it is one frame."""

_SMALL_GAP_BYTES: Final = 128 * 1024
"""What lies between two wanted frames and costs less to fetch as well than another request does."""

_LARGEST_GAP_BYTES: Final = 256 * 1024
"""Likewise, if it is not more than two such frames: the bytes that nobody wants stay bounded."""


class Stored(Protocol):
    """Where a JPEG lies."""

    @property
    def key(self) -> str:
        """Of the blob."""
        ...

    @property
    def offset(self) -> int:
        """Where in the blob it begins; 0: the blob is the JPEG."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the JPEG."""
        ...


Row = TypeVar("Row", bound=Stored)


_WINDOW_BYTES: Final = 16_000_000
"""Of JPEGs, within which rows are fetched in another order than theirs."""

_WINDOW_ROWS: Final = 4096
"""Likewise: the first request waits for as many rows to be taken."""


_Window = list[tuple[int, FrameRow]]
"""Rows, each with its place among all that were wanted."""


@dataclass(frozen=True, slots=True)
class PlannedRange:
    """What one request fetches."""

    places: Sequence[int]
    """Of each row, its place among all that were wanted."""
    rows: Sequence[FrameRow]
    """As they lie in their blob."""

    @property
    def size_bytes(self) -> int:
        """What comes of it."""
        return self.rows[-1].offset + self.rows[-1].size - self.rows[0].offset


def plan_ranges(rows: Iterable[FrameRow]) -> Iterator[PlannedRange]:
    """The ranges to fetch rows by, in any order of these.

    Rows of packs are sorted where they lie near each other in the order given: whoever fetches the
    ranges in turn never waits for more than a window of them.
    """
    left: _Window = []
    for given in _windows(rows):
        window = left + given
        stored = sorted(window, key=_as_stored) if any(row.offset for _, row in window) else window
        planned = _cut(stored)
        # What comes next may continue the last range. Of a window in another order than that of
        # the store, that range may hold what is waited for.
        left = []
        if stored == window:
            last = planned.pop()
            left = [*zip(last.places, last.rows, strict=True)]
        yield from planned
    yield from _cut(left)


def ranges_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows, in their order, into those that one request fetches each.

    Frames of one pack that follow each other closely share a range, until it is long enough; so
    does a frame with itself. A frame that is a blob of its own stands alone.
    """
    together: list[Row] = []
    wanted_bytes = 0
    for row in rows:
        if together and not (wanted_bytes < _ENOUGH_BYTES and _continues(together, row)):
            yield together
            together, wanted_bytes = [], 0
        if not together or row.offset != together[-1].offset:
            wanted_bytes += row.size
        together.append(row)
    if together:
        yield together


def _as_stored(one: tuple[int, FrameRow]) -> tuple[str, int]:
    return one[1].key, one[1].offset


def _cut(window: _Window) -> list[PlannedRange]:
    places = iter([place for place, _ in window])
    return [
        PlannedRange([*islice(places, len(together))], together)
        for together in ranges_of(row for _, row in window)
    ]


def _windows(rows: Iterable[FrameRow]) -> Iterator[_Window]:
    window: _Window = []
    size_bytes = 0
    for place, row in enumerate(rows):
        window.append((place, row))
        size_bytes += row.size
        if size_bytes >= _WINDOW_BYTES or len(window) >= _WINDOW_ROWS:
            yield window
            window, size_bytes = [], 0
    if window:
        yield window


def _continues(together: list[Row], row: Row) -> bool:
    first, last = together[0], together[-1]
    if row.key != last.key or not row.offset:
        return False
    gap = row.offset - (last.offset + last.size)
    most = max(_SMALL_GAP_BYTES, min(_LARGEST_GAP_BYTES, 2 * row.size))
    is_near = row.offset == last.offset or 0 <= gap <= most
    return is_near and row.offset + row.size - first.offset <= _LONGEST_BYTES
