"""Arrays for pictures, whose memory is used again once nobody looks at them any more.

The system gives a process memory page by page, at the first touch, and zeroes each. Where pictures
of megabytes are made and dropped by the hundreds a second, that takes a fifth of the time that
decoding them takes.
"""

from collections import deque
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
        self._free: deque[bytearray] = deque(maxlen=keep)

    def array(self, shape: tuple[int, ...]) -> Image:
        """A C-contiguous uint8 array of any content; the caller's, as any other."""
        size_bytes = int(np.prod(shape))
        lent = _Lent(size_bytes, np.uint8, self._memory(size_bytes))
        lent.free = self._free
        # Views refer to where their memory comes from, past other views, but not past an array of
        # another class: so whatever the caller makes of this one, what is lent lives as long.
        return lent.view(np.ndarray).reshape(shape)

    def _memory(self, size_bytes: int) -> bytearray:
        try:
            memory = self._free.pop()
        except IndexError:
            return bytearray(size_bytes)
        # Pictures of a timeline rarely differ in size.
        return memory if len(memory) == size_bytes else bytearray(size_bytes)


class _Lent(np.ndarray[Any, np.dtype[np.uint8]]):
    """Memory of a pool in use."""

    free: deque[bytearray] | None = None

    def __del__(self) -> None:
        """Give it back."""
        if self.free is not None and isinstance(self.base, bytearray):
            self.free.append(self.base)
