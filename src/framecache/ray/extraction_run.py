"""Run of an extraction on a cluster: tasks that wait, tasks that were submitted, and results."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import ray

from framecache._core.numeric import as_fraction, format_value, require_int
from framecache._index import committed_parts
from framecache.errors import FrameCacheError, InvalidValue, StoreUnavailable
from framecache.model import Chunk, ExtractReport
from framecache.ray.chunk_tasks import (
    PlannedTimeline,
    extract_chunk,
    finish_timeline,
    plan_timeline,
)
from framecache.ray.cluster import error_of
from framecache.store import Store, is_remote

if TYPE_CHECKING:
    from framecache._ingest.resolve import SettingsResolver

_TASKS_PER_SLOT: Final = 2
"""Tasks submitted for each that the cluster can run at once, so that none waits for the next."""


@dataclass(frozen=True, slots=True)
class ExtractProgress:
    """Progress of an extraction. Totals of chunks and frames grow as timelines are planned."""

    timelines_done: int
    """Timelines that are finished or failed."""
    timelines_total: int
    chunks_done: int
    """Chunks that are committed, by this call or before."""
    chunks_total: int
    frames_done: int
    """Frames of the committed chunks."""
    frames_total: int


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Resources of a task, and how often it is tried."""

    num_cpus: float
    memory_bytes: int | None
    resources: Mapping[str, float]
    max_retries: int

    @classmethod
    def of(
        cls,
        num_cpus: float,
        memory_bytes: int | None,
        resources: Mapping[str, float] | None,
        max_retries: int,
    ) -> "TaskOptions":
        """Check the arguments of a call.

        Raises:
            InvalidValue: a number is out of its range.
        """
        return cls(
            _require_positive(num_cpus, what="num_cpus"),
            None
            if memory_bytes is None
            else require_int(memory_bytes, what="memory_bytes", minimum=1),
            {
                name: _require_positive(amount, what=f"resources[{name!r}]")
                for name, amount in (resources or {}).items()
            },
            require_int(max_retries, what="max_retries", below=2**31),
        )

    @property
    def workers(self) -> int:
        """Threads of a task."""
        return math.ceil(self.num_cpus)

    def as_ray(self) -> dict[str, Any]:
        """Return the options of a remote function."""
        return {
            "num_cpus": self.num_cpus,
            "memory": self.memory_bytes,
            "resources": dict(self.resources),
            "max_retries": self.max_retries,
            "retry_exceptions": [StoreUnavailable],
        }


@dataclass(slots=True)
class TimelineRun:
    """Timeline of a call, and what is known of it so far."""

    timeline_id: str
    chunks: list[Chunk]
    planned: PlannedTimeline | None = None
    planned_ref: Any = None
    scans: list[Any] = field(default_factory=list)
    """References to the scans of the chunks."""
    chunks_left: int = 0
    reports: list[ExtractReport] = field(default_factory=list)
    failure: FrameCacheError | None = None
    began_at: float = 0.0
    seconds: float = 0.0

    def report(self) -> ExtractReport:
        """Return the sum of the reports of its chunks."""
        planned = self.planned
        assert planned is not None
        extracted = sum(one.chunks_extracted for one in self.reports)
        return ExtractReport(
            timeline_id=self.timeline_id,
            chunks_extracted=extracted,
            chunks_cached=len(planned.entries) - extracted,
            frames_extracted=sum(one.frames_extracted for one in self.reports),
            frames_undecodable=sum(one.frames_undecodable for one in self.reports),
            frame_count=planned.manifest.frame_count,
            bytes_stored=sum(one.bytes_stored for one in self.reports),
            seconds=self.seconds,
            timing=tuple(entry.timing for entry in planned.entries if entry.timing.notes),
        )


_Done = Callable[[Any], None]
"""Takes the result of a task."""


