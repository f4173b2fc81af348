"""Arrays for pictures, whose memory is used again once nobody looks at them any more.

The system gives a process memory page by page, at the first touch, and zeroes each. Where pictures
of megabytes are made and dropped by the hundreds a second, that takes a fifth of the time that
decoding them takes.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from framecache.model import Image


class ArrayPool:
    """Gives out arrays, and takes their memory back when the last view of them is gone.

    Safe to share between threads.
    """

    def __init__(self, *, keep: int) -> None:
        """Begin with nothing.

        Args:
            keep: arrays' memory to keep for later, at most.
        """
        self._lending = _Lending(deque(maxlen=keep))

    def array(self, shape: tuple[int, ...]) -> Image:
        """A C-contiguous uint8 array of any content; the caller's, as any other."""
        size_bytes = int(np.prod(shape))
        lent = _Lent(size_bytes, np.uint8, self._memory(size_bytes))
        lent.lending = self._lending
        # Views refer to where their memory comes from, past other views, but not past an array of
        # another class: so whatever the caller makes of this one, what is lent lives as long.
        return lent.view(np.ndarray).reshape(shape)

    def close(self) -> None:
        """Keep nothing any more: what comes back from now on is let go of."""
        self._lending.free = None

    def _memory(self, size_bytes: int) -> bytearray:
        free = self._lending.free
        try:
            memory = free.pop() if free is not None else bytearray()
        except IndexError:
            return bytearray(size_bytes)
        # Pictures of a timeline rarely differ in size.
        return memory if len(memory) == size_bytes else bytearray(size_bytes)


@dataclass(slots=True)
class _Lending:
    """What a pool shares with the arrays it gave out."""

    free: deque[bytearray] | None
    """Memory to use again; None once the pool is closed."""


class _Lent(np.ndarray[Any, np.dtype[np.uint8]]):
    """Memory of a pool in use."""

    lending: _Lending | None = None

    def __del__(self) -> None:
        """Give it back."""
        free = self.lending.free if self.lending is not None else None
        if free is not None and isinstance(self.base, bytearray):
            free.append(self.base)
