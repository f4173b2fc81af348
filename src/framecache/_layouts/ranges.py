"""Group frames of packs into byte ranges of a suitable size, one request each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from framecache._index import FrameRow

_TARGET_RANGE_BYTES: Final = 1_750_000
"""Bytes of JPEG from which a range is not extended.

Smaller requests cost the server and the client more; data that is requested together arrives later.
"""

_MAX_RANGE_BYTES: Final = 2_000_000
"""Maximum length of a range, including gaps between its JPEGs, unless it is a single frame."""

_FREE_GAP_BYTES: Final = 128 * 1024
"""Gap between two wanted frames that is cheaper to fetch than another request."""

_MAX_GAP_BYTES: Final = 256 * 1024
"""Maximum gap if it is at most twice the size of the next frame: bounds the unwanted bytes."""


class JpegLocation(Protocol):
    """Location of a stored JPEG."""

    @property
    def key(self) -> str:
        """Key of the blob."""
        ...

    @property
    def offset(self) -> int:
        """Offset in the blob at which the JPEG begins; 0: the blob is the JPEG."""
        ...

    @property
    def size(self) -> int:
        """Size of the JPEG in bytes."""
        ...


Row = TypeVar("Row", bound=JpegLocation)


_WINDOW_BYTES: Final = 16_000_000
"""Bytes of JPEG within which rows may be fetched in another order than the one given."""

_WINDOW_ROWS: Final = 4096
"""Rows within which they may be; the first request waits until this many are taken."""


_Window = list[tuple[int, FrameRow]]
"""Rows, each with its position among all wanted rows."""


@dataclass(frozen=True, slots=True)
class PlannedRange:
    """Byte range that one request fetches."""

    positions: Sequence[int]
    """Position of each row among all wanted rows."""
    rows: Sequence[FrameRow]
    """Rows in the order in which they are stored in their blob."""

    @property
    def size_bytes(self) -> int:
        """Length of the range."""
        return self.rows[-1].offset + self.rows[-1].size - self.rows[0].offset


def plan_ranges(rows: Iterable[FrameRow]) -> Iterator[PlannedRange]:
    """Yield the ranges by which to fetch rows, which may be given in any order.

    Rows of packs that are near each other in the given order are sorted by their place in the
    store. A consumer that fetches the ranges in turn never waits for more than one window of rows.
    """
    left: _Window = []
    for given in _iter_windows(rows):
        window = left + given
        stored = (
            sorted(window, key=_storage_order) if any(row.offset for _, row in window) else window
        )
        planned = _split_window(stored)
        # The next window may continue the last range. In a window that was reordered, the consumer
        # may be waiting for a row of that range, so it is not held back.
        left = []
        if stored == window:
            last = planned.pop()
            left = [*zip(last.positions, last.rows, strict=True)]
        yield from planned
    yield from _split_window(left)


def coalesce_ranges(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows, in their order, into lists that one request fetches each.

    Frames of one pack that follow each other closely share a range until it is long enough, and so
    do repetitions of one frame. A frame that is a separate blob is a range of its own.
    """
    together: list[Row] = []
    wanted_bytes = 0
    for row in rows:
        if together and not (wanted_bytes < _TARGET_RANGE_BYTES and _is_mergeable(together, row)):
            yield together
            together, wanted_bytes = [], 0
        if not together or row.offset != together[-1].offset:
            wanted_bytes += row.size
        together.append(row)
    if together:
        yield together


def _storage_order(one: tuple[int, FrameRow]) -> tuple[str, int]:
    return one[1].key, one[1].offset


def _split_window(window: _Window) -> list[PlannedRange]:
    places = iter([place for place, _ in window])
    return [
        PlannedRange([*islice(places, len(together))], together)
        for together in coalesce_ranges(row for _, row in window)
    ]


def _iter_windows(rows: Iterable[FrameRow]) -> Iterator[_Window]:
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


def _is_mergeable(together: list[Row], row: Row) -> bool:
    first, last = together[0], together[-1]
    if row.key != last.key or not row.offset:
        return False
    gap = row.offset - (last.offset + last.size)
    most = max(_FREE_GAP_BYTES, min(_MAX_GAP_BYTES, 2 * row.size))
    is_near = row.offset == last.offset or 0 <= gap <= most
    return is_near and row.offset + row.size - first.offset <= _MAX_RANGE_BYTES
