"""Background tasks: a bounded queue, a few threads, and a stored blob per unfinished task.

The specification of a task, its order, is stored before the task is accepted and deleted when the
task has ended. So a service that is restarted resumes the remaining tasks. Only one task per
timeline runs at a time.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from framecache._core import keys
from framecache._index import blob_exists, create_verified, fetch_document
from framecache.errors import FrameCacheError, StoreUnavailable
from framecache.model import Progress, ProgressCallback
from framecache.server import schema
from framecache.server.problem_details import ProblemError, problem_type_of, too_many_requests
from framecache.server.task_spec import TaskSpec
from framecache.store import BlobMissing, Store

RETRY_SECONDS = 10.0
"""Interval at which a request is repeated while the store does not answer."""

TaskResult = dict[str, int | float | bool | str]
Answer = TypeVar("Answer")

_TERMINAL_STATES: Final = ("done", "failed", "cancelled")
_MAX_ENDED_TASKS: Final = 200
"""Number of ended tasks that are kept in memory."""
_log: Final = logging.getLogger(__name__)


class TaskRunner(Protocol):
    """Function that executes an order."""

    def __call__(
        self, spec: TaskSpec, progress: ProgressCallback, *, is_resumed: bool
    ) -> TaskResult:
        """Execute an order and return the result to show to clients."""
        ...


class TaskStopped(Exception):
    """Raised inside a running task to stop it."""


@dataclass(slots=True)
class _TaskRecord:
    spec: TaskSpec
    is_resumed: bool
    state: schema.TaskState = "queued"
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    result: TaskResult | None = None
    problem: str | None = None
    is_cancelled: bool = False
    revision: int = 0

    def to_schema(self) -> schema.Task:
        return schema.Task(
            task_id=self.spec.task_id,
            timeline_id=self.spec.timeline_id,
            kind=self.spec.kind,
            state=self.state,
            frames_done=self.progress.frames_done,
            frames_total=self.progress.frames_total,
            segments_done=self.progress.segments_done,
            segments_total=self.progress.segments_total,
            result=self.result,
            problem=self.problem,
            created_at=self.spec.created_at,
        )


class TaskQueue:
    """Tasks of one service. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        runner: TaskRunner,
        *,
        worker_count: int,
        max_queued: int,
        on_end: Callable[[schema.Task], None],
    ) -> None:
        """Create the queue; nothing runs before `start`.

        Args:
            store: store that keeps the orders.
            runner: function that executes an order, called on a worker thread.
            worker_count: number of worker threads.
            max_queued: maximum number of queued orders.
            on_end: called with each task that has ended.
        """
        self._store = store
        self._runner = runner
        self._worker_count = worker_count
        self._max_queued = max_queued
        self._on_end = on_end
        self._records: OrderedDict[str, _TaskRecord] = OrderedDict()
        self._changed = threading.Condition()
        self._revision = 0
        self._listeners: dict[object, Callable[[], None]] = {}
        self._stop_event = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_stopped(self) -> bool:
        """True after `stop`."""
        return self._stop_event.is_set()

    def start(self) -> None:
        """Start the threads that resume the stored orders and execute new ones."""
        works = [self._resume] + [self._run_worker] * self._worker_count
        self._threads = [
            threading.Thread(target=work, name=f"framecache-task-{number}", daemon=True)
            for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Start no more tasks, and leave the running ones to be resumed at the next start."""
        self._stop_event.set()
        with self._changed:
            self._changed.notify_all()
        for ring in list(self._listeners.values()):
            ring()

    def join(self, seconds: float) -> None:
        """Wait at most `seconds` for the threads to end."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def add(
        self, timeline_id: str, kind: schema.TaskKind, arguments: Mapping[str, Any]
    ) -> schema.Task:
        """Store an order and queue it.

        Raises:
            ProblemError: too many tasks are queued.
        """
        order = TaskSpec.create(timeline_id, kind, arguments)
        record = _TaskRecord(order, is_resumed=False)
        with self._changed:
            if sum(one.state == "queued" for one in self._records.values()) >= self._max_queued:
                raise too_many_requests("Too many tasks are queued: try again later.", seconds=10)
            # Added before it is stored, so that it counts; as "running", no thread takes it yet.
            record.state = "running"
            self._records[order.task_id] = record
        try:
            create_verified(self._store, order.key, order.encode())
        except BaseException:
            with self._changed:
                del self._records[order.task_id]
            raise
        self._set_state(record, "queued")
        return record.to_schema()

    def get(self, task_id: str) -> schema.Task:
        """Return a task that has not ended, or ended recently."""
        return self._record(task_id).to_schema()

    def list_tasks(self, timeline_id: str | None) -> list[schema.Task]:
        """Return the tasks of a timeline, or all for None; the newest first."""
        with self._changed:
            records = list(self._records.values())
        found = [one.to_schema() for one in records if timeline_id in (None, one.spec.timeline_id)]
        return sorted(found, key=lambda task: task.task_id, reverse=True)

    def cancel(self, task_id: str) -> schema.Task:
        """Cancel a task; what it has committed stays.

        Raises:
            StorePermissionDenied: the store refused to delete the order. The task stays queued, and
                ends as ``cancelled`` when its turn comes.
            StoreUnavailable: the store does not answer. The task ends in the same way.
        """
        record = self._record(task_id)
        with self._changed:
            if record.state in _TERMINAL_STATES:
                return record.to_schema()
            record.is_cancelled = True
            was_queued = record.state == "queued"
            if was_queued:
                record.state = "running"  # so that no worker takes it
        if was_queued:
            try:
                self._store.delete([record.spec.key])
            except BaseException:
                self._set_state(record, "queued")
                raise
            self._mark_ended(record, "cancelled")
        return record.to_schema()

    def changed_since(self, revision: int) -> tuple[int, list[schema.Task]]:
        """Return the current revision, and the tasks that changed after the given one."""
        with self._changed:
            changed = [one for one in self._records.values() if one.revision > revision]
            return self._revision, [one.to_schema() for one in changed]

    @contextmanager
    def subscribe(self, notify: Callable[[], None]) -> Iterator[None]:
        """Call ``notify``, on any thread, after each change during the block."""
        token = object()
        self._listeners[token] = notify
        try:
            yield
        finally:
            del self._listeners[token]

    def _record(self, task_id: str) -> _TaskRecord:
        with self._changed:
            record = self._records.get(task_id)
        if record is None:
            raise ProblemError(404, "task_not_found", "The task does not exist, or ended long ago.")
        return record

    def _resume(self) -> None:
        remaining: list[str] | None = None
        while not self.is_stopped and remaining != []:
            if remaining is None:
                remaining = self._list_stored_keys()
            if remaining is not None:
                remaining = [key for key in remaining if not self._resume_task(key)]
            if remaining != []:
                self._stop_event.wait(RETRY_SECONDS)

    def _list_stored_keys(self) -> list[str] | None:
        """Return the keys of the stored orders, or None if they cannot be listed now."""
        try:
            return sorted(blob.key for blob in self._store.list(keys.tasks_prefix()))
        except FrameCacheError as error:
            _log.warning("tasks cannot be listed", extra={"fields": {"error": str(error)}})
            return None

    def _resume_task(self, key: str) -> bool:
        """Queue a stored order; return False if that must be tried again."""
        try:
            order = fetch_document(self._store, key, TaskSpec.decode)
        except BlobMissing:
            return True
        except StoreUnavailable as error:
            _log.warning("store does not respond", extra={"fields": {"error": str(error)}})
            return False
        except Exception as error:  # noqa: BLE001 -- one bad order must not stop the others
            _log.warning(
                "task not resumed",
                exc_info=None if isinstance(error, FrameCacheError) else error,
                extra={"fields": {"key": key, "error": str(error)}},
            )
            return True
        with self._changed:
            if order.task_id in self._records:
                return True
            record = self._records[order.task_id] = _TaskRecord(order, is_resumed=True)
        self._set_state(record, "queued")
        return True

    def _run_worker(self) -> None:
        with suppress(TaskStopped):
            while (record := self._take_next()) is not None:
                self._run_task(record)

    def _take_next(self) -> _TaskRecord | None:
        with self._changed:
            while not self.is_stopped:
                busy = {
                    one.spec.timeline_id for one in self._records.values() if one.state == "running"
                }
                for record in self._records.values():
                    if record.state == "queued" and record.spec.timeline_id not in busy:
                        self._set_state(record, "running")
                        return record
                self._changed.wait()
        return None

    def _run_task(self, record: _TaskRecord) -> None:
        order = record.spec

        def progress(progress: Progress) -> None:
            if self.is_stopped or record.is_cancelled:
                raise TaskStopped
            record.progress = progress
            self._notify_change(record)

        try:
            if record.is_cancelled:
                raise TaskStopped  # noqa: TRY301 -- same path as when canceled while running
            if not self._retry(lambda: blob_exists(self._store, order.key)):
                self._set_state(record, "done")  # executed by another service
                return
            record.result = self._runner(order, progress, is_resumed=record.is_resumed)
        except TaskStopped:
            if record.is_cancelled:
                self._finish(record, "cancelled")
            return
        except ProblemError as refusal:
            record.problem = refusal.detail
        except Exception as error:  # noqa: BLE001 -- the thread continues with the next
            record.problem = problem_type_of(error).detail
            _log.warning(
                "task failed",
                exc_info=None if isinstance(error, FrameCacheError) else error,
                extra={"fields": {"task_id": order.task_id, "error": str(error)}},
            )
        self._finish(record, "done" if record.problem is None else "failed")

    def _finish(self, record: _TaskRecord, state: schema.TaskState) -> None:
        """Delete the order, or it would be executed again; then mark the task as ended."""
        try:
            self._retry(lambda: self._store.delete([record.spec.key]))
        except FrameCacheError as error:
            # The order is executed again after the next start, and finds nothing left to do.
            fields = {"task_id": record.spec.task_id, "error": str(error)}
            _log.warning("task could not be deleted", extra={"fields": fields})
        self._mark_ended(record, state)

    def _retry(self, request: Callable[[], Answer]) -> Answer:
        """Return the result of `request`, repeated while the store does not answer.

        Raises:
            TaskStopped: the service is stopping.
        """
        while True:
            try:
                return request()
            except StoreUnavailable as error:
                _log.warning("store does not respond", extra={"fields": {"error": str(error)}})
            if self._stop_event.wait(RETRY_SECONDS):
                raise TaskStopped

    def _mark_ended(self, record: _TaskRecord, state: schema.TaskState) -> None:
        self._set_state(record, state)
        self._on_end(record.to_schema())
        with self._changed:
            ended = [name for name, one in self._records.items() if one.state in _TERMINAL_STATES]
            for name in ended[: max(0, len(ended) - _MAX_ENDED_TASKS)]:
                del self._records[name]

    def _set_state(self, record: _TaskRecord, state: schema.TaskState) -> None:
        with self._changed:
            record.state = state
            self._notify_change(record)
            self._changed.notify_all()

    def _notify_change(self, record: _TaskRecord) -> None:
        with self._changed:
            self._revision += 1
            record.revision = self._revision
        for ring in list(self._listeners.values()):
            ring()
