"""Work in the background: a bounded queue, a few threads, and a blob for whatever is not done.

An order is stored before it is accepted and deleted when it has ended, so a service that is started
again goes on with what is left. Of one timeline only one order is worked on at a time.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from framecache import keys
from framecache.errors import FrameCacheError, StoreUnavailable
from framecache.http import schema
from framecache.http.orders import Order
from framecache.http.problems import Refusal, kind_of, too_many
from framecache.index import create_once, fetch, is_stored
from framecache.model import Progress, ProgressCallback
from framecache.store import BlobMissing, Store

AGAIN_SECONDS = 10.0
"""After which a store that did not answer is asked again."""

Result = dict[str, int | float | bool | str]
Answer = TypeVar("Answer")

_ENDED: Final = ("done", "failed", "cancelled")
_REMEMBERED: Final = 200
"""Tasks that have ended."""
_log: Final = logging.getLogger(__name__)


class CarryOut(Protocol):
    """Does what an order says."""

    def __call__(self, order: Order, progress: ProgressCallback, *, is_resumed: bool) -> Result:
        """Returns what there is to say of it."""
        ...


class Stopped(Exception):
    """Raised in the midst of work that is to go no further."""


@dataclass(slots=True)
class _Record:
    order: Order
    is_resumed: bool
    state: schema.TaskState = "queued"
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    result: Result | None = None
    problem: str | None = None
    is_cancelled: bool = False
    revision: int = 0

    def document(self) -> schema.Task:
        return schema.Task(
            task_id=self.order.task_id,
            timeline_id=self.order.timeline_id,
            kind=self.order.kind,
            state=self.state,
            frames_done=self.progress.frames_done,
            frames_total=self.progress.frames_total,
            result=self.result,
            problem=self.problem,
            created_at=self.order.created_at,
        )


class Tasks:
    """The tasks of one service. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        carry_out: CarryOut,
        *,
        at_once: int,
        waiting: int,
        on_end: Callable[[schema.Task], None],
    ) -> None:
        """Begin nothing yet.

        Args:
            store: where orders are kept.
            carry_out: called on one of the threads.
            at_once: threads that work.
            waiting: orders that may wait for one.
            on_end: told of each task that has ended.
        """
        self._store = store
        self._carry_out = carry_out
        self._at_once = at_once
        self._waiting = waiting
        self._on_end = on_end
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._changed = threading.Condition()
        self._revision = 0
        self._listeners: dict[object, Callable[[], None]] = {}
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_over(self) -> bool:
        """Whether no more is done."""
        return self._is_over.is_set()

    def start(self) -> None:
        """Go on with what is left in the store, and work on what comes."""
        works = [self._resume] + [self._work] * self._at_once
        self._threads = [
            threading.Thread(target=work, name=f"framecache-task-{number}", daemon=True)
            for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and leave what is under way for the next start."""
        self._is_over.set()
        with self._changed:
            self._changed.notify_all()
        for ring in list(self._listeners.values()):
            ring()

    def join(self, seconds: float) -> None:
        """Wait so long at most for threads to end what cannot be left."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def add(
        self, timeline_id: str, kind: schema.TaskKind, arguments: Mapping[str, Any]
    ) -> schema.Task:
        """Store an order and have it carried out.

        Raises:
            Refusal: too many wait.
        """
        order = Order.new(timeline_id, kind, arguments)
        record = _Record(order, is_resumed=False)
        with self._changed:
            if sum(one.state == "queued" for one in self._records.values()) >= self._waiting:
                raise too_many("Too many tasks wait: try again later.", seconds=10)
            # In its place before it is stored, so that it counts; nobody takes it yet.
            record.state = "running"
            self._records[order.task_id] = record
        try:
            create_once(self._store, order.key, order.encode())
        except BaseException:
            with self._changed:
                del self._records[order.task_id]
            raise
        self._set(record, "queued")
        return record.document()

    def get(self, task_id: str) -> schema.Task:
        """A task that has not ended, or has ended lately."""
        return self._record(task_id).document()

    def latest(self, timeline_id: str | None) -> list[schema.Task]:
        """Those of a timeline, or all; the newest first."""
        with self._changed:
            records = list(self._records.values())
        found = [one.document() for one in records if timeline_id in (None, one.order.timeline_id)]
        return sorted(found, key=lambda task: task.task_id, reverse=True)

    def cancel(self, task_id: str) -> schema.Task:
        """Have a task go no further; what it has committed stays.

        Raises:
            StoreDenied, StoreUnavailable: its order is still stored, and ends when its turn comes.
        """
        record = self._record(task_id)
        with self._changed:
            if record.state in _ENDED:
                return record.document()
            record.is_cancelled = True
            was_queued = record.state == "queued"
            if was_queued:
                record.state = "running"  # nobody else takes it now
        if was_queued:
            try:
                self._store.delete([record.order.key])
            except BaseException:
                self._set(record, "queued")
                raise
            self._ended(record, "cancelled")
        return record.document()

    def changed_since(self, revision: int) -> tuple[int, list[schema.Task]]:
        """Tasks that changed after a revision, and the revision that is reached now."""
        with self._changed:
            changed = [one for one in self._records.values() if one.revision > revision]
            return self._revision, [one.document() for one in changed]

    @contextmanager
    def listening(self, ring: Callable[[], None]) -> Iterator[None]:
        """Have ``ring`` called, on any thread, when something has changed."""
        token = object()
        self._listeners[token] = ring
        try:
            yield
        finally:
            del self._listeners[token]

    def _record(self, task_id: str) -> _Record:
        with self._changed:
            record = self._records.get(task_id)
        if record is None:
            raise Refusal(404, "no_task", "There is no such task, or it ended long ago.")
        return record

    def _resume(self) -> None:
        with suppress(Stopped):
            self._resume_all()

    def _resume_all(self) -> None:
        while not self.is_over:
            try:
                found = sorted(blob.key for blob in self._store.list(keys.tasks_prefix()))
            except FrameCacheError as error:
                _log.warning("tasks unknown", extra={"fields": {"error": str(error)}})
                self._is_over.wait(AGAIN_SECONDS)
                continue
            for key in found:
                self._resume_one(key)
            return

    def _resume_one(self, key: str) -> None:
        try:
            order = self._insist(lambda: fetch(self._store, key, Order.decode))
        except BlobMissing:
            return
        except FrameCacheError as error:
            _log.warning("task not resumed", extra={"fields": {"error": str(error)}})
            return
        with self._changed:
            if order.task_id in self._records:
                return
            record = self._records[order.task_id] = _Record(order, is_resumed=True)
        self._set(record, "queued")

    def _work(self) -> None:
        with suppress(Stopped):
            while (record := self._next()) is not None:
                self._work_on(record)

    def _next(self) -> _Record | None:
        with self._changed:
            while not self.is_over:
                busy = {
                    one.order.timeline_id
                    for one in self._records.values()
                    if one.state == "running"
                }
                for record in self._records.values():
                    if record.state == "queued" and record.order.timeline_id not in busy:
                        self._set(record, "running")
                        return record
                self._changed.wait()
        return None

    def _work_on(self, record: _Record) -> None:
        order = record.order

        def progress(progress: Progress) -> None:
            if self.is_over or record.is_cancelled:
                raise Stopped
            record.progress = progress
            self._mark(record)

        try:
            if record.is_cancelled:
                raise Stopped  # noqa: TRY301 -- ends as it does in the midst
            if not self._insist(lambda: is_stored(self._store, order.key)):
                self._set(record, "done")  # by another service
                return
            record.result = self._carry_out(order, progress, is_resumed=record.is_resumed)
        except Stopped:
            if record.is_cancelled:
                self._end(record, "cancelled")
            return
        except Refusal as refusal:
            record.problem = refusal.detail
        except Exception as error:  # noqa: BLE001 -- the thread goes on with the next
            record.problem = kind_of(error).detail
            _log.warning(
                "task failed",
                exc_info=None if isinstance(error, FrameCacheError) else error,
                extra={"fields": {"task_id": order.task_id, "error": str(error)}},
            )
        self._end(record, "done" if record.problem is None else "failed")

    def _end(self, record: _Record, state: schema.TaskState) -> None:
        """Say that a task has ended once its order is gone, which would be carried out again."""
        try:
            self._insist(lambda: self._store.delete([record.order.key]))
        except FrameCacheError as error:
            # It is done again after the next start, which finds that there is nothing to do.
            fields = {"task_id": record.order.task_id, "error": str(error)}
            _log.warning("task not forgotten", extra={"fields": fields})
        self._ended(record, state)

    def _insist(self, request: Callable[[], Answer]) -> Answer:
        """What the store says, asked again while it does not answer.

        Raises:
            Stopped: no more is done.
        """
        while True:
            try:
                return request()
            except StoreUnavailable as error:
                _log.warning("store does not answer", extra={"fields": {"error": str(error)}})
            if self._is_over.wait(AGAIN_SECONDS):
                raise Stopped

    def _ended(self, record: _Record, state: schema.TaskState) -> None:
        self._set(record, state)
        self._on_end(record.document())
        with self._changed:
            ended = [name for name, one in self._records.items() if one.state in _ENDED]
            for name in ended[: max(0, len(ended) - _REMEMBERED)]:
                del self._records[name]

    def _set(self, record: _Record, state: schema.TaskState) -> None:
        with self._changed:
            record.state = state
            self._mark(record)
            self._changed.notify_all()

    def _mark(self, record: _Record) -> None:
        with self._changed:
            self._revision += 1
            record.revision = self._revision
        for ring in list(self._listeners.values()):
            ring()
