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
from framecache._media import video
from framecache.errors import FrameCacheError, InvalidValue, StoreUnavailable
from framecache.model import Chunk, ExtractReport
from framecache.ray.chunk_tasks import (
    PlannedTimeline,
    extract_segments,
    finish_timeline,
    plan_timeline,
    replan_timeline,
)
from framecache.ray.cluster import error_of
from framecache.store import Store, is_remote

if TYPE_CHECKING:
    from framecache._ingest.resolve import SettingsResolver

_TASKS_PER_SLOT: Final = 2
"""Tasks submitted for each that the cluster can run at once, so that none waits for the next."""
_RUNS_PER_SLOT: Final = 4
"""Parts into which the waiting segments are divided, for each task that runs at once.

A task takes fewer segments the fewer are left, so that all end at about the same time.
"""
_MAX_SEGMENTS_PER_THREAD: Final = 8
"""Maximum number of segments of a task, for each of its threads.

More would hardly save time, because opening a video takes little compared with these segments.
"""


@dataclass(frozen=True, slots=True)
class ExtractProgress:
    """Progress of an extraction.

    Totals of chunks, segments and frames grow as timelines are planned. A timeline that is planned
    again, because a video contradicts its sample tables, counts from its beginning.
    """

    timelines_done: int
    """Timelines that are finished or failed."""
    timelines_total: int
    chunks_done: int
    """Chunks of which all segments are committed, by this call or before."""
    chunks_total: int
    frames_done: int
    """Frames of the committed segments."""
    frames_total: int
    segments_done: int
    """Segments of chunks that are committed."""
    segments_total: int


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
class _Counts:
    """Numbers of chunks, segments and frames."""

    chunks: int = 0
    segments: int = 0
    frames: int = 0

    def add(self, other: "_Counts") -> None:
        self.chunks += other.chunks
        self.segments += other.segments
        self.frames += other.frames

    def subtract(self, other: "_Counts") -> None:
        self.chunks -= other.chunks
        self.segments -= other.segments
        self.frames -= other.frames


@dataclass(slots=True)
class TimelineRun:
    """Timeline of a call, and what is known of it so far."""

    timeline_id: str
    chunks: list[Chunk]
    planned: PlannedTimeline | None = None
    planned_ref: Any = None
    """Reference to ``planned``, which this process keeps. A lost result of a task would be made
    again, and might be another plan."""
    scans: list[Any] = field(default_factory=list)
    """References to the scans of the chunks, each of which all tasks of its chunk share."""
    was_replanned: bool = False
    done: _Counts = field(default_factory=_Counts)
    """Counts of what is committed of the chunks."""
    chunks_left: int = 0
    """Chunks of which some segments are not committed."""
    extracted: set[int] = field(default_factory=set)
    """Positions of the chunks of which this call extracted segments."""
    reports: list[ExtractReport] = field(default_factory=list)
    failure: FrameCacheError | None = None
    began_at: float = 0.0
    seconds: float = 0.0

    def report(self) -> ExtractReport:
        """Return the sum of the reports of its chunks."""
        planned = self.planned
        assert planned is not None
        segments_extracted = sum(one.segments_extracted for one in self.reports)
        return ExtractReport(
            timeline_id=self.timeline_id,
            chunks_extracted=len(self.extracted),
            chunks_cached=len(planned.entries) - len(self.extracted),
            frames_extracted=sum(one.frames_extracted for one in self.reports),
            frames_undecodable=sum(one.frames_undecodable for one in self.reports),
            frame_count=planned.manifest.frame_count,
            bytes_stored=sum(one.bytes_stored for one in self.reports),
            seconds=self.seconds,
            timing=tuple(entry.timing for entry in planned.entries if entry.timing.notes),
            segments_extracted=segments_extracted,
            segments_cached=sum(len(one.parts) for one in planned.entries) - segments_extracted,
        )


