"""Separate processes that extract and read, and their reports.

Each is forked from a process that has imported this module and done nothing else: a new interpreter
would import framecache again, which takes longer than most calls. It executes the calls that it is
sent through a pipe, in order.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar
from unittest import mock

from numbered import NumberedChunks, Truth

from framecache import (
    CorruptFrame,
    ExtractReport,
    Frame,
    FrameCache,
    FrameCacheError,
    NotCached,
    SettingsConflict,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache._index import lease
from framecache._ingest import epochs, segments
from framecache._maintain import rewriting
from framecache._maintain.repack import RepackReport
from framecache._media import video
from framecache.model import Layout
from framecache.testing import Hook, HookedStore

_DEADLINE_SECONDS = 600

P = ParamSpec("P")
T = TypeVar("T")


class WorkerDied(Exception):
    """The process ended before it answered."""


class Answer(Generic[T]):
    """Result of a worker's call, once it has returned."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe

    def is_there(self, *, within_seconds: float = 0) -> bool:
        """True if the call returned, or its process died."""
        return self._pipe.poll(within_seconds)

    def get(self, *, within_seconds: float = _DEADLINE_SECONDS) -> T:
        """The call's result.

        Args:
            within_seconds: how long to wait; a process that takes longer hangs.

        Raises:
            WorkerDied: the process was killed.
        """
        assert self._pipe.poll(within_seconds), f"no answer in {within_seconds} s"
        try:
            result, failure = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise WorkerDied from error
        assert not failure, failure
        answer: T = result
        return answer


class Worker:
    """Worker process, which ends when it is closed or when this process ends."""

    def __init__(self, warm_up: NumberedChunks) -> None:
        """Start a process, and let it extract ``warm_up``, so that all code is loaded."""
        self._pipe, theirs = Pipe()
        self._process = _process(serve, theirs, {**os.environ})
        theirs.close()
        self._warming_up: Answer[Extracted] | None
        self._warming_up = self._send(extract, Place("memory://warm-up", "warm-up"), warm_up)

    def wait_until_warm(self) -> None:
        """Wait until the process can begin at once with what it is given."""
        if self._warming_up is not None:
            self._warming_up.get()
            self._warming_up = None

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Have the process execute a function of this module."""
        self.wait_until_warm()
        return self._send(call, *args, **kwargs)

    def kill(self) -> None:
        """End the process by SIGKILL, if it has not ended."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """End the process."""
        self.kill()
        self._pipe.close()

    def _send(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        self._pipe.send((call, args, kwargs))
        return Answer(self._pipe)


class Workers:
    """Processes that start before they are needed; all of them end with this context."""

    def __init__(self, count: int, warm_up: NumberedChunks) -> None:
        """Keep ``count`` processes ready or starting."""
        self._count = count
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def take(self) -> Worker:
        """Process that is not in use: the one that was started first."""
        with self._lock:
            worker = self._idle.pop(0)
            self._fill_up()
            return worker

    def release(self, worker: Worker) -> None:
        """Return a process that has responded to the pool."""
        with self._lock:
            self._idle.append(worker)

    def __enter__(self) -> Self:
        self._fill_up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._all:
            worker.close()

    def _fill_up(self) -> None:
        while len(self._idle) < self._count:
            worker = Worker(self._warm_up)
            self._all.append(worker)
            self._idle.append(worker)


@dataclass(frozen=True, slots=True)
class Place:
    """Location of a timeline, and the gateway through which it is reached."""

    url: str
    timeline_id: str
    gateway: str = ""
    """For AWS_ENDPOINT_URL; empty: as the environment says."""

    def open(self) -> Timeline:
        """The timeline, for this process."""
        if self.gateway:
            os.environ["AWS_ENDPOINT_URL"] = self.gateway
        return FrameCache(self.url).timeline(self.timeline_id)


@dataclass(frozen=True, slots=True)
class Extracted:
    """Outcome of one process's call."""

    report: ExtractReport
    is_complete: bool
    decoded: int
    """Frames that its decoder gave."""
    created: tuple[str, ...]
    """Keys that it created, as the store acknowledged."""
    requests: int


