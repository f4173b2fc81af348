"""A program dies, or loses a response, at every request while it replaces frames.

At each request, a new client reads each frame as it was before or as it was given, whole, and all
of one call together; so does a program that knows only the public names, frame by frame. Whatever
comes next, the same call again, a repair or gc, brings the new frames to their public names and
leaves nothing else behind; only the call does not move frames while a dead program's lease
on it exists, until gc. What a frame must be is encoded by a lone program in another store.
"""

import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from invariants import PREFIX, TIMELINE, Blobs, Violation, contents, require, restore
from PIL import Image as Pillow
from processes import Process, points, run, run_until

from framecache import Frame, FrameCacheError, Timeline
from framecache._maintain.gc import plan_gc
from framecache.model import Layout
from framecache.store import Store, open_store
from proving import Proof

Frames = dict[int, bytes]
"""JPEGs by sequence."""
FrameValues = dict[int, tuple[bytes, float, int]]
"""JPEG, timestamp and chunk_id by sequence."""


def picture(number: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), 17 * number, np.uint8)


OLD = [Frame(n, 0, n / 25, picture(n)) for n in range(4)]
NEW = [
    Frame(1, 3, 9.5, picture(8, 24), "f" * 16),
    Frame(2, 0, 2 / 25, picture(9)),
    Frame(3, 0, 7.5, picture(3)),
    Frame(6, 0, 6 / 25, picture(10)),
]
"""Another picture and size, another picture, another time of the same picture, a new frame."""


def _write_old(layout: Layout) -> Callable[[Store], object]:
    return lambda store: Timeline(store, TIMELINE).write(OLD, layout=layout, workers=1)


def _put_old(store: Store) -> None:
    for frame in OLD:
        encoded = io.BytesIO()
        Pillow.fromarray(frame.image).save(encoded, "JPEG", quality=90)
        store.put(f"{PREFIX}frames/{frame.sequence}.jpg", encoded.getvalue())


def _replace_once_before(store: Store) -> None:
    """Have the index compacted, and frames that were replaced before."""
    _write_old("objects")(store)
    for number in range(18):
        given = [Frame(n, 1, n / 25, picture((number + n) % 7 + 1)) for n in (0, 1)]
        Timeline(store, TIMELINE).write(given, on_conflict="replace", workers=1)


def replace(store: Store) -> object:
    return Timeline(store, TIMELINE).write(NEW, on_conflict="replace", workers=1)


def repair(store: Store) -> None:
    require(Timeline(store, TIMELINE).verify(repair=True, workers=1).ok, "a repair does not help")


def collect(store: Store) -> None:
    plan = plan_gc(
        store, timelines=[TIMELINE], grace_seconds=0, max_bytes=None, max_age_seconds=None
    )
    plan.execute(max_share=1)


@dataclass(frozen=True)
class Case:
    name: str
    prepare: Callable[[Store], object]
    layout: Layout = "objects"
    stride: int = 1
    """Distance between the points that the short form tries."""
    finish: tuple[Callable[[Store], object], ...] = field(default=(replace, repair, collect))


CASES = [
    Case("objects", _write_old("objects"), stride=3),
    Case("packs", _write_old("packs"), layout="packs"),
    Case("another program's frames", _put_old, stride=3),
    Case("compacted", _replace_once_before, stride=53),
]


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    yield store
    restore(store, {})


def read(store: Store) -> FrameValues:
    """Return the frames that a new client reads."""
    timeline = Timeline(store, TIMELINE)
    index = timeline.index
    values = zip(index.timestamp.tolist(), index.chunk_id.tolist(), strict=True)
    sequences = index.sequence.tolist()
    return {n: (timeline.jpeg(n), *one) for n, one in zip(sequences, values, strict=True)}


def jpegs(values: FrameValues) -> Frames:
    return {sequence: jpeg for sequence, (jpeg, *_) in values.items()}


