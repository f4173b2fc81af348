"""A wrapper around a store that makes ``create`` atomic as far as the store permits.

All other code relies on it: of concurrent attempts to create a blob, one succeeds. Some servers
store a blob as if ``If-None-Match`` had not been sent, others respond that they do not implement
it. So each process tests a store before it first creates a blob. If the store overwrites existing
blobs, framecache checks for the blob before it writes, which is only correct while no other
program writes.
"""

import builtins
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from framecache.errors import StoreWarning
from framecache.store.base import BlobExists, BlobInfo, BlobMissing, CreateUnsupported, Store
from framecache.store.options import StorageOptions

PROBE_KEY: Final = "cache/create-if-absent"
"""Key of the blob used for the test. The blob is kept, so that the next test is one request."""

_PROBE_BODY: Final = (
    b"framecache creates this blob to learn whether the store refuses to create one that exists."
    b"\nIt may be deleted at any time, and comes back.\n"
)
_SECOND_PROBE_BODY: Final = _PROBE_BODY + b"This is its second version: the store did not refuse.\n"

_StoreId = tuple[str, StorageOptions]


class _ProbeState:
    """State shared by the threads of this process."""

    def __init__(self, results: dict[_StoreId, bool]) -> None:
        self.results = results
        """True for each tested store that refuses to create an existing blob, otherwise False."""
        self.lock = Lock()
        self.probes: dict[_StoreId, Future[bool]] = {}
        """Running and finished tests by store."""
        self.key_locks = tuple(Lock() for _ in range(256))


class _ProcessProbes:
    shared = _ProbeState({})


_process: Final = _ProcessProbes()


def with_atomic_create(store: Store) -> Store:
    """Return a store whose `create` is atomic, at least among the threads of this process.

    The first `create` tests the store, once per URL, options and process. If the test itself
    fails, the next `create` repeats it. If the store overwrites existing blobs, one `StoreWarning`
    is issued.
    """
    return store if isinstance(store, AtomicCreateStore) else AtomicCreateStore(store)


def unwrap_store(store: Store) -> Store:
    """Return the wrapped store, whose `create` may not be atomic."""
    return store.inner if isinstance(store, AtomicCreateStore) else store


def overwrite_warning(display_name: str) -> str:
    """Return the warning for a store that overwrites existing blobs on ``create``."""
    return (
        f"{display_name}: this store overwrites a blob when asked to create it again, so let only "
        "one program write to it at a time. To allow more, use a store that honors "
        "If-None-Match (Amazon S3, Ceph 16 or later, a recent MinIO), or a disk with hard "
        "links"
    )


@dataclass(frozen=True, slots=True)
class AtomicCreateStore:
    """Wrapper with an atomic `create`; see `with_atomic_create`."""

    inner: Store
    url: str = field(init=False, repr=False, compare=False)
    """See `Store.url`."""
    options: StorageOptions = field(init=False, repr=False, compare=False)
    """See `Store.options`."""
    _store_id: _StoreId = field(init=False, repr=False, compare=False)
    """A bucket of the same name may exist at another endpoint."""

    def __post_init__(self) -> None:
        """Copy what identifies the store, because each write looks it up."""
        object.__setattr__(self, "url", self.inner.url)
        object.__setattr__(self, "options", self.inner.options)
        object.__setattr__(self, "_store_id", (self.url, self.options))

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self.inner.display_name

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        return self.inner.get(key)

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self.inner.get_range(key, start=start, length=length)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        if _process.shared.results.get(self._store_id):
            self.inner.put(key, data)
        else:
            with self._lock_of(key):
                self.inner.put(key, data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`. It takes no lock: streamed blobs have unique names."""
        self.inner.put_stream(key, blocks)

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        if self._is_create_atomic():
            self.inner.create(key, data)
            return
        with self._lock_of(key):
            try:
                self.inner.head(key)
            except BlobMissing:
                self.inner.put(key, data)
            else:
                raise BlobExists(key)

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        return self.inner.head(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        return self.inner.list(prefix)

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        return self.inner.list_folders(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        return self.inner.delete(keys)

    def _is_create_atomic(self) -> bool:
        """Return True if the store refuses to create an existing blob.

        Concurrent callers wait for a single test and share its result.
        """
        shared = _process.shared
        refuses = shared.results.get(self._store_id)
        if refuses is not None:
            return refuses
        with shared.lock:
            trial = shared.probes.get(self._store_id)
            is_ours = trial is None
            if trial is None:
                trial = shared.probes[self._store_id] = Future()
        if is_ours:
            self._run_probe(trial)
        return trial.result()

    def _run_probe(self, probe: Future[bool]) -> None:
        try:
            refuses = _probe_create(self.inner)
        except BaseException as error:
            # Later callers test again.
            del _process.shared.probes[self._store_id]
            probe.set_exception(error)
            raise
        _process.shared.results[self._store_id] = refuses
        probe.set_result(refuses)
        if not refuses:
            warnings.warn(overwrite_warning(self.display_name), StoreWarning, stacklevel=4)

    def _lock_of(self, key: str) -> Lock:
        locks = _process.shared.key_locks
        return locks[hash((self.url, key)) % len(locks)]


def _probe_create(store: Store) -> bool:
    for body in (_PROBE_BODY, _SECOND_PROBE_BODY):
        try:
            store.create(PROBE_KEY, body)
        except BlobExists:
            return True  # also if this very call created it and the response was lost
        except CreateUnsupported:
            return False
    return False


def _reset_after_fork() -> None:
    """Keep the results of tests, but replace locks and running tests.

    The threads that hold or run them do not exist in the child, so they would never end.
    """
    _process.shared = _ProbeState(_process.shared.results)


os.register_at_fork(after_in_child=_reset_after_fork)
