"""Clients, and limits per client: rates of requests, and concurrent requests of one kind."""

import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cachetools import LRUCache
from starlette.authentication import BaseUser

from framecache.server.problem_details import too_many_requests

_IPV6_PREFIX_BITS: Final = 64
"""Length of the prefix that the addresses of one IPv6 subscriber share."""
_MAX_CLIENTS: Final = 10_000
_MAX_ADDRESSES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Client(BaseUser):
    """Combination of a token and a subscriber's address: Starlette's `user` of a request."""

    token: str | None
    """Name of the token; None if no token was given or none is required."""
    network: str
    """An IPv4 address, or the network of an IPv6 subscriber."""
    is_authenticated: bool = True
    """True if the client gave a valid token, or needs none."""

    @property
    def display_name(self) -> str:
        """Name of the token, which does not reveal it; ``anonymous`` without a token."""
        return self.token or "anonymous"

    @property
    def identity(self) -> str:
        """Name of the token, the same at every address, or of the subscriber without a token."""
        return self.token or self.network


@lru_cache(maxsize=_MAX_ADDRESSES)
def client_network(address: str) -> str:
    """Return the subscriber of an address: the IPv4 address, or the IPv6 subscriber's network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX_BITS), strict=False))


class RateLimiter:
    """Token bucket per client: a sustained rate and a burst. Safe to share between threads."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CLIENTS)
        """Per client, the requests it has left, and the time at which that was computed."""

    def consume(self, client: str) -> float:
        """Count one request if it is allowed; return the seconds to wait, 0.0 if it is allowed."""
        now = time.monotonic()
        with self._lock:
            left = self._available(client, now)
            fits = left >= 1.0
            self._buckets[client] = (left - 1.0 if fits else left, now)
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


class ConcurrencyLimit:
    """Concurrency limit without a queue, in total and per client; use only on the event loop.

    A token gets at most half of the slots, from all its addresses together; an address gets at
    most three quarters, with all its tokens together.
    """

    def __init__(
        self, max_concurrent: int, message: str, *, max_per_client: int, retry_seconds: float = 1
    ) -> None:
        """Create a limit with all slots free.

        Args:
            max_concurrent: number of slots.
            message: message for requests that get no slot.
            max_per_client: number of slots that one client may hold.
            retry_seconds: time after which a refused client should try again.
        """
        self._max_concurrent = max_concurrent
        self._max_per_client = max_per_client
        self._max_per_token = max(max_per_client, max_concurrent // 2)
        self._max_per_address = max(max_per_client + 1, max_concurrent * 3 // 4)
        self._message = message
        self._retry_seconds = retry_seconds
        self._in_use = 0
        self._held: Counter[object] = Counter()
        """Number of held slots, by client, by token and by address."""

    def __len__(self) -> int:
        """Return the number of slots in use; may be called on any thread."""
        return self._in_use

    @contextmanager
    def slot(self, client: Client) -> Iterator[None]:
        """Hold a slot for a client for the duration of the block.

        Raises:
            ProblemError: no slot is free, or the client, its token or its address holds its share.
        """
        if self._in_use >= self._max_concurrent:
            raise too_many_requests(self._message, seconds=self._retry_seconds)
        shares: dict[object, int] = {client: self._max_per_client}
        if client.token is not None:
            shares["token", client.token] = self._max_per_token
            shares["address", client.network] = self._max_per_address
        for holder, share in shares.items():
            if self._held[holder] >= share:
                raise too_many_requests(
                    f"{self._message} This client already uses its share.",
                    seconds=self._retry_seconds,
                )
        self._in_use += 1
        self._held.update(shares.keys())
        try:
            yield
        finally:
            self._in_use -= 1
            for holder in shares:
                self._held[holder] -= 1
                if not self._held[holder]:
                    del self._held[holder]
