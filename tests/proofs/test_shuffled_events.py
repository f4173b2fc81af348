"""Events append each chunk once and in order, however they arrive and wherever an invocation dies.

An invocation dies, or loses an answer, at each request; its message is delivered again, and a
schedule does the rest. A whole invocation runs before each request of another one. And many
invocations at once, some of which die, process shuffled and repeated events.
"""

import random
import threading
import uuid
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from arriving import SCHEDULE, TIMELINE, Bucket, blobs, queued, send, shown, with_store
from invariants import contents, require, restore
from processes import Process, points, run, run_until

from framecache import FrameCache, FrameCacheError, LateChunk, UnreadableChunk
from framecache._index import lease
from framecache.aws_lambda import EventReport
from framecache.store import Store
from framecache.testing import Crash, CrashingStore, HookedStore
from proving import Proof

_AT_ONCE = 4
_CHUNKS_PER_EVENT = 10
_COPIES = 2
"""Number of events of each chunk."""
_DEATHS = 0.15
"""Fraction of invocations that die."""


@dataclass(frozen=True)
class Scenario:
    """Events that were processed before, one that is being processed, and the result of all."""

    name: str
    before: tuple[int, ...]
    number: int
    shown: tuple[int, ...]
    late: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    broken: tuple[int, ...] = ()
    """Numbers of chunks that cannot be read."""


SCENARIOS = (
    Scenario("first", before=(), number=0, shown=(0,)),
    Scenario("gap filled", before=(0, 2), number=1, shown=(0, 1, 2)),
    Scenario("packs", before=(0, 2), number=1, shown=(0, 1, 2), settings={"layout": "packs"}),
    Scenario("gap skipped", before=(0,), number=2, shown=(0, 2), settings={"max_wait_seconds": 0}),
    Scenario(
        "late",
        before=(0, 2),
        number=1,
        shown=(0, 2),
        late=(1,),
        settings={"max_wait_seconds": 0},
    ),
    Scenario(
        "unreadable",
        before=(0,),
        number=1,
        shown=(0,),
        late=(1,),
        settings={"max_wait_seconds": 0},
        broken=(1,),
    ),
)


