"""Types for programs that bring a store of their own, or test with ours. mypy checks this file."""

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, assert_type

import pytest

from framecache.store import NO_OPTIONS, BlobInfo, StorageOptions, Store, open_store
from framecache.testing import (
    Action,
    CrashingStore,
    Fault,
    FaultyStore,
    HookedStore,
    SideEffect,
    StoreConformance,
    WrappingStore,
    possible_faults,
)

Result = TypeVar("Result")


class OwnStore:
    """Store of a caller's own: no base class is needed."""

    @property
    def url(self) -> str:
        return "own://store"

    @property
    def display_name(self) -> str:
        return self.url

    @property
    def options(self) -> StorageOptions:
        return NO_OPTIONS

    def get(self, key: str) -> bytes:
        raise NotImplementedError(key)

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        raise NotImplementedError(key, start, length)

    def put(self, key: str, data: bytes) -> None:
        raise NotImplementedError(key, data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        raise NotImplementedError(key, blocks)

    def create(self, key: str, data: bytes) -> None:
        raise NotImplementedError(key, data)

    def head(self, key: str) -> BlobInfo:
        raise NotImplementedError(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        raise NotImplementedError(prefix)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        raise NotImplementedError(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        raise NotImplementedError(keys)


class OwnConformance(StoreConformance):
    """Tests of the store of a caller's own."""

    @pytest.fixture
    def store(self) -> Store:
        return OwnStore()


class CountingStore(WrappingStore):
    """Store of a caller's own around another one."""

    requests = 0

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        self.requests += 1
        return super().perform(action, key, operation)


def schedule(action: Action, key: str) -> Fault | SideEffect | None:
    assert_type(possible_faults(action), frozenset[Fault])
    return Fault.LOSE_RESPONSE if action == "put" else SideEffect(lambda: key)


def note(action: Action, key: str) -> None:
    raise NotImplementedError(action, key)


def stores() -> None:
    own = OwnStore()
    hooked = HookedStore(own, before=note)
    wrapped: list[Store] = [
        hooked,
        FaultyStore(own, schedule, seed=1),
        CrashingStore(own, at=3, when="after"),
        CountingStore(own),
    ]
    assert_type(open_store("memory://name"), Store)
    assert_type(wrapped[0].head("a").etag, str)
    assert_type(hooked.requests, list[tuple[Action, str]])
