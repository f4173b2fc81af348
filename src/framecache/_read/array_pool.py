"""Reusable memory for decoded pictures.

The operating system hands memory to a process page by page, at the first access, and zeroes each
page. When hundreds of pictures of several megabytes are allocated and freed per second, that takes
a fifth of the time that decoding them takes.
"""

import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from framecache.model import Image


class ArrayPool:
    """Pool of arrays that reclaims an array's memory when its last view is gone.

    Safe to share between threads.
    """

    def __init__(self, *, max_buffers: int, largest_bytes: int = sys.maxsize) -> None:
        """Create an empty pool.

        Args:
            max_buffers: the maximum number of freed buffers kept for reuse.
            largest_bytes: the maximum size of a buffer that is kept.
        """
        self._state = _PoolState(deque(maxlen=max_buffers), largest_bytes)

    def array(self, shape: tuple[int, ...]) -> Image:
        """Return a C-contiguous uint8 array of arbitrary content, owned by the caller."""
        lent = _PooledBuffer(self._allocate(math.prod(shape)), self._state)
        return np.asarray(lent).reshape(shape)

    def close(self) -> None:
        """Stop keeping memory: buffers returned from now on are freed."""
        self._state.free = None

    def _allocate(self, size_bytes: int) -> Image:
        """Return a freed buffer of this size, or newly allocated memory that is not yet touched."""
        memory = self._pop_free()
        if memory is not None and len(memory) == size_bytes:
            return memory
        del memory  # freed first: pictures of a timeline rarely differ in size
        return np.empty(size_bytes, np.uint8)

    def _pop_free(self) -> Image | None:
        free = self._state.free
        try:
            return free.pop() if free else None
        except IndexError:  # another thread took it
            return None


@dataclass(slots=True)
class _PoolState:
    """State that a pool shares with the buffers it has lent."""

    free: deque[Image] | None
    """Buffers available for reuse; None once the pool is closed."""
    largest_bytes: int


class _PooledBuffer:
    """Buffer of a pool that is in use.

    In a chain of views, NumPy makes every view refer to the array at the end of the chain, and that
    array refers to this object, so it lives as long as any view. NumPy does not stop at a type it
    knows (``memoryview``, ``ndarray``), which is why this class is neither.
    """

    def __init__(self, memory: Image, state: _PoolState) -> None:
        self._memory = memory
        self._state = state

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """NumPy's description of the memory."""
        return self._memory.__array_interface__

    def __del__(self) -> None:
        """Return the memory to the pool."""
        free = self._state.free
        if free is not None and len(self._memory) <= self._state.largest_bytes:
            free.append(self._memory)
