"""A store whose requests fail where a test wants them to, as requests over a network do."""

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
    """How a request goes wrong."""

    FAIL_BEFORE = auto()
    """Any request: `StoreUnavailable`, and nothing was done."""
    LOSE_ANSWER = auto()
    """Any request: it is done, then `StoreUnavailable`."""
    LOSE_PART = auto()
    """Delete and list: some of the keys are deleted, or told of, then `StoreUnavailable`."""
    CONFLICT = auto()
    """Create: `BlobExists`, and nothing was stored; S3 answers 409 to one of two at once."""
    RETRIED = auto()
    """Create: it is done, then `BlobExists`, as when a client sends it again without an answer."""
    TRUNCATE = auto()
    """Get: only the beginning of the bytes comes."""
    FLIP = auto()
    """Get: the bytes come with one bit of them flipped."""


@dataclass(frozen=True, slots=True)
class Interlude:
    """Something that happens, like another program's clear, before a request is carried out."""

    run: Callable[[], object]


Schedule = Callable[[Action, str], Fault | Interlude | None]
"""Asked once a request, with what it does and its key or prefix (of a delete, its first key)."""


def faults_of(action: Action) -> frozenset[Fault]:
    """The faults that requests of this kind can have."""
    return _FAULTS[action]


_ANY: Final = frozenset({Fault.FAIL_BEFORE, Fault.LOSE_ANSWER})
_FAULTS: Final[dict[Action, frozenset[Fault]]] = {
    "get": _ANY | {Fault.TRUNCATE, Fault.FLIP},
    "put": _ANY,
    "create": _ANY | {Fault.CONFLICT, Fault.RETRIED},
    "head": _ANY,
    "list": _ANY | {Fault.LOSE_PART},
    "delete": _ANY | {Fault.LOSE_PART},
}


class FaultyStore(WrappingStore):
    """Lets each request go wrong, or not, as a schedule says.

    Which bit is flipped, where bytes end and which part is lost depend on the seed, the key and
    how many such faults the key has met: not on threads.
    """

    def __init__(self, inner: Store, schedule: Schedule, *, seed: int = 0) -> None:
        """Wrap a store.

        Args:
            inner: makes the requests.
            schedule: called on the thread that makes a request; several may call it at once.
            seed: another one gives other damage.
        """
        super().__init__(inner)
        self._schedule = schedule
        self._seed = seed
        self._met: Counter[str] = Counter()
        self._lock = Lock()

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, as the schedule says.

        Raises:
            ValueError: the schedule gave a fault that requests of this kind cannot have.
        """
        return self._suffer(self._next_fault(action, key), action, key, operation)

    def get(self, key: str) -> bytes:
        """See `Store`."""
        return self._get(key, lambda: self.inner.get(key))

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store`."""
        return self._get(key, lambda: self.inner.get_range(key, start=start, length=length))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store`."""
        fault = self._next_fault("list", prefix)
        found = self._suffer(fault, "list", prefix, lambda: [*self.inner.list(prefix)])
        if fault is not Fault.LOSE_PART:
            yield from found
            return
        yield from found[: self._choose(prefix).randrange(len(found) + 1)]
        raise self._lost("list", prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store`."""
        wanted = [*keys]
        if not wanted:
            return 0
        fault = self._next_fault("delete", wanted[0])
        if fault is not Fault.LOSE_PART:
            return self._suffer(fault, "delete", wanted[0], lambda: self.inner.delete(wanted))
        choose = self._choose(wanted[0])
        self.inner.delete(choose.sample(wanted, choose.randrange(len(wanted))))
        raise self._lost("delete", wanted[0])

    def _next_fault(self, action: Action, key: str) -> Fault | None:
        fault = self._schedule(action, key)
        if isinstance(fault, Interlude):
            fault.run()
            return None
        if fault is not None and fault not in faults_of(action):
            raise ValueError(f"the schedule asked for {fault} at {action} {key!r}, which has none")
        return fault

    def _suffer(
        self, fault: Fault | None, action: Action, key: str, operation: Callable[[], Result]
    ) -> Result:
        if fault is Fault.FAIL_BEFORE:
            raise StoreUnavailable(f"{self.url}: cannot {action} {key!r}: a test made it fail")
        if fault is Fault.CONFLICT:
            raise BlobExists(key)
        result = operation()
        if fault is Fault.LOSE_ANSWER:
            raise self._lost(action, key)
        if fault is Fault.RETRIED:
            raise BlobExists(key)
        return result

    def _get(self, key: str, operation: Callable[[], bytes]) -> bytes:
        fault = self._next_fault("get", key)
        data = self._suffer(fault, "get", key, operation)
        if fault is Fault.TRUNCATE and data:
            return data[: self._choose(key).randrange(len(data))]
        if fault is Fault.FLIP and data:
            return _flipped(data, self._choose(key).randrange(8 * len(data)))
        return data

    def _choose(self, key: str) -> random.Random:
        with self._lock:
            self._met[key] += 1
            met = self._met[key]
        return random.Random(f"{self._seed} {met} {key}")  # noqa: S311 -- damage, no secret

    def _lost(self, action: Action, key: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.url}: the answer to {action} {key!r} was lost: a test made it so"
        )


def _flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)
