"""A program dies, or loses a response, at every request of every operation on a timeline.

Then a new client inspects the timeline, the program is restarted, and the timeline is
cleared and filled once more. The long form lets the second run go wrong at every request, too.
The short form clears and fills the timeline from every 4th state, leaves out failures that change
nothing else than another one, and tries only some requests of operations on segments, layout
``video`` and renditions, which make more requests, decode more, or store as others do.
"""

import io
import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from invariants import Blobs, Violation, alone, contents, restore
from operations import (
    OPERATIONS,
    Operation,
    check_done,
    check_during,
    check_refill,
    chunks,
    prepare,
)
from operations_renditions import OPERATIONS_OF_RENDITIONS
from operations_video import OPERATIONS_OF_VIDEO
from PIL import Image as Pillow
from processes import Point, Process, points, run, run_until

import media
from framecache.store import Store, open_store
from proving import Proof

_State = frozenset[tuple[str, bytes]]
"""Keys and bytes of all blobs of a store."""


class Matrix:
    """One operation, its points, and the states of the store they led to."""

    def __init__(self, operation: Operation, store: Store, *, is_long: bool = False) -> None:
        """Begin; the short form fills the timeline again from every 4th state."""
        self.operation = operation
        self._store = store
        self._is_long = is_long
        self._refill_every = 1 if is_long else 4
        self._begin({})
        with Process("earlier").running():
            prepare(operation, store)
        self.before = contents(store)
        self._sound: set[_State] = set()
        self._done: set[_State] = set()
        self._went_on: set[_State] = set()

    @property
    def states(self) -> int:
        """Return the number of different states in which the store was left."""
        return len(self._sound)

    def points_of(self, name: str, blobs: Blobs) -> list[Point]:
        """Return the points at which an operation that starts with these blobs can fail."""
        self._begin(blobs)
        process = self._process(name)
        found = points(process, self.operation.run, self._store, repeats=self._is_long)
        check_done(self.operation, self._store, self.before)
        return found

    def leave(self, name: str, blobs: Blobs, point: Point) -> Blobs | None:
        """Return the blobs that the failed operation leaves behind; None if they are not new."""
        self._begin(blobs)
        is_done = run_until(point, self._process(name), self.operation.run, self._store)
        left = contents(self._store)
        state = frozenset(left.items())
        if is_done:
            self._check_done(state)
        if state in self._sound:
            return None
        if state not in self._done:  # check_done includes this check
            check_during(self.operation, self._store, self.before)
        self._check_continuation(left)
        self._sound.add(state)
        return left

    def _check_continuation(self, blobs: Blobs) -> None:
        self._begin(blobs)
        run(self._process("restarted"), self.operation.run, self._store)
        state = frozenset(contents(self._store).items())
        self._check_done(state)
        if state in self._went_on:
            return
        if len(self._went_on) % self._refill_every == 0:
            with self._process("last").running():
                check_refill(self.operation, self._store, self.before)
        self._went_on.add(state)

    def _check_done(self, state: _State) -> None:
        """Check the state of the store, once: the result follows from the blobs alone."""
        if state not in self._done:
            check_done(self.operation, self._store, self.before)
            self._done.add(state)

    def _process(self, name: str) -> Process:
        return Process(name, looks_until_stale=1) if self.operation.is_slow else Process(name)

    def _begin(self, blobs: Blobs) -> None:
        restore(self._store, blobs)


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    yield store
    restore(store, {})


@pytest.mark.parametrize(
    "operation",
    [*OPERATIONS, *OPERATIONS_OF_VIDEO, *OPERATIONS_OF_RENDITIONS],
    ids=lambda operation: operation.name,
)
def test_operation_that_crashes_at_any_request_can_be_repeated(
    operation: Operation, store: Store, proof: Proof
) -> None:
    matrix = Matrix(operation, store, is_long=proof.is_long)
    tried = pairs = 0
    firsts = matrix.points_of("first", matrix.before)
    for first in firsts[:: 1 if proof.is_long else operation.stride]:
        tried += 1
        left = _leave(matrix, "first", matrix.before, first)
        if left is None or not proof.is_long:
            continue
        for second in matrix.points_of("second", left):
            pairs += 1
            _leave(matrix, "second", left, second, after=first)
    proof.found(points=tried, pairs=pairs, states=matrix.states)


def test_undisturbed_extraction_stores_the_frames_that_ffmpeg_decodes() -> None:
    urls = chunks(3)
    raw = b"".join(
        media.ffmpeg("-i", url, "-f", "rawvideo", "-pix_fmt", "gray", "-") for url in urls
    )
    decoded = np.frombuffer(raw, np.uint8).reshape(-1, 32, 32).astype(int)
    stored = alone(tuple(urls), "{}", 85)
    assert len(stored) == len(decoded)
    for sequence, jpeg in stored.items():
        with Pillow.open(io.BytesIO(jpeg)) as picture:
            luma = np.asarray(picture.convert("L")).astype(int)
        distances = np.abs(decoded - luma).mean(axis=(1, 2))
        assert distances.argmin() == sequence


def _leave(
    matrix: Matrix, name: str, blobs: Blobs, point: Point, *, after: Point | None = None
) -> Blobs | None:
    try:
        return matrix.leave(name, blobs, point)
    except Violation as violation:
        violation.add_note(f"{matrix.operation.name}: {point}, after {after}")
        raise
