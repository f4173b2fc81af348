"""Wrapping stores behave like the wrapped store, and fail exactly where requested."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Literal

import numpy as np
import pytest

from framecache import Frame, StorePermissionDenied, StoreUnavailable, Timeline
from framecache.store import BlobExists, BlobMissing, Store, open_store
from framecache.testing import (
    Action,
    Crash,
    CrashingStore,
    Fault,
    FaultyStore,
    HookedStore,
    Schedule,
    SideEffect,
    StoreConformance,
    WrappingStore,
    fail_from_nth,
    possible_faults,
)

KEY = "frames/0.jpg"
BODY = bytes(range(200))


@pytest.fixture
def inner() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


def contents(store: Store) -> dict[str, bytes]:
    return {blob.key: store.get(blob.key) for blob in store.list("")}


def request_of(store: Store, action: Action) -> Callable[[], object]:
    """One request of each kind on `KEY`, or on its folder."""
    requests: dict[Action, Callable[[], object]] = {
        "get": lambda: store.get(KEY),
        "put": lambda: store.put(KEY, BODY),
        "create": lambda: store.create(KEY, BODY),
        "head": lambda: store.head(KEY),
        "list": lambda: list(store.list("frames/")),
        "delete": lambda: store.delete([KEY]),
    }
    return requests[action]


def always(fault: Fault | SideEffect | None) -> Schedule:
    return lambda _action, _key: fault


class TestWrappingStore(StoreConformance):
    @pytest.fixture
    def store(self, inner: Store) -> Store:
        return WrappingStore(inner)


class TestHookedStoreWithoutHooks(StoreConformance):
    @pytest.fixture
    def store(self, inner: Store) -> Store:
        return HookedStore(inner)


class TestFaultyStoreWithoutFaults(StoreConformance):
    @pytest.fixture
    def store(self, inner: Store) -> Store:
        return FaultyStore(inner, always(None))


class TestCrashingStoreThatDoesNotCrash(StoreConformance):
    @pytest.fixture
    def store(self, inner: Store) -> Store:
        return CrashingStore(inner, at=None)


# Hooks


def test_each_request_is_recorded_between_its_hooks(inner: Store) -> None:
    hook_calls: list[tuple[str, Action, str]] = []
    store = HookedStore(
        inner,
        before=lambda action, key: hook_calls.append(("before", action, key)),
        after=lambda action, key: hook_calls.append(("after", action, key)),
    )
    store.put(KEY, BODY)
    store.create("frames/1.jpg", BODY)
    store.get(KEY)
    store.get_range(KEY, start=1, length=2)
    store.head(KEY)
    list(store.list("frames/"))
    store.list_folders("")
    store.delete([KEY, "frames/1.jpg"])
    expected: list[tuple[Action, str]] = [
        ("put", KEY),
        ("create", "frames/1.jpg"),
        ("get", KEY),
        ("get", KEY),
        ("head", KEY),
        ("list", "frames/"),
        ("list", ""),
        ("delete", KEY),
        ("delete", "frames/1.jpg"),
    ]
    assert store.requests == expected
    assert [(action, key) for when, action, key in hook_calls if when == "before"] == expected
    assert [(action, key) for when, action, key in hook_calls if when == "after"] == expected


def test_hook_that_raises_before_a_request_prevents_it(inner: Store) -> None:
    hook = fail_from_nth(StorePermissionDenied("no"), action="put", nth=2, within="frames/")
    store = HookedStore(inner, before=hook)
    store.put("other/0", b"")
    store.put("frames/0.jpg", b"")
    for _ in range(2):
        with pytest.raises(StorePermissionDenied):
            store.put("frames/1.jpg", b"")
    assert set(contents(inner)) == {"other/0", "frames/0.jpg"}
    assert len(store.requests) == 4


def test_failed_request_has_no_after_hook(inner: Store) -> None:
    ended: list[str] = []
    store = HookedStore(inner, after=lambda action, _key: ended.append(action))
    with pytest.raises(BlobMissing):
        store.get(KEY)
    assert ended == []


# Faults


@pytest.mark.parametrize(
    ("action", "fault", "error", "is_done"),
    [
        ("put", Fault.FAIL_BEFORE, StoreUnavailable, False),
        ("put", Fault.LOSE_RESPONSE, StoreUnavailable, True),
        ("create", Fault.FAIL_BEFORE, StoreUnavailable, False),
        ("create", Fault.LOSE_RESPONSE, StoreUnavailable, True),
        ("create", Fault.CONFLICT, BlobExists, False),
        ("create", Fault.RETRIED, BlobExists, True),
        ("delete", Fault.FAIL_BEFORE, StoreUnavailable, False),
        ("delete", Fault.LOSE_RESPONSE, StoreUnavailable, True),
    ],
)
def test_failed_change_is_applied_or_not_according_to_its_fault(
    inner: Store, action: Action, fault: Fault, error: type[Exception], *, is_done: bool
) -> None:
    if action == "delete":
        inner.put(KEY, BODY)
    with pytest.raises(error):
        request_of(FaultyStore(inner, always(fault)), action)()
    assert (KEY in contents(inner)) == (is_done != (action == "delete"))


@pytest.mark.parametrize("action", ["get", "head", "list"])
@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.LOSE_RESPONSE])
def test_failed_read_raises_store_unavailable(inner: Store, action: Action, fault: Fault) -> None:
    inner.put(KEY, BODY)
    with pytest.raises(StoreUnavailable, match=action):
        request_of(FaultyStore(inner, always(fault)), action)()


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        *[("get", fault) for fault in (Fault.PARTIAL, Fault.CONFLICT, Fault.RETRIED)],
        *[("create", fault) for fault in (Fault.PARTIAL, Fault.TRUNCATE, Fault.FLIP_BIT)],
        *[(action, Fault.RETRIED) for action in ("put", "head", "list", "delete")],
    ],
)
def test_impossible_fault_for_a_request_is_refused(
    inner: Store, action: Action, fault: Fault
) -> None:
    assert fault not in possible_faults(action)
    with pytest.raises(ValueError, match="which has none"):
        request_of(FaultyStore(inner, always(fault)), action)()
    assert contents(inner) == {}


def test_schedule_is_called_once_per_request(inner: Store) -> None:
    asked: list[tuple[Action, str]] = []
    store = FaultyStore(inner, lambda action, key: asked.append((action, key)))
    store.put(KEY, BODY)
    store.get(KEY)
    store.get_range(KEY, start=0, length=1)
    list(store.list("frames/"))
    store.list_folders("")
    store.delete([KEY, "frames/1.jpg"])
    store.delete([])
    assert asked == [
        ("put", KEY),
        ("get", KEY),
        ("get", KEY),
        ("list", "frames/"),
        ("list", ""),
        ("delete", KEY),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_truncate_fault_returns_a_prefix(inner: Store, seed: int) -> None:
    inner.put(KEY, BODY)
    store = FaultyStore(inner, always(Fault.TRUNCATE), seed=seed)
    whole, part = store.get(KEY), store.get_range(KEY, start=50, length=20)
    assert len(whole) < len(BODY)
    assert len(part) < 20
    assert BODY.startswith(whole)
    assert BODY[50:].startswith(part)
    assert inner.get(KEY) == BODY


@pytest.mark.parametrize("seed", range(20))
def test_flip_bit_fault_changes_one_bit(inner: Store, seed: int) -> None:
    inner.put(KEY, BODY)
    store = FaultyStore(inner, always(Fault.FLIP_BIT), seed=seed)
    assert bits_apart(store.get(KEY), BODY) == 1
    assert bits_apart(store.get_range(KEY, start=50, length=20), BODY[50:70]) == 1
    assert inner.get(KEY) == BODY


def bits_apart(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("fault", [Fault.TRUNCATE, Fault.FLIP_BIT])
def test_damage_depends_on_seed_key_and_attempt_only(inner: Store, fault: Fault) -> None:
    keys = [f"frames/{sequence}.jpg" for sequence in range(40)]
    for key in keys:
        inner.put(key, BODY)

    def bodies_read(seed: int, order: list[str]) -> dict[str, list[bytes]]:
        store = FaultyStore(inner, always(fault), seed=seed)
        return {key: [store.get(key), store.get(key)] for key in order}

    first = bodies_read(1, keys)
    assert bodies_read(1, keys[::-1]) == first
    assert bodies_read(2, keys) != first
    assert len({bytes(answers[0]) for answers in first.values()}) > 20
    assert sum(once != again for once, again in first.values()) > 20


def test_empty_body_cannot_be_damaged(inner: Store) -> None:
    inner.put(KEY, b"")
    for fault in (Fault.TRUNCATE, Fault.FLIP_BIT):
        assert FaultyStore(inner, always(fault)).get(KEY) == b""


def test_partial_fault_of_delete_leaves_some_keys() -> None:
    keys = [f"frames/{sequence}.jpg" for sequence in range(10)]
    left: set[int] = set()
    for seed in range(50):
        inner = open_store(f"memory://{uuid.uuid4().hex}")
        for key in keys:
            inner.put(key, BODY)
        with pytest.raises(StoreUnavailable):
            FaultyStore(inner, always(Fault.PARTIAL), seed=seed).delete(keys)
        left.add(len(contents(inner)))
    assert left == set(range(1, 11))


def test_partial_fault_of_list_fails_after_some_blobs(inner: Store) -> None:
    keys = [f"frames/{sequence}.jpg" for sequence in range(10)]
    for key in keys:
        inner.put(key, BODY)
    hook_calls: set[int] = set()
    for seed in range(80):
        listing = FaultyStore(inner, always(Fault.PARTIAL), seed=seed).list("frames/")
        hook_calls.add(len(until_it_fails(listing)))
    assert hook_calls == set(range(11))


def until_it_fails(listing: Iterator[object]) -> list[object]:
    found: list[object] = []
    with pytest.raises(StoreUnavailable):
        found.extend(listing)
    return found


def test_side_effect_runs_before_the_request(inner: Store) -> None:
    inner.put(KEY, BODY)
    store = FaultyStore(inner, always(SideEffect(lambda: inner.delete([KEY]))))
    with pytest.raises(BlobMissing):
        store.get(KEY)
    store.create(KEY, b"after the interlude")
    assert contents(inner) == {KEY: b"after the interlude"}


# Crashes


@pytest.mark.parametrize(("when", "is_done"), [("before", False), ("after", True)])
@pytest.mark.parametrize("action", ["get", "put", "create", "head", "list", "delete"])
def test_crashing_request_is_applied_or_not_and_no_later_one_is(
    inner: Store, action: Action, when: Literal["before", "after"], *, is_done: bool
) -> None:
    if action == "delete":
        inner.put(KEY, BODY)
    store = CrashingStore(inner, at=1, when=when)
    with pytest.raises(Crash):
        request_of(store, action)()
    before = contents(inner)
    is_changed = is_done and action in {"put", "create", "delete"}
    assert (KEY in before) == (is_changed != (action == "delete"))
    for later in ("get", "put", "create", "head", "list", "delete"):
        with pytest.raises(Crash):
            request_of(store, later)()
    assert contents(inner) == before
    assert (store.requests, store.has_crashed) == (1, True)


def test_requests_before_the_crash_are_applied_and_counted(inner: Store) -> None:
    store = CrashingStore(inner, at=4, when="after")
    store.put("a", b"")
    store.put("b", b"")
    store.get("a")
    assert (store.requests, store.has_crashed) == (3, False)
    with pytest.raises(Crash):
        store.put("c", b"")
    assert set(contents(inner)) == {"a", "b", "c"}


@pytest.mark.parametrize(("when", "left"), [("before", {"b", "c"}), ("after", {"c"})])
def test_crash_during_delete_leaves_the_remaining_keys(
    inner: Store, when: Literal["before", "after"], left: set[str]
) -> None:
    for key in "abc":
        inner.put(key, b"")
    with pytest.raises(Crash):
        CrashingStore(inner, at=2, when=when).delete("abc")
    assert set(contents(inner)) == left


def test_failed_request_at_the_crash_raises_crash(inner: Store) -> None:
    with pytest.raises(Crash):
        CrashingStore(inner, at=1, when="after").get("missing")


def test_crash_with_many_threads_applies_exactly_the_requests_before_it(
    inner: Store,
) -> None:
    store, barrier = CrashingStore(inner, at=50), Barrier(8, timeout=60)

    def work(thread: int) -> None:
        barrier.wait()
        for number in range(50):
            store.put(f"{thread}/{number}", b"")

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work, thread) for thread in range(8)]
    assert all(isinstance(thread.exception(), Crash) for thread in working)
    assert len(contents(inner)) == 49
    assert store.requests == 50


def frame(sequence: int) -> Frame:
    image = np.full((8, 8, 3), sequence, dtype=np.uint8)
    return Frame(sequence, 0, sequence / 25, image, "")


@pytest.mark.parametrize("when", ["before", "after"])
def test_write_stops_at_every_crash(when: Literal["before", "after"]) -> None:
    frames = [frame(sequence) for sequence in range(5)]

    def write(inner: Store, at: int | None) -> CrashingStore:
        store = CrashingStore(inner, at=at, when=when)
        Timeline(store, "t").write(frames, workers=2)
        return store

    requests = write(open_store(f"memory://{uuid.uuid4().hex}"), None).requests
    assert requests > 5
    for at in range(1, requests + 1):
        with pytest.raises(Crash):
            write(open_store(f"memory://{uuid.uuid4().hex}"), at)


def test_testing_stores_need_no_pytest() -> None:
    program = """
import sys
sys.modules["pytest"] = None
from framecache.testing import CrashingStore, FaultyStore, HookedStore
try:
    from framecache.testing import StoreConformance
except ImportError:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_every_public_name_of_testing_exists() -> None:
    import framecache.testing  # noqa: PLC0415 -- what this test is about

    assert all(hasattr(framecache.testing, name) for name in framecache.testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = framecache.testing.Nothing  # type: ignore[attr-defined]
