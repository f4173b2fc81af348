"""Size of frames with a limit, as they are stored and as they are read. Pure: no I/O."""

from collections.abc import Sequence


def limit_size(width: int, height: int, *, max_side: int | None) -> tuple[int, int]:
    """Return the width and height of a picture whose longer side is limited to ``max_side``.

    A picture is never enlarged. The other side is rounded to the nearest pixel, halves up, as
    with ffmpeg's ``scale=MAX_SIDE:-1``, and is at least 1 unless the size is unknown, which is 0.
    """
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    wide, high = (
        max(1, (2 * side * max_side + longer) // (2 * longer)) for side in (width, height)
    )
    return wide, high


def list_sides(sides: Sequence[int]) -> str:
    """Return the sizes of renditions as words: ``640, 320 and 224``."""
    *others, last = map(str, sides)
    return f"{', '.join(others)} and {last}" if others else last
