"""The frames that jobs ask for which need not all of them; the same for every contestant."""

import random
from collections.abc import Sequence

from benchmarks.contract import Inputs

RANDOM, STRIDE, SINGLE = "40 random", "every 10th", "40 random, one after the other"
COUNT, STEP, SEED = 40, 10, 3


def chosen(inputs: Inputs, which: str) -> Sequence[int]:
    if which == STRIDE:
        return inputs.sequences[::STEP]
    count = min(COUNT, inputs.frames)
    drawn = random.Random(SEED).sample(inputs.sequences, count)
    return sorted(drawn) if which == RANDOM else drawn
