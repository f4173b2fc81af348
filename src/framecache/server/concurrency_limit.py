"""Concurrency limits on requests of one kind, in total and per client (places)."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from framecache.server.clients import Client
from framecache.server.problem_details import too_many_requests


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
        shares = self._quotas(client)
        if any(self._held[holder] >= share for holder, share in shares.items()):
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

    def _quotas(self, client: Client) -> dict[object, int]:
        if client.token is None:
            return {client: self._max_per_client}
        return {
            client: self._max_per_client,
            ("token", client.token): max(self._max_per_client, self._max_concurrent // 2),
            ("address", client.network): max(
                self._max_per_client + 1, self._max_concurrent * 3 // 4
            ),
        }
