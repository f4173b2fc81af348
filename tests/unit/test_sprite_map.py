"""The layout of sprite sheets: one tile a frame, with the proportions of the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._sprites.sprite_map import build_sprite_map, fit_size, number_sheets, tile_size

SIDES = st.integers(1, 70_000)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_every_frame_has_one_tile_on_a_sheet_of_its_chunk(
    chunk_ids: list[int], columns: int, rows: int
) -> None:
    chunks = np.array(chunk_ids, np.int32)
    found = build_sprite_map(chunks, width=96, height=64, columns=columns, rows=rows)
    positions = [
        position
        for sheet in found.sheets
        for position in range(sheet.first_position, sheet.first_position + sheet.count)
    ]
    assert positions == list(range(len(chunk_ids)))
    for sheet in found.sheets:
        assert 1 <= sheet.count <= columns * rows
        end = sheet.first_position + sheet.count
        assert set(chunk_ids[sheet.first_position : end]) == {sheet.chunk_id}
        width, height = found.sheet_size(sheet)
        tiles = {found.tile(place) for place in range(sheet.count)}
        assert len(tiles) == sheet.count
        assert all(
            left + found.tile_width <= width and top + found.tile_height <= height
            for left, top in tiles
        )


@given(st.lists(st.integers(0, 3), max_size=60))
def test_sheet_names_are_unique(chunk_ids: list[int]) -> None:
    chunks = np.array(chunk_ids, np.int32)
    sheets = build_sprite_map(chunks, width=0, height=0, columns=2, rows=2).sheets
    names = [
        (sheet.chunk_id, number)
        for sheet, number in zip(sheets, number_sheets(sheets), strict=True)
    ]
    assert len(set(names)) == len(sheets)


def test_default_sheet_has_100_tiles() -> None:
    found = build_sprite_map(np.zeros(250, np.int32), width=1280, height=720)
    assert [sheet.count for sheet in found.sheets] == [100, 100, 50]
    assert (found.columns, found.rows, found.tile_width, found.tile_height) == (10, 10, 160, 90)
    assert [found.sheet_size(sheet) for sheet in found.sheets] == [
        (1600, 900),
        (1600, 900),
        (1600, 450),
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (160, 90)),
        ((1080, 1920), (90, 160)),
        ((640, 640), (160, 160)),
        ((10_000, 100), (160, 40)),
        ((100, 10_000), (40, 160)),
        ((48, 32), (160, 107)),
        ((0, 0), (160, 90)),
    ],
)
def test_tile_has_160_pixels_on_its_longer_side(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert tile_size(*size) == expected


@given(SIDES, SIDES, SIDES, SIDES)
def test_frame_fits_its_tile_and_fills_one_dimension(
    width: int, height: int, other_width: int, other_height: int
) -> None:
    tile = tile_size(other_width, other_height)
    drawn = fit_size(width, height, within=tile)
    assert 1 <= drawn[0] <= tile[0]
    assert 1 <= drawn[1] <= tile[1]
    assert drawn[0] == tile[0] or drawn[1] == tile[1]
