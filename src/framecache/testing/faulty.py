"""Store whose requests fail when a test schedules it, as requests over a network do."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from threading import Lock
from typing import Final

from framecache.errors import StoreUnavailable
from framecache.store import BlobExists, BlobInfo, Store
from framecache.testing.wrapping import Action, Result, WrappingStore


class Fault(Enum):
    """Way in which a request fails."""

    FAIL_BEFORE = auto()
    """Any request: `StoreUnavailable`, and nothing was done."""
    LOSE_RESPONSE = auto()
    """Any request: it is done, then `StoreUnavailable`."""
    PARTIAL = auto()
    """Delete and list: only some of the keys are deleted or listed, then `StoreUnavailable`."""
    CONFLICT = auto()
    """Create: `BlobExists`, nothing was stored; S3 sends one of two concurrent creates a 409."""
    RETRIED = auto()
    """Create: it is done, then `BlobExists`, as when a client retries after a lost response."""
    TRUNCATE = auto()
    """Get: only the beginning of the bytes is returned."""
    FLIP_BIT = auto()
    """Get: the bytes are returned with one bit flipped."""


@dataclass(frozen=True, slots=True)
class SideEffect:
    """Action, such as another program's clear, that runs before a request is executed."""

    run: Callable[[], object]


Schedule = Callable[[Action, str], Fault | SideEffect | None]
"""Called once per request, with its action and its key or prefix (the first key of a delete)."""


def possible_faults(action: Action) -> frozenset[Fault]:
    """Return the faults that requests of this kind can have."""
    return _FAULTS[action]


_ANY: Final = frozenset({Fault.FAIL_BEFORE, Fault.LOSE_RESPONSE})
_FAULTS: Final[dict[Action, frozenset[Fault]]] = {
    "get": _ANY | {Fault.TRUNCATE, Fault.FLIP_BIT},
    "put": _ANY,
    "create": _ANY | {Fault.CONFLICT, Fault.RETRIED},
    "head": _ANY,
    "list": _ANY | {Fault.PARTIAL},
    "delete": _ANY | {Fault.PARTIAL},
}


class FaultyStore(WrappingStore):
    """Store that makes requests fail according to a schedule.

    The flipped bit, the point of truncation and the lost part depend on the seed, the key and the
    number of such faults of that key so far; not on threads.
    """

    def __init__(self, inner: Store, schedule: Schedule, *, seed: int = 0) -> None:
        """Wrap a store.

        Args:
            inner: the store that makes the requests.
            schedule: called on the thread that makes a request; may be called concurrently.
            seed: another seed gives other damage.
        """
        super().__init__(inner)
        self._schedule = schedule
        self._seed = seed
        self._fault_counts: Counter[str] = Counter()
        self._lock = Lock()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request according to the schedule.

        Raises:
            ValueError: the schedule returned a fault that requests of this kind cannot have.
        """
        return self._apply_fault(self._next_fault(action, key), action, key, operation)

    def get(self, key: str) -> bytes:
        """See `Store`."""
        return self._get(key, lambda: self.inner.get(key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store`."""
        return self._get(key, lambda: self.inner.get_range(key, start=start, length=length))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store`."""
        fault = self._next_fault("list", prefix)
        found = self._apply_fault(fault, "list", prefix, lambda: [*self.inner.list(prefix)])
        if fault is not Fault.PARTIAL:
            yield from found
            return
        yield from found[: self._next_random(prefix).randrange(len(found) + 1)]
        raise self._lost_response("list", prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`."""
        wanted = [*keys]
        if not wanted:
            return 0
        fault = self._next_fault("delete", wanted[0])
        if fault is not Fault.PARTIAL:
            return self._apply_fault(fault, "delete", wanted[0], lambda: self.inner.delete(wanted))
        choose = self._next_random(wanted[0])
        self.inner.delete(choose.sample(wanted, choose.randrange(len(wanted))))
        raise self._lost_response("delete", wanted[0])

    def _next_fault(self, action: Action, key: str) -> Fault | None:
        fault = self._schedule(action, key)
        if isinstance(fault, SideEffect):
            fault.run()
            return None
        if fault is not None and fault not in possible_faults(action):
            raise ValueError(f"the schedule requested {fault} at {action} {key!r}, which has none")
        return fault

    def _apply_fault(
        self, fault: Fault | None, action: Action, key: str, operation: Callable[[], Result]
    ) -> Result:
        if fault is Fault.FAIL_BEFORE:
            raise StoreUnavailable(f"{self.url}: cannot {action} {key!r}: a test made it fail")
        if fault is Fault.CONFLICT:
            raise BlobExists(key)
        result = operation()
        if fault is Fault.LOSE_RESPONSE:
            raise self._lost_response(action, key)
        if fault is Fault.RETRIED:
            raise BlobExists(key)
        return result

    def _get(self, key: str, operation: Callable[[], bytes]) -> bytes:
        fault = self._next_fault("get", key)
        data = self._apply_fault(fault, "get", key, operation)
        if fault is Fault.TRUNCATE and data:
            return data[: self._next_random(key).randrange(len(data))]
        if fault is Fault.FLIP_BIT and data:
            return _flip_bit(data, self._next_random(key).randrange(8 * len(data)))
        return data

    def _next_random(self, key: str) -> random.Random:
        with self._lock:
            self._fault_counts[key] += 1
            met = self._fault_counts[key]
        return random.Random(f"{self._seed} {met} {key}")  # noqa: S311 -- damage, no secret

    def _lost_response(self, action: Action, key: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.url}: the response to {action} {key!r} was lost: a test made it so"
        )


def _flip_bit(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)
