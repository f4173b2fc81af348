"""Which frame is which tile of which sheet. Pure: no I/O."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

COLUMNS: Final = 10
ROWS: Final = 10
LONGER_SIDE: Final = 160
"""Pixels of a tile's longer side."""
_WIDEST: Final = 4.0
"""Longer side by shorter side of a tile, at most: a wider panorama has gray above and below."""
_ASPECT_WHEN_UNKNOWN: Final = (16, 9)


@dataclass(frozen=True, slots=True)
class SpriteSheet:
    """One sheet: frames of one chunk that follow each other in the index."""

    chunk_id: int
    first_position: int
    """The first frame's place among all frames of the index, from 0."""
    count: int
    """Tiles, in row order: one for each frame from ``first_position`` on."""


@dataclass(frozen=True, slots=True)
class SpriteMap:
    """Where the thumbnail of each frame lies. Frames are told by their position in the index."""

    columns: int
    rows: int
    tile_width: int
    """Pixels."""
    tile_height: int
    sheets: tuple[SpriteSheet, ...]
    """In the order of positions, without gaps."""

    def sheet_size(self, sheet: SpriteSheet) -> tuple[int, int]:
        """Width and height of a sheet, pixels; one that is not full has fewer rows."""
        rows = -(-sheet.count // self.columns)
        return self.columns * self.tile_width, rows * self.tile_height

    def tile(self, place: int) -> tuple[int, int]:
        """Left and top of a sheet's tile, by its place from 0, pixels."""
        row, column = divmod(place, self.columns)
        return column * self.tile_width, row * self.tile_height


def lay_out(
    chunk_ids: npt.NDArray[np.int32],
    *,
    width: int,
    height: int,
    columns: int = COLUMNS,
    rows: int = ROWS,
) -> SpriteMap:
    """Place all frames of an index; no sheet has frames of two chunks.

    Args:
        chunk_ids: of each frame, in the order of the index.
        width: of the timeline's pictures, pixels; 0 when unknown.
        height: likewise.
        columns: tiles beside each other.
        rows: tiles below each other.
    """
    tile_width, tile_height = tile_size(width, height)
    begins = [0, *(np.flatnonzero(np.diff(chunk_ids)) + 1).tolist(), len(chunk_ids)]
    sheets = [
        SpriteSheet(int(chunk_ids[begin]), first, min(columns * rows, end - first))
        for begin, end in pairwise(begins)
        for first in range(begin, end, columns * rows)
    ]
    return SpriteMap(columns, rows, tile_width, tile_height, tuple(sheets))


def numbers(sheets: tuple[SpriteSheet, ...]) -> list[int]:
    """For each sheet, how many of the same chunk come before it."""
    met: Counter[int] = Counter()
    found: list[int] = []
    for sheet in sheets:
        found.append(met[sheet.chunk_id])
        met[sheet.chunk_id] += 1
    return found


def tile_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a tile for pictures of a size: 160 pixels on the longer side."""
    if not width or not height:
        width, height = _ASPECT_WHEN_UNKNOWN
    aspect = min(_WIDEST, max(1 / _WIDEST, width / height))
    if aspect >= 1:
        return LONGER_SIDE, round(LONGER_SIDE / aspect)
    return round(LONGER_SIDE * aspect), LONGER_SIDE


def fitted(width: int, height: int, *, within: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a picture made as large as its tile, its proportions kept."""
    scale = min(within[0] / width, within[1] / height)
    return (
        min(within[0], max(1, round(width * scale))),
        min(within[1], max(1, round(height * scale))),
    )
