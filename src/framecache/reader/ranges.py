"""Which frames of packs are fetched together: ranges that are long enough, and no longer."""

from collections.abc import Iterable, Iterator
from typing import Final

from framecache.index import FrameRow

ENOUGH_BYTES: Final = 1_250_000
"""A range of this length is not extended. A request then takes longer to be carried than to be
answered, and further bytes come sooner by another connection."""

_LARGEST_GAP_BYTES: Final = 128 * 1024
"""What lies between two wanted frames and costs less to fetch as well than another request does."""


def ranges_of(rows: Iterable[FrameRow]) -> Iterator[list[FrameRow]]:
    """Cut rows, in their order, into those that one request fetches each.

    Frames of one pack that follow each other closely share a range, until it is long enough. A
    frame that is a blob of its own stands alone.
    """
    together: list[FrameRow] = []
    for row in rows:
        if together and not _continues(together, row):
            yield together
            together = []
        together.append(row)
    if together:
        yield together


def _continues(together: list[FrameRow], row: FrameRow) -> bool:
    first, last = together[0], together[-1]
    end = last.offset + last.size
    return (
        row.key == last.key
        and bool(row.offset)
        and end - first.offset < ENOUGH_BYTES
        and 0 <= row.offset - end <= _LARGEST_GAP_BYTES
    )
