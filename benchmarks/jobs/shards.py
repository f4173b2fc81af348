"""Tar shards of the frames, as WebDataset reads them."""

from typing import Final

SHARDS: Final = 8
"""Enough that every process of a loader has some."""


def shard_keys() -> list[str]:
    return [f"shards/{number:04d}.tar" for number in range(SHARDS)]