class Matrix:
    """A scenario, and the states of the store in which a dead invocation leaves it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._bucket = Bucket(f"memory://{uuid.uuid4().hex}")
        self._cache = FrameCache(f"memory://{uuid.uuid4().hex}")
        self._settings = self._bucket.settings(workers=1, **scenario.settings)
        self._seen: set[frozenset[tuple[str, bytes]]] = set()
        self._bucket.upload(*range(3))
        for number in scenario.broken:
            self._bucket.store.put(self._bucket.key(number), b"not a video")
        with Process("earlier").running():
            for number in scenario.before:
                send(self._cache, self._bucket.event(number), self._settings)
        self._before = contents(self._cache.store)

    @property
    def states(self) -> int:
        """Return the number of different states in which the store was left."""
        return len(self._seen)

    def try_all(self, *, every: int) -> int:
        """Let the invocation fail at every n-th of its points; return the number of attempts."""
        store = self._cache.store
        found = points(Process("first"), self._process_event, store)[::every]
        for point in found:
            restore(store, self._before)
            run_until(point, Process("first"), self._process_event, store)
            left = contents(store)
            state = frozenset(left.items())
            if state not in self._seen:
                self._seen.add(state)
                self._continue()
        return len(found)

    def _continue(self) -> None:
        """Deliver the message again, and let the schedule do the rest."""
        run(Process("again"), self._process_event, self._cache.store)
        run(Process("schedule"), self._process_schedule, self._cache.store)
        expected = self._scenario
        require(shown(self._cache.timeline(TIMELINE)) == [*expected.shown], "wrong frames")
        late = [f"lambda/late/{TIMELINE}/{number:012d}.json" for number in expected.late]
        require(blobs(self._cache, "lambda/late") == late, "a late chunk is not reported")
        require(blobs(self._cache, "lambda/pending") == [], "a chunk is still pending")

    def _process_event(self, store: Store) -> None:
        event = queued({"a": self._bucket.event(self._scenario.number)})
        report = send(with_store(self._cache, store), event, self._settings)
        expected = (LateChunk, UnreadableChunk) if self._scenario.late else ()
        for failure in report.failures:
            if not isinstance(failure.error, expected):
                raise failure.error

    def _process_schedule(self, store: Store) -> None:
        send(with_store(self._cache, store), SCHEDULE, self._settings)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_invocation_that_dies_at_any_request_loses_nothing(
    scenario: Scenario, proof: Proof
) -> None:
    matrix = Matrix(scenario)
    tried = matrix.try_all(every=proof.size(short=4, long=1))
    proof.found(points=tried, states=matrix.states)
    assert matrix.states > 2


class Interleaving:
    """Two invocations, one of which does everything before one request of the other."""

    def __init__(self) -> None:
        self._bucket = Bucket(f"memory://{uuid.uuid4().hex}")
        self._bucket.upload(*range(4))
        self._cache = FrameCache(f"memory://{uuid.uuid4().hex}")
        with Process("earlier").running():
            send(self._cache, self._bucket.event(0), self._bucket.settings(workers=1))
        self._before = contents(self._cache.store)
        self.outcomes = Counter[tuple[int, ...]]()

    def try_all(self) -> None:
        """Try each request of an invocation that skips chunk 1 and 2, while 1 or 2 arrives."""
        for number in (1, 2):
            at = 0
            while self._try(number, at):
                at += 1

    def _try(self, number: int, at: int) -> bool:
        """Process the event of a chunk before a request; return whether there is such a request."""
        restore(self._cache.store, self._before)
        reports: list[EventReport] = []
        requests = 0

        def meanwhile(_action: str, _key: str) -> None:
            nonlocal requests
            requests += 1
            if requests == at + 1:
                settings = self._bucket.settings(workers=1, max_wait_seconds=600)
                reports.append(send(self._cache, self._bucket.event(number), settings))

        other = with_store(self._cache, HookedStore(self._cache.store, before=meanwhile))
        settings = self._bucket.settings(workers=1, max_wait_seconds=0)
        reports.append(send(other, self._bucket.event(3), settings))
        reports.append(send(self._cache, SCHEDULE, settings))
        self._check(number, reports)
        return requests > at

    def _check(self, number: int, reports: list[EventReport]) -> None:
        frames = shown(self._cache.timeline(TIMELINE))
        self.outcomes[tuple(frames)] += 1
        was_sent = len(reports) == 3
        is_late = was_sent and number not in frames
        require(frames == sorted(set(frames)), f"frames out of order: {frames}")
        require({0, 3} <= set(frames), f"a chunk is missing: {frames}")
        reported = blobs(self._cache, "lambda/late")
        expected = [f"lambda/late/{TIMELINE}/{number:012d}.json"] if is_late else []
        require(reported == expected, f"reports {reported} instead of {expected}")
        errors = [
            error
            for report in reports
            for timeline in report.timelines
            for error in timeline.failures.values()
        ]
        require(bool(errors) == is_late, f"errors {errors}")
        require(all(isinstance(error, LateChunk) for error in errors), f"errors {errors}")
        require(blobs(self._cache, "lambda/pending") == [], "a chunk is still pending")


def test_whole_invocation_before_each_request_of_another_keeps_the_order(proof: Proof) -> None:
    interleaving = Interleaving()
    interleaving.try_all()
    proof.found(interleavings=interleaving.outcomes.total(), outcomes=len(interleaving.outcomes))
    assert {(0, 1, 3), (0, 2, 3), (0, 3)} <= interleaving.outcomes.keys()


class Overtaking(Interleaving):
    """An invocation that skips chunks stops before a request, until another is about to append."""

    def try_all(self) -> None:
        """Try each request of the invocation that skips chunk 1 and 2, while 1 arrives."""
        at = 0
        while self._try(1, at):
            at += 1

    def _try(self, number: int, at: int) -> bool:
        restore(self._cache.store, self._before)
        requests = 0
        has_stopped, may_continue, is_done = (threading.Event() for _ in range(3))

        def stop(_action: str, _key: str) -> None:
            nonlocal requests
            requests += 1
            if requests == at + 1:
                has_stopped.set()
                may_continue.wait()

        def let_the_other_finish(action: str, key: str) -> None:
            if action == "create" and "/timeline/" in key and not may_continue.is_set():
                may_continue.set()
                is_done.wait()

        def skip() -> EventReport:
            stopping = with_store(self._cache, HookedStore(self._cache.store, before=stop))
            settings = self._bucket.settings(workers=1, max_wait_seconds=0)
            try:
                return send(stopping, self._bucket.event(3), settings)
            finally:
                is_done.set()
                has_stopped.set()

        with ThreadPoolExecutor(1) as pool:
            skipping = pool.submit(skip)
            has_stopped.wait()
            hooked = HookedStore(self._cache.store, before=let_the_other_finish)
            settings = self._bucket.settings(workers=1, max_wait_seconds=600)
            report = send(with_store(self._cache, hooked), self._bucket.event(number), settings)
            may_continue.set()
            reports = [report, skipping.result()]
        schedule = self._bucket.settings(workers=1, max_wait_seconds=0)
        reports.append(send(self._cache, SCHEDULE, schedule))
        self._check(number, reports)
        return requests > at


def test_invocation_that_is_overtaken_before_it_appends_keeps_the_order(proof: Proof) -> None:
    overtaking = Overtaking()
    overtaking.try_all()
    proof.found(interleavings=overtaking.outcomes.total(), outcomes=len(overtaking.outcomes))
    assert {(0, 1, 3), (0, 3)} == overtaking.outcomes.keys()


class Queue:
    """Queue of messages, each delivered until its invocation answers without it."""

    def __init__(self, numbers: list[int]) -> None:
        self._waiting = deque(numbers)
        self._in_flight = 0
        self._lock = threading.Lock()

    def receive(self) -> list[int] | None:
        """Return some messages; none while others may come back; None at the end."""
        with self._lock:
            batch = [
                self._waiting.popleft() for _ in range(min(_CHUNKS_PER_EVENT, len(self._waiting)))
            ]
            if not batch and not self._in_flight:
                return None
            self._in_flight += bool(batch)
            return batch

    def answer(self, failed: list[int]) -> None:
        """End the delivery of some messages; those that failed are delivered again."""
        with self._lock:
            self._waiting.extend(failed)
            self._in_flight -= 1


class Fleet:
    """Invocations that process a queue at the same time."""

    def __init__(self, cache: FrameCache, bucket: Bucket, queue: Queue) -> None:
        self._cache = cache
        self._bucket = bucket
        self._queue = queue
        self._settings = bucket.settings(workers=1)
        self._lock = threading.Lock()
        self.counts = Counter[str]()
        self.commits = Counter[str]()

    def run(self, seed: int) -> None:
        """Process messages until there are none.

        The first invocation dies if the seed is even, so that some do, however many there are.
        """
        chance = random.Random(seed)
        at = None if seed % 2 else chance.randrange(1, _CHUNKS_PER_EVENT)
        while (batch := self._queue.receive()) is not None:
            if batch:
                self._queue.answer(self._invoke(batch, at))
                at = chance.randrange(1, 100) if chance.random() < _DEATHS else None

    def _invoke(self, batch: list[int], at: int | None) -> list[int]:
        """Process some messages, or die at a request; return the messages to deliver again."""
        hooked = HookedStore(self._cache.store, after=self.note)
        dying = CrashingStore(hooked, at=at)
        messages = {str(index): self._bucket.event(number) for index, number in enumerate(batch)}
        try:
            report = send(with_store(self._cache, dying), queued(messages), self._settings)
        except Crash:
            self._count("deaths")
            return batch
        if dying.has_crashed:
            # It died in a thread of its own.
            self._count("deaths")
            return batch
        self._count("invocations")
        for failure in report.failures:
            require(isinstance(failure.error, FrameCacheError), f"{failure.error!r}")
        failed = {failure.message_id for failure in report.failures}
        return [number for index, number in enumerate(batch) if str(index) in failed]

    def note(self, action: str, key: str) -> None:
        """Count the commit of an index part."""
        if action == "create" and "/index/" in key and key.endswith("-0.parquet"):
            with self._lock:
                self.commits[key] += 1

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def process_shuffled(*, chunks: int, seed: int) -> Fleet:
    """Process shuffled and repeated events of a timeline, and check it."""
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    bucket = Bucket(f"memory://{uuid.uuid4().hex}")
    bucket.upload(*range(chunks))
    numbers = [*range(chunks)] * _COPIES
    random.Random(seed).shuffle(numbers)
    fleet = Fleet(cache, bucket, Queue(numbers))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(fleet.run, _AT_ONCE * seed + one) for one in range(_AT_ONCE)]:
            done.result()
    watched = HookedStore(cache.store, after=fleet.note)
    report = send(with_store(cache, watched), SCHEDULE, bucket.settings(workers=1))
    require(report.failures == (), f"{report.failures}")
    require(shown(cache.timeline(TIMELINE)) == [*range(chunks)], "not each chunk once, in order")
    require(set(fleet.commits.values()) == {1}, "a chunk was committed twice")
    require(len(fleet.commits) == chunks, "a chunk was not committed")
    require(not blobs(cache, "lambda/pending") + blobs(cache, "lambda/late"), "blobs are left")
    return fleet


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 1.0)  # so that dead ones are noticed soon


# A program may die in the thread that renews its leases.
@pytest.mark.filterwarnings(
    "ignore:Exception in thread framecache-leases:pytest.PytestUnhandledThreadExceptionWarning"
)
@pytest.mark.usefixtures("short_leases")
def test_shuffled_and_repeated_events_append_each_chunk_once_and_in_order(proof: Proof) -> None:
    timelines, chunks = proof.size(short=1, long=10), proof.size(short=60, long=500)
    counts = Counter[str]()
    for seed in range(timelines):
        counts += process_shuffled(chunks=chunks, seed=seed).counts
    proof.found(
        timelines=timelines,
        chunks=timelines * chunks,
        events=timelines * chunks * _COPIES,
        **counts,
    )
    assert counts["deaths"] > 0