def public(store: Store) -> Frames:
    """Return the blobs that another program finds under the public names."""
    folder = f"{PREFIX}frames/"
    return {
        int(key.removeprefix(folder).removesuffix(".jpg")): body
        for key, body in contents(store).items()
        if key.startswith(folder)
    }


def alone(frames: list[Frame]) -> FrameValues:
    """Frames as a lone program stores them."""
    lone = open_store(f"memory://{uuid.uuid4().hex}")
    Timeline(lone, TIMELINE).write(frames, workers=1)
    return read(lone)


class Matrix:
    """One case, and the states that may be visible in it."""

    def __init__(self, case: Case, store: Store) -> None:
        self.case = case
        self._store = store
        with Process("earlier").running():
            case.prepare(store)
        self.before = contents(store)
        self.old = read(store)
        self.new = self.old | alone(NEW)
        self._sound: set[frozenset[tuple[str, bytes]]] = set()
        self._done: set[frozenset[tuple[str, bytes]]] = set()
        self._tidied: set[tuple[bool, frozenset[tuple[str, bytes]]]] = set()

    def begin(self, blobs: Blobs) -> None:
        restore(self._store, blobs)

    def check_during(self) -> None:
        read_now = read(self._store)
        require(
            read_now in (self.old, self.new),
            f"only some frames of a call are visible: {sorted(read_now)}",
        )
        for sequence, body in public(self._store).items():
            allowed = (jpegs(self.old).get(sequence), jpegs(self.new).get(sequence))
            require(body in allowed, f"frames/{sequence}.jpg is neither the old nor the new one")

    def check_done(self) -> None:
        require(read(self._store) == self.new, "what was given is not what is read")
        report = Timeline(self._store, TIMELINE).verify(deep=True, workers=1)
        require(not report.counts["missing"] and not report.counts["corrupt"], "it is damaged")
        is_leased = any("/claims/" in key and "/moving" in key for key in contents(self._store))
        if self.case.layout == "objects" and not is_leased:
            require(public(self._store) == jpegs(self.new), "the public names have other frames")

    def check_tidy(self) -> None:
        self.check_done()
        if self.case.layout == "objects":
            packs = [key for key in contents(self._store) if key.startswith(f"{PREFIX}packs/")]
            require(not packs, f"{packs} are left behind")
            require(public(self._store) == jpegs(self.new), "the public names have other frames")
            named = [row for row in Timeline(self._store, TIMELINE).index.offset.tolist() if row]
            require(not named, "a frame that counts lies in a pack")

    def check_continuation(self, left: Blobs, *, is_done: bool) -> None:
        """Check that committed frames stay, and that a repeated call completes the replacement."""
        state = frozenset(left.items())
        if is_done and state not in self._done:
            self.check_done()
            self._done.add(state)
        if state in self._sound:
            return
        self.check_during()
        for finish in self.case.finish:
            self.begin(left)
            was_seen = read(self._store)
            run(Process("finishing"), finish, self._store)
            is_new = was_seen == self.new or finish is replace
            # The continuation depends on the blobs alone, so each state is checked once.
            state_then = (is_new, frozenset(contents(self._store).items()))
            if state_then in self._tidied:
                continue
            if is_new:
                self.check_done()
            else:
                self.check_during()
            run(Process("again"), replace, self._store)
            run(Process("tidying"), collect, self._store)
            self.check_tidy()
            self._tidied.add(state_then)
        self._sound.add(state)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replacement_that_crashes_at_any_request_loses_no_frame(
    case: Case, store: Store, proof: Proof
) -> None:
    matrix = Matrix(case, store)
    matrix.begin(matrix.before)
    found = points(Process("first"), replace, store, repeats=proof.is_long)
    found = found[:: 1 if proof.is_long else case.stride]
    matrix.check_done()
    for point in found:
        matrix.begin(matrix.before)
        try:
            is_done = run_until(point, Process("first"), replace, store)
            left = contents(store)
            matrix.check_continuation(left, is_done=is_done)
        except (Violation, FrameCacheError) as error:
            error.add_note(f"{case.name}: {point}")
            raise
    proof.found(points=len(found))
