"""Frame numbers of decord and torchcodec, compared with the pictures that they return for them."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framecache._interop.tool_numbers import Tool
from interop.comparing import SAMPLINGS, extracted, outcomes
from interop.counted_clips import NAMES, clip, shown_number

_AMBIGUOUS = {
    *("edit-list.mp4", "negative.mkv", "b-frames.avi", "b-frames.ts"),
    *("no-times.ts", "twice.ts", "middle.ts", "two-videos.mkv", "jump.ts", "refresh.mp4"),
}
_OPEN = {"open-groups.mp4", "hevc.mp4"}


@cache
def read_in_any_order(path: Path, tool: Tool) -> dict[int, int | None]:
    """Pictures that a reader returns for its numbers, in a random order; None for an error."""
    reader: Any
    if tool == "decord":
        reader = import_module("decord").VideoReader(str(path))
    else:
        reader = import_module("torchcodec.decoders").VideoDecoder(
            str(path),
            dimension_order="NHWC",
        )
    shown: dict[int, int | None] = {}
    for number in np.random.default_rng(7).permutation(len(reader)).tolist():
        try:
            picture = reader[number]
        except (RuntimeError, IndexError):
            shown[number] = None
            continue
        image = picture.asnumpy() if tool == "decord" else picture.numpy()
        shown[number] = shown_number(image)
    return dict(sorted(shown.items()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("tool", ["decord", "torchcodec"])
def test_reader_number_is_translated_to_the_frame_that_the_reader_returns(
    tool: Tool, name: str, sampling: str
) -> None:
    shown = read_in_any_order(clip(name), tool)
    counts = outcomes(extracted(name, sampling=sampling), shown, of=tool)
    if name in _AMBIGUOUS or (tool == "decord" and name in _OPEN):
        assert counts["right"] == 0
    elif sampling == "all":
        assert counts == {"right": len(shown)}
    elif sampling == "every":
        assert counts["right"] == len(shown) // 3
