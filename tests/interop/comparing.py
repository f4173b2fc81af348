"""Comparison of translated numbers with the pictures that a tool returns for them."""

import uuid
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import cache

from framecache import AmbiguousFrame, FrameCache, NotCached, Timeline
from framecache._interop.tool_numbers import Tool
from interop.counted_clips import clip, shown_number

SAMPLINGS: Mapping[str, Mapping[str, object]] = {
    "all": {},
    "fps": {"fps": 7},
    "every": {"every": 3},
    "keyframes": {"keyframes": True},
}


@cache
def extracted(*names: str, sampling: str = "all") -> Timeline:
    """A timeline of clips, which no test changes."""
    timeline = FrameCache(f"memory://{uuid.uuid4().hex}").timeline("t")
    timeline.extract([str(clip(name)) for name in names], **SAMPLINGS[sampling])  # type: ignore[arg-type]
    return timeline


def outcomes(
    timeline: Timeline,
    shown: Mapping[int, int | None],
    *,
    of: Tool,
    fps: str | Fraction | None = None,
    chunk_id: int | None = None,
) -> Counter[str]:
    """Count the outcomes of a tool's numbers, each with the picture that the tool shows for it.

    A wrong frame, and a number that is not the way back, fail at once.
    """
    counts: Counter[str] = Counter()
    for number, picture in shown.items():
        try:
            found = timeline.translate(number, of=of, fps=fps, chunk_id=chunk_id)
        except (AmbiguousFrame, NotCached) as error:
            counts[type(error).__name__] += 1
            continue
        frame = timeline.frame(found.sequence)
        assert shown_number(frame.image) == picture, f"{number} is {picture}, not {found}"
        assert found.timestamp == frame.timestamp
        back = timeline.translate_back(found.sequence, of=of, fps=fps)
        assert back.number <= number
        assert shown.get(back.number) == picture
        counts["right"] += 1
    return counts