@dataclass(slots=True)
class _ChunkRun:
    """Chunk of a planned timeline of which segments are missing."""

    timeline: TimelineRun
    planned: PlannedTimeline
    """The plan with the chunk; no longer that of the timeline if it was planned again."""
    position: int
    """Position of the chunk in the plan."""
    waiting: deque[int]
    """Numbers of the segments for which no task was submitted."""
    segments_left: int
    """Number of segments that are not known to be committed."""

    @property
    def is_wanted(self) -> bool:
        """True if the timeline has not failed, and has not been planned again."""
        return self.timeline.failure is None and self.timeline.planned is self.planned


@dataclass(frozen=True, slots=True)
class _Task:
    """Task that was submitted."""

    timeline: TimelineRun
    what: str
    """Description with which an error begins."""
    take: Callable[[Any], None]
    """Called with its result."""
    planned: PlannedTimeline | None
    """Plan by which it works; None: it makes one."""


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
    chunks: deque[_ChunkRun] = field(default_factory=deque)
    """Chunks that are planned, and have segments for which no task was submitted."""
    segments_waiting: int = 0
    """Number of these segments."""
    submitted: dict[Any, _Task] = field(default_factory=dict)
    """Tasks by reference."""
    timelines_done: int = 0
    done: _Counts = field(default_factory=_Counts)
    total: _Counts = field(default_factory=_Counts)

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
        """Submit tasks up to the limit, segments first; return whether any task is left."""
        slots = self._slots()
        limit = self.max_tasks or _TASKS_PER_SLOT * slots
        while len(self.submitted) < limit:
            if self.chunks:
                self._submit_segments(min(slots, limit))
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
            # A task that extracts segments fetches the scan of their chunk alone, once a node.
            num_returns=1 + len(timeline.chunks),
        )
        self._await_plan(
            timeline,
            f"planning timeline {timeline.timeline_id}",
            task.remote(self.store, timeline.timeline_id, timeline.chunks, self.resolve_settings),
        )

    def _replan(self, timeline: TimelineRun, contradicted: PlannedTimeline) -> None:
        """Plan a timeline again, from all packets; all of its chunks are extracted again then."""
        timeline.was_replanned = True
        self.done.subtract(timeline.done)
        self.total.subtract(_count_all(contradicted))
        timeline.done, timeline.extracted, timeline.reports = _Counts(), set(), []
        timeline.planned = None
        task = self._remote(
            replan_timeline,
            num_cpus=min(1.0, self.options.num_cpus),
            num_returns=1 + len(contradicted.manifest.chunks),
        )
        self._await_plan(
            timeline,
            f"planning timeline {timeline.timeline_id} again",
            task.remote(self.store, contradicted),
        )

    def _await_plan(self, timeline: TimelineRun, what: str, refs: Sequence[Any]) -> None:
        planned_ref, *timeline.scans = refs
        take = partial(self._take_plan, timeline)
        self.submitted[planned_ref] = _Task(timeline, what, take, None)

    def _submit_segments(self, slots: int) -> None:
        """Submit a task for some segments of the first waiting chunk."""
        chunk = self.chunks[0]
        if not chunk.is_wanted:
            self.segments_waiting -= len(chunk.waiting)
            self.chunks.popleft()
            return
        threads = self.options.workers
        share = self.segments_waiting // (_RUNS_PER_SLOT * slots)
        most = min(max(threads, share), _MAX_SEGMENTS_PER_THREAD * threads, len(chunk.waiting))
        numbers = tuple(chunk.waiting.popleft() for _ in range(most))
        self.segments_waiting -= most
        if not chunk.waiting:
            self.chunks.popleft()
        timeline = chunk.timeline
        ref = self._remote(extract_segments).remote(
            self.store,
            timeline.planned_ref,
            chunk.position,
            numbers,
            timeline.scans[chunk.position],
            threads,
        )
        self.submitted[ref] = _Task(
            timeline,
            f"chunk {chunk.position} of timeline {timeline.timeline_id}",
            partial(self._take_segments, chunk, numbers),
            chunk.planned,
        )

    def _remote(self, function: Callable[..., Any], **options: Any) -> Any:  # noqa: ANN401 -- Ray's
        """Return a function as a task with the options of this run."""
        return _as_remote(function).options(**self.options.as_ray() | options)

    def _take(self, ref: Any) -> None:  # noqa: ANN401 -- a reference
        task = self.submitted.pop(ref)
        try:
            result = ray.get(ref)
        except Exception as error:
            failure = error_of(error, what=task.what)
            if not isinstance(failure, FrameCacheError):
                raise failure from error
            self._take_failure(task, failure)
        else:
            task.take(result)

    def _take_failure(self, task: _Task, failure: FrameCacheError) -> None:
        timeline = task.timeline
        if task.planned is None:
            _ignore(timeline.scans)
        elif timeline.planned is not task.planned:
            return  # the timeline was planned again since
        elif (
            isinstance(failure, video.TablesContradicted)
            and timeline.failure is None
            and not timeline.was_replanned
        ):
            self._replan(timeline, task.planned)
            return
        self._fail(timeline, failure)

    def _fail(self, timeline: TimelineRun, failure: FrameCacheError) -> None:
        if timeline.failure is None:
            timeline.failure = failure
            self._end(timeline)

    def _take_plan(self, timeline: TimelineRun, planned: PlannedTimeline) -> None:
        timeline.planned, timeline.planned_ref = planned, ray.put(planned)
        chunks = [
            _ChunkRun(timeline, planned, position, deque(numbers), len(numbers))
            for position, numbers in enumerate(planned.missing)
            if numbers
        ]
        timeline.chunks_left = len(chunks)
        self.chunks.extend(chunks)
        self.segments_waiting += sum(len(chunk.waiting) for chunk in chunks)
        self.total.add(_count_all(planned))
        self._count(timeline, _count_committed(planned))
        if not chunks:
            self._finish(timeline)

    def _take_segments(
        self, chunk: _ChunkRun, numbers: Sequence[int], report: ExtractReport
    ) -> None:
        timeline = chunk.timeline
        if timeline.planned is not chunk.planned:
            return
        chunk.segments_left -= len(numbers)
        is_done = not chunk.segments_left
        segments = chunk.planned.entries[chunk.position].segments
        frames = sum(segments[number].frame_count for number in numbers)
        self._count(timeline, _Counts(int(is_done), len(numbers), frames))
        if timeline.failure is not None:
            return
        timeline.reports.append(report)
        if report.segments_extracted:
            timeline.extracted.add(chunk.position)
        if is_done:
            timeline.scans[chunk.position] = None
            timeline.chunks_left -= 1
        if not timeline.chunks_left:
            self._finish(timeline)

    def _count(self, timeline: TimelineRun, committed: _Counts) -> None:
        timeline.done.add(committed)
        self.done.add(committed)
        self._report()

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
        what = f"compacting the index of timeline {timeline.timeline_id}"
        self.submitted[ref] = _Task(timeline, what, lambda _: self._end(timeline), timeline.planned)

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
                    self.done.chunks,
                    self.total.chunks,
                    self.done.frames,
                    self.total.frames,
                    self.done.segments,
                    self.total.segments,
                )
            )


def _count_all(planned: PlannedTimeline) -> _Counts:
    entries = planned.entries
    return _Counts(
        len(entries),
        sum(len(entry.parts) for entry in entries),
        sum(entry.frame_count for entry in entries),
    )


def _count_committed(planned: PlannedTimeline) -> _Counts:
    """Return what was committed when a timeline was planned."""
    counts = _count_all(planned)
    for entry, numbers in zip(planned.entries, planned.missing, strict=True):
        if numbers:
            segments = entry.segments
            frames = sum(segments[number].frame_count for number in numbers)
            counts.subtract(_Counts(1, len(numbers), frames))
    return counts


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
