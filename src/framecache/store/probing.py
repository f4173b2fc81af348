"""A store around a store that makes ``create`` refuse, whatever the store itself does.

Everything above relies on it: of many who create a blob, one succeeds. Some servers store a
blob as if ``If-None-Match`` had not been sent, others answer that they do not implement it. So
before anything is created in a process, its store is tried. With one that does not refuse,
framecache looks before it writes, which is right only while no other program writes.
"""

import builtins
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Final

from framecache.errors import StoreWarning
from framecache.store.base import BlobExists, BlobInfo, BlobMissing, CreateUnsupported, Store
from framecache.store.forks import refuse_after_fork

TRIAL_KEY: Final = "cache/create-if-absent"
"""The blob every store is tried with. It stays, so that the next trial is one request."""

_TRIAL: Final = (
    b"framecache creates this blob to learn whether the store refuses to create one that exists."
    b"\nIt may be deleted at any time, and comes back.\n"
)
_SECOND_TRIAL: Final = _TRIAL + b"This is its second version: the store did not refuse.\n"

_lock: Final = Lock()
_trials: Final[dict[str, Future[bool]]] = {}
"""Of each store's URL: whether it refuses, as far as is known."""
_key_locks: Final = tuple(Lock() for _ in range(256))


def probed(store: Store) -> Store:
    """A store whose `create` refuses what exists, at least among the threads of this process.

    The first `create` tries the store, once per URL and process. If that fails, nothing is known,
    and the next one tries again. If the store does not refuse, one `StoreWarning` is given.
    """
    return store if isinstance(store, ProbedStore) else ProbedStore(store)


def unprobed(store: Store) -> Store:
    """The store as it is, with whatever it does at `create`."""
    return store.inner if isinstance(store, ProbedStore) else store


def does_not_refuse(url: str) -> str:
    """What it means for a user that a store creates what exists."""
    return (
        f"{url}: this store does not refuse to create a blob that exists, so let only one program "
        f"write to it at a time: two would overwrite each other's work. For more, use a store that "
        f"honours If-None-Match (Amazon S3, Ceph 16 or later, a recent MinIO), or a disk with "
        f"hard links"
    )


@dataclass(frozen=True, slots=True)
class ProbedStore:
    """See `probed`."""

    inner: Store

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self.inner.url

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        return self.inner.get(key)

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self.inner.get_range(key, start=start, length=length)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        # A lock that another thread held while this process was forked is never released.
        refuse_after_fork(self.url)
        if _is_known_to_refuse(self.url):
            self.inner.put(key, data)
        else:
            with self._lock_of(key):
                self.inner.put(key, data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`. Whoever streams a blob gives it a name of its own."""
        self.inner.put_stream(key, blocks)

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        refuse_after_fork(self.url)
        if self._refuses():
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

    def _refuses(self) -> bool:
        """Whether the store refuses; threads that ask at once wait for one trial, and share it."""
        with _lock:
            trial = _trials.get(self.url)
            is_ours = trial is None
            if trial is None:
                trial = _trials[self.url] = Future()
        if is_ours:
            self._try(trial)
        return trial.result()

    def _try(self, trial: Future[bool]) -> None:
        try:
            refuses = _refuses(self.inner)
        except BaseException as error:
            # Whoever asks from now on tries again.
            del _trials[self.url]
            trial.set_exception(error)
            raise
        trial.set_result(refuses)
        if not refuses:
            warnings.warn(does_not_refuse(self.url), StoreWarning, stacklevel=4)

    def _lock_of(self, key: str) -> Lock:
        return _key_locks[hash((self.url, key)) % len(_key_locks)]


def _is_known_to_refuse(url: str) -> bool:
    trial = _trials.get(url)
    return trial is not None and trial.done() and trial.exception() is None and trial.result()


def _refuses(store: Store) -> bool:
    for body in (_TRIAL, _SECOND_TRIAL):
        try:
            store.create(TRIAL_KEY, body)
        except BlobExists:
            return True  # also if it was this very call that created it, before an answer was lost
        except CreateUnsupported:
            return False
    return False
