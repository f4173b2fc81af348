"""Assignment of frames to tiles and sheets; pure, no I/O."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

COLUMNS: Final = 10
ROWS: Final = 10
LONGER_SIDE: Final = 160
"""Longer side of a tile in pixels."""
_MAX_ASPECT: Final = 4.0
"""Maximum ratio of a tile's longer to shorter side: a wider panorama is padded with gray."""
_ASPECT_WHEN_UNKNOWN: Final = (16, 9)


@dataclass(frozen=True, slots=True)
class SpriteSheet:
    """Sheet that shows consecutive frames of the index, all of one chunk."""

    chunk_id: int
    first_position: int
    """Position of the first frame among all frames of the index, from 0."""
    count: int
    """Number of tiles, in row order: one per frame, starting at ``first_position``."""


@dataclass(frozen=True, slots=True)
class SpriteMap:
    """Location of each frame's thumbnail. Frames are identified by their position in the index."""

    columns: int
    rows: int
    tile_width: int
    """Width in pixels."""
    tile_height: int
    sheets: tuple[SpriteSheet, ...]
    """Sheets in the order of positions, without gaps."""

    def sheet_size(self, sheet: SpriteSheet) -> tuple[int, int]:
        """Return width and height of a sheet in pixels; a sheet that is not full has fewer rows."""
        rows = -(-sheet.count // self.columns)
        return self.columns * self.tile_width, rows * self.tile_height

    def tile(self, place: int) -> tuple[int, int]:
        """Return left and top of a tile in pixels, by its number on the sheet, from 0."""
        row, column = divmod(place, self.columns)
        return column * self.tile_width, row * self.tile_height


def build_sprite_map(
    chunk_ids: npt.NDArray[np.int32],
    *,
    width: int,
    height: int,
    columns: int = COLUMNS,
    rows: int = ROWS,
) -> SpriteMap:
    """Assign all frames of an index to tiles; no sheet has frames of two chunks.

    Args:
        chunk_ids: the chunk of each frame, in the order of the index.
        width: the width of the timeline's pictures in pixels; 0 if unknown.
        height: the height of the timeline's pictures in pixels; 0 if unknown.
        columns: the number of tiles per row.
        rows: the number of rows per sheet.
    """
    tile_width, tile_height = tile_size(width, height)
    begins = [0, *(np.flatnonzero(np.diff(chunk_ids)) + 1).tolist(), len(chunk_ids)]
    sheets = [
        SpriteSheet(int(chunk_ids[begin]), first, min(columns * rows, end - first))
        for begin, end in pairwise(begins)
        for first in range(begin, end, columns * rows)
    ]
    return SpriteMap(columns, rows, tile_width, tile_height, tuple(sheets))


def number_sheets(sheets: tuple[SpriteSheet, ...]) -> list[int]:
    """Return, for each sheet, the number of earlier sheets of the same chunk."""
    met: Counter[int] = Counter()
    found: list[int] = []
    for sheet in sheets:
        found.append(met[sheet.chunk_id])
        met[sheet.chunk_id] += 1
    return found


def tile_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of a tile for a picture size: 160 pixels on the longer side."""
    if not width or not height:
        width, height = _ASPECT_WHEN_UNKNOWN
    aspect = min(_MAX_ASPECT, max(1 / _MAX_ASPECT, width / height))
    if aspect >= 1:
        return LONGER_SIDE, round(LONGER_SIDE / aspect)
    return round(LONGER_SIDE * aspect), LONGER_SIDE


def fit_size(width: int, height: int, *, within: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of a picture scaled to fit into its tile, aspect ratio kept."""
    scale = min(within[0] / width, within[1] / height)
    return (
        min(within[0], max(1, round(width * scale))),
        min(within[1], max(1, round(height * scale))),
    )
