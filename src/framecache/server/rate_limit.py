"""Rate limits per client, as token buckets."""

import threading
import time
from collections import OrderedDict
from typing import Final

_MAX_CLIENTS: Final = 10_000


class RateLimiter:
    """Token bucket per client: a sustained rate and a burst. Safe to share between threads."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Per client, the requests it has left, and the time at which that was computed."""

    def consume(self, client: str) -> float:
        """Count one request if it is allowed; return the seconds to wait, 0.0 if it is allowed."""
        now = time.monotonic()
        with self._lock:
            left = self._available(client, now)
            fits = left >= 1.0
            self._buckets.pop(client, None)
            self._buckets[client] = (left - 1.0 if fits else left, now)
            if len(self._buckets) > _MAX_CLIENTS:
                self._buckets.popitem(last=False)
        return 0.0 if fits else self._seconds_until_available(left)

    def retry_after(self, client: str) -> float:
        """Return what `consume` would return now, and count nothing."""
        with self._lock:
            left = self._available(client, time.monotonic())
        return 0.0 if left >= 1.0 else self._seconds_until_available(left)

    def _available(self, client: str, now: float) -> float:
        left, since = self._buckets.get(client, (self._burst, now))
        return min(self._burst, left + (now - since) * self._per_second)

    def _seconds_until_available(self, left: float) -> float:
        return (1.0 - left) / self._per_second
