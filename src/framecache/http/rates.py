"""How many requests a client may make: a bucket of tokens that fills again."""

import threading
import time
from collections import OrderedDict
from typing import Final

_MOST_CLIENTS: Final = 10_000


class Rate:
    """So many a second, lasting, and a burst of some more. Safe to share between threads."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Of each client: how many it may still make, and since when that is so."""

    def take(self, client: str) -> float:
        """Count one request; returns the seconds to wait before it may be made, 0.0 for none."""
        now = time.monotonic()
        with self._lock:
            left, since = self._left.pop(client, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second)
            fits = left >= 1.0
            self._left[client] = (left - 1.0 if fits else left, now)
            if len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if fits else (1.0 - left) / self._per_second