@dataclass(frozen=True, slots=True)
class Contestant:
    """Settings that one of several processes requests for a timeline."""

    paths: tuple[str, ...]
    every: int
    """Interval of the frames that are wanted of each chunk."""
    layout: Layout


@dataclass(frozen=True, slots=True)
class Repacked:
    """Outcome of one process's repack."""

    report: RepackReport
    requests: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Moment at which a process kills itself."""

    request: int
    """The store's requests are counted from 1; this one has just begun."""
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Observations of one reader."""

    passes: int
    """Times it iterated over the whole timeline."""
    partial: int
    """Number of these that found some frames, but not all."""
    frames: int
    violations: tuple[str, ...]


def extract(
    place: Place,
    chunks: NumberedChunks,
    *,
    stale_after_seconds: float = lease.LEASE_TTL_SECONDS,
    dying: Moment | None = None,
    put_seconds: float = 0,
    layout: Layout | None = None,
    workers: int | None = None,
    first_read: Path | None = None,
    renditions: tuple[int, ...] = (),
) -> Extracted:
    """Extract a timeline, or be killed while doing so; each put takes ``put_seconds`` longer.

    With ``first_read``, nothing follows the first commits before a reader has made that file.
    """
    lease.LEASE_TTL_SECONDS = stale_after_seconds
    if chunks.segments_each > 1:
        segments.LIMITS = segments.SegmentLimits(Fraction(0), min_frames=chunks.frames_each)
    timeline, created, decoded = place.open(), list[str](), list[int]()

    def note(action: str, key: str) -> None:
        if action == "create":
            created.append(key)
            if first_read and "/index/" in key:
                _wait_for(first_read)
        if action == "put":
            time.sleep(put_seconds)

    before = _killing_at(dying) if dying else None
    store = HookedStore(FrameCache(place.url).store, before=before, after=note)
    with mock.patch.object(video, "decode", _counting(video.decode, decoded)):
        report = Timeline(store, place.timeline_id).extract(
            chunks.paths, layout=layout, workers=workers, renditions=renditions
        )
    return Extracted(
        report, timeline.complete, sum(decoded), tuple(created), requests=len(store.requests)
    )


def contend(place: Place, contestant: Contestant) -> str:
    """Extract a timeline that others extract with other settings; return the outcome."""
    try:
        with mock.patch.object(epochs, "_POLL_SECONDS", 0.02):
            place.open().extract(
                contestant.paths, every=contestant.every, layout=contestant.layout, workers=1
            )
    except FrameCacheError as error:
        return type(error).__name__
    return "done"


def repack(
    place: Place,
    layout: Layout,
    *,
    stale_after_seconds: float = lease.LEASE_TTL_SECONDS,
    dying: Moment | None = None,
) -> Repacked:
    """Repack a timeline into a layout, or be killed during it."""
    lease.LEASE_TTL_SECONDS = stale_after_seconds
    place.open()
    before = _killing_at(dying) if dying else None
    store = HookedStore(FrameCache(place.url).store, before=before)
    with mock.patch.object(rewriting, "_POLL_SECONDS", stale_after_seconds / 10):
        report = Timeline(store, place.timeline_id).repack(layout)
    return Repacked(report, requests=len(store.requests))


def repack_repeatedly(place: Place, *, times: int) -> int:
    """Repack a timeline from layout to layout repeatedly; return how often that succeeded.

    If others change it in the meantime, one has to try again.
    """
    timeline, done = place.open(), 0
    for number in range(times):
        with suppress(TimelineCleared, StoreUnavailable):
            timeline.repack("objects" if number % 2 else "packs")
            done += 1
    return done


def write_one_by_one(place: Place, frames: Sequence[Frame]) -> int:
    """Write frames, each as often as repacks require; return how often that was."""
    timeline, tries = place.open(), 0
    for frame in frames:
        is_written = False
        while not is_written:
            tries += 1
            with suppress(SettingsConflict):  # the layout was changed
                is_written = timeline.write([frame]) == 1
    return tries


def rebuild_repeatedly(place: Place, *, times: int) -> int:
    """Rebuild a timeline, and sometimes clear it before; return how often that succeeded.

    Every second time it is rebuilt into layout ``video``.
    """
    timeline, done = place.open(), 0
    for number in range(times):
        if number % 2:
            timeline.clear()
        # A delayed repack may have removed blobs that a rebuild stored.
        with suppress(TimelineCleared):
            timeline.rebuild(layout=None if number % 2 else "video")
            done += 1
    return done


def read_during_changes(place: Place, chunks: NumberedChunks, *, times: int) -> Readings:
    """Read all frames while others clear and rebuild them; each read frame must be right."""
    timeline, truth = place.open(), Truth(chunks)
    partial, frames, violations = 0, 0, list[str]()
    for _ in range(times):
        seen = 0
        with suppress(TimelineCleared, CorruptFrame, NotCached):
            for frame in timeline.frames():
                seen += 1
                if fault := truth.fault(frame.sequence, frame.image):
                    violations.append(fault)
        frames += seen
        partial += 0 < seen < chunks.frame_count
    return Readings(times, partial, frames, tuple(violations))


def read_until_complete(
    place: Place, chunks: NumberedChunks, *, first_read: Path | None = None
) -> Readings:
    """Read all frames repeatedly, until a complete timeline was read.

    ``first_read`` is made as soon as a pass gave frames.
    """
    timeline, truth = place.open(), Truth(chunks)
    passes, partial, frames, violations = 0, 0, 0, list[str]()
    is_complete = False
    while not is_complete:
        is_complete = timeline.complete
        seen = 0
        for frame in timeline.frames():
            seen += 1
            if fault := truth.fault(frame.sequence, frame.image):
                violations.append(fault)
        if is_complete and seen != chunks.frame_count:
            violations.append(f"a complete timeline gave {seen} frames")
        passes, frames = passes + 1, frames + seen
        partial += 0 < seen < chunks.frame_count
        if seen and first_read:
            first_read.touch()
    return Readings(passes, partial, frames, tuple(violations))


def serve(pipe: "Connection[Any, Any]", environment: Mapping[str, str]) -> None:
    """Execute the calls that come through a pipe until its other end is closed."""
    os.environ.clear()
    os.environ.update(environment)
    while True:
        try:
            call, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            answer = call(*args, **kwargs), ""
        except Exception:  # noqa: BLE001 -- the test reports it
            answer = None, traceback.format_exc()
        pipe.send(answer)


def _process(target: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> BaseProcess:
    """Start a process that calls a function of this module."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    process = context.Process(target=target, args=args, kwargs=kwargs, daemon=True)
    process.start()
    return process


def _counting(decode: Callable[P, Iterator[T]], counts: list[int]) -> Callable[P, Iterator[T]]:
    """``decode``, noting how many frames each call gave when it is done."""

    def counted(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        frames = 0
        try:
            for item in decode(*args, **kwargs):
                frames += 1
                yield item
        finally:
            counts.append(frames)

    return counted


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{file} was not created in time")
        time.sleep(0.005)


def _killing_at(moment: Moment) -> Hook:
    """Return a hook that ends this process by SIGKILL during a request."""
    lock, due, seen = threading.Lock(), threading.Event(), 0

    def kill() -> None:
        due.wait()
        time.sleep(moment.delay_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()

    def hook(_action: str, _key: str) -> None:
        nonlocal seen
        with lock:
            seen += 1
            if seen == moment.request:
                due.set()

    return hook
