"""Arrays for pictures, whose memory is used again once nobody looks at them any more.

The system gives a process memory page by page, at the first touch, and zeroes each. Where pictures
of megabytes are made and dropped by the hundreds a second, that takes a fifth of the time that
decoding them takes.
"""

import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from framecache.model import Image


class ArrayPool:
    """Gives out arrays, and takes their memory back when the last view of them is gone.

    Safe to share between threads.
    """

    def __init__(self, *, keep: int, largest_bytes: int = sys.maxsize) -> None:
        """Begin with nothing.

        Args:
            keep: arrays' memory to keep for later, at most.
            largest_bytes: of an array whose memory is kept.
        """
        self._lending = _Lending(deque(maxlen=keep), largest_bytes)

    def array(self, shape: tuple[int, ...]) -> Image:
        """A C-contiguous uint8 array of any content; the caller's, as any other."""
        lent = _Lent(self._memory(math.prod(shape)), self._lending)
        return np.asarray(lent).reshape(shape)

    def close(self) -> None:
        """Keep nothing any more: what comes back from now on is let go of."""
        self._lending.free = None

    def _memory(self, size_bytes: int) -> Image:
        """Some of before, or untouched, so that those who fill it make the system give it."""
        memory = self._taken_from_free()
        if memory is not None and len(memory) == size_bytes:
            return memory
        del memory  # before there is more: pictures of a timeline rarely differ in size
        return np.empty(size_bytes, np.uint8)

    def _taken_from_free(self) -> Image | None:
        free = self._lending.free
        try:
            return free.pop() if free else None
        except IndexError:  # another thread took it
            return None


@dataclass(slots=True)
class _Lending:
    """What a pool shares with the memory it gave out."""

    free: deque[Image] | None
    """To use again; None once the pool is closed."""
    largest_bytes: int


class _Lent:
    """Memory of a pool in use.

    NumPy has every view refer to the array at the end of a chain of views, and that one to this:
    so this lives as long as any of them. It looks past what it knows, a ``memoryview`` or an
    array, which is why this is neither.
    """

    def __init__(self, memory: Image, lending: _Lending) -> None:
        self._memory = memory
        self._lending = lending

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Where the memory is, for NumPy."""
        return self._memory.__array_interface__

    def __del__(self) -> None:
        """Give it back."""
        free = self._lending.free
        if free is not None and len(self._memory) <= self._lending.largest_bytes:
            free.append(self._memory)