@dataclass(slots=True)
class ExtractionRun:
    """Tasks of one call: those that wait, and those that were submitted."""

    store: Store
    timelines: Sequence[TimelineRun]
    resolve_settings: "SettingsResolver"
    options: TaskOptions
    max_tasks: int | None
    on_progress: Callable[[ExtractProgress], None] | None
    unplanned: Iterator[TimelineRun] = field(init=False)
    chunks: deque[tuple[TimelineRun, int]] = field(default_factory=deque)
    """Chunks that are planned and wait, with their positions."""
    submitted: dict[Any, tuple[TimelineRun, str, _Done]] = field(default_factory=dict)
    """Tasks by reference, each with a description."""
    timelines_done: int = 0
    chunks_done: int = 0
    chunks_total: int = 0
    frames_done: int = 0
    frames_total: int = 0

    def __post_init__(self) -> None:
        self.unplanned = iter(self.timelines)

    def execute(self) -> None:
        """Run until each timeline is finished or failed."""
        try:
            while self._submit():
                done, _ = ray.wait(list(self.submitted), num_returns=1, fetch_local=False)
                for ref in done:
                    self._take(ref)
        except BaseException:
            for ref in self.submitted:
                ray.cancel(ref)
            raise

    def _submit(self) -> bool:
        """Submit tasks up to the limit, chunks first; return whether any task is left."""
        limit = self.max_tasks or _TASKS_PER_SLOT * self._slots()
        while len(self.submitted) < limit:
            if self.chunks:
                self._submit_chunk(*self.chunks.popleft())
            elif (timeline := next(self.unplanned, None)) is not None:
                self._submit_plan(timeline)
            else:
                break
        return bool(self.submitted)

    def _slots(self) -> int:
        """Return how many tasks the cluster can run at once, now that nodes may have come or gone.

        Only CPUs are counted; tasks beyond other resources wait in Ray.
        """
        return max(1, int(ray.cluster_resources().get("CPU", 1) / self.options.num_cpus))

    def _submit_plan(self, timeline: TimelineRun) -> None:
        timeline.began_at = time.monotonic()
        task = self._remote(
            plan_timeline,
            num_cpus=min(1.0, self.options.num_cpus),
            # A task that extracts a chunk fetches the scan of that chunk alone.
            num_returns=1 + len(timeline.chunks),
        )
        timeline.planned_ref, *timeline.scans = task.remote(
            self.store, timeline.timeline_id, timeline.chunks, self.resolve_settings
        )
        self.submitted[timeline.planned_ref] = (
            timeline,
            f"planning timeline {timeline.timeline_id}",
            partial(self._take_plan, timeline),
        )

    def _submit_chunk(self, timeline: TimelineRun, position: int) -> None:
        if timeline.failure is not None:
            return
        ref = self._remote(extract_chunk).remote(
            self.store,
            timeline.planned_ref,
            position,
            timeline.scans[position],
            self.options.workers,
        )
        self.submitted[ref] = (
            timeline,
            f"chunk {position} of timeline {timeline.timeline_id}",
            partial(self._take_chunk, timeline, position),
        )

    def _remote(self, function: Callable[..., Any], **options: Any) -> Any:  # noqa: ANN401 -- Ray's
        """Return a function as a task with the options of this run."""
        return _as_remote(function).options(**self.options.as_ray() | options)

    def _take(self, ref: Any) -> None:  # noqa: ANN401 -- a reference
        timeline, what, done = self.submitted.pop(ref)
        try:
            result = ray.get(ref)
        except Exception as error:
            failure = error_of(error, what=what)
            if not isinstance(failure, FrameCacheError):
                raise failure from error
            if timeline.planned is None:
                _ignore(timeline.scans)
            self._fail(timeline, failure)
            return
        done(result)

    def _fail(self, timeline: TimelineRun, failure: FrameCacheError) -> None:
        if timeline.failure is None:
            timeline.failure = failure
            self._end(timeline)

    def _take_plan(self, timeline: TimelineRun, planned: PlannedTimeline) -> None:
        timeline.planned = planned
        timeline.chunks_left = len(planned.pending)
        pending = set(planned.pending)
        self.chunks.extend((timeline, position) for position in planned.pending)
        self.chunks_total += len(planned.entries)
        self.frames_total += sum(entry.frame_count for entry in planned.entries)
        self.chunks_done += len(planned.entries) - len(pending)
        self.frames_done += sum(
            entry.frame_count
            for position, entry in enumerate(planned.entries)
            if position not in pending
        )
        self._report()
        if not pending:
            self._finish(timeline)

    def _take_chunk(self, timeline: TimelineRun, position: int, report: ExtractReport) -> None:
        assert timeline.planned is not None
        self.chunks_done += 1
        self.frames_done += timeline.planned.entries[position].frame_count
        self._report()
        if timeline.failure is not None:
            return
        timeline.reports.append(report)
        timeline.scans[position] = None
        timeline.chunks_left -= 1
        if not timeline.chunks_left:
            self._finish(timeline)

    def _finish(self, timeline: TimelineRun) -> None:
        assert timeline.planned is not None
        manifest = timeline.planned.manifest
        if not is_remote(self.store):
            # Each node has local files of its own, unless the folder is shared.
            parts = {part for entry in timeline.planned.entries for part in entry.parts}
            if parts - committed_parts(self.store, manifest, parts):
                failure = StoreUnavailable(
                    f"frames of timeline {timeline.timeline_id} are not in "
                    f"{self.store.display_name} of this machine: workers on other machines stored "
                    "them in their own folder, or a program cleared them; use a store that all "
                    "nodes share"
                )
                self._fail(timeline, failure)
                return
        if len(manifest.parts) == 1:
            self._end(timeline)
            return
        ref = self._remote(finish_timeline).remote(self.store, timeline.planned_ref)
        self.submitted[ref] = (
            timeline,
            f"compacting the index of timeline {timeline.timeline_id}",
            lambda _: self._end(timeline),
        )

    def _end(self, timeline: TimelineRun) -> None:
        timeline.seconds = time.monotonic() - timeline.began_at
        timeline.planned_ref, timeline.scans = None, []
        self.timelines_done += 1
        self._report()

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(
                ExtractProgress(
                    self.timelines_done,
                    len(self.timelines),
                    self.chunks_done,
                    self.chunks_total,
                    self.frames_done,
                    self.frames_total,
                )
            )


@cache
def _as_remote(function: Callable[..., Any]) -> Any:  # noqa: ANN401 -- Ray's
    """Return a function as a remote one, which Ray sends to the cluster once."""
    return ray.remote(function)


def _ignore(refs: Sequence[Any]) -> None:
    """Take the other results of a task that failed: Ray logs errors that nothing takes."""
    for ref in refs:
        with suppress(Exception):
            ray.get(ref)


def _require_positive(value: float, *, what: str) -> float:
    number = as_fraction(value)
    if number is None or number <= 0:
        raise InvalidValue(f"{what} must be a number above 0, not {format_value(value)}")
    return float(number)
