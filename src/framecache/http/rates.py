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
            left = self._left_now(client, now)
            fits = left >= 1.0
            self._left.pop(client, None)
            self._left[client] = (left - 1.0 if fits else left, now)
            if len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if fits else self._seconds_to_one(left)

    def wait(self, client: str) -> float:
        """What `take` would return now; counts nothing."""
        with self._lock:
            left = self._left_now(client, time.monotonic())
        return 0.0 if left >= 1.0 else self._seconds_to_one(left)

    def _left_now(self, client: str, now: float) -> float:
        left, since = self._left.get(client, (self._burst, now))
        return min(self._burst, left + (now - since) * self._per_second)

    def _seconds_to_one(self, left: float) -> float:
        return (1.0 - left) / self._per_second
