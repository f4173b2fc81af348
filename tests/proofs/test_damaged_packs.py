"""Damaged packs: each frame is given as it was committed, or refused, and repaired.

Damaged frames are found by the bytes at the offsets in the index, which pyarrow reads.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, NamedTuple

import pyarrow.parquet as pq
import pytest
from damages import FRAMES, PREFIX, blobs_of, chunks, damaged_bodies

from framecache import CorruptFrame, FrameCache, Timeline
from framecache._maintain.verify.report import DAMAGE_KINDS
from framecache.store import Store
from outside import pixels_by_pillow
from proving import Proof

Bodies = Mapping[str, bytes | None]
"""Damaged bytes of packs, by key; None: the pack is lost."""


class Place(NamedTuple):
    """Location of a committed frame."""

    key: str
    start: int
    stop: int


@dataclass(frozen=True)
class Packed:
    """A timeline of three chunks in packs, and every blob of it as it was committed."""

    store: Store
    blobs: dict[str, bytes]
    places: list[Place]
    """Place of each sequence."""

    def folder(self, name: str) -> list[str]:
        return sorted(key for key in self.blobs if key.startswith(f"{PREFIX}{name}/"))

    def reader(self) -> Timeline:
        """Open a new handle on the timeline."""
        return Timeline(self.store, "t")

    def frame(self, sequence: int) -> bytes:
        place = self.places[sequence]
        return self.blobs[place.key][place.start : place.stop]

    def damaged_by(self, bodies: Bodies) -> set[int]:
        """Return the sequences whose bytes differ if packs have these bodies."""
        return {
            sequence
            for sequence, (key, start, stop) in enumerate(self.places)
            if key in bodies and (bodies[key] or b"")[start:stop] != self.frame(sequence)
        }

    def put(self, bodies: Bodies) -> None:
        for key, body in bodies.items():
            if body is None:
                self.store.delete([key])
            else:
                self.store.put(key, body)

    def restore(self) -> None:
        """Restore the committed blobs."""
        found = blobs_of(self.store)
        self.store.delete([key for key in found if key not in self.blobs])
        self.put({key: body for key, body in self.blobs.items() if found.get(key) != body})


@pytest.fixture
def packed() -> Packed:
    """A timeline of which two chunks were repacked, and the third was extracted into a pack."""
    store = FrameCache(f"memory://{uuid.uuid4().hex}").store
    timeline = Timeline(store, "t")
    timeline.extract(chunks()[:2])
    timeline.repack("packs")
    assert timeline.append(chunks()[2]).frame_count == FRAMES
    blobs = blobs_of(store)
    index = max(key for key in blobs if "/index/" in key and "/_timeline-" in key)
    rows: list[dict[str, Any]] = pq.read_table(BytesIO(blobs[index])).to_pylist()
    places = [Place(row["key"], row["offset"], row["offset"] + row["size"]) for row in rows]
    assert [row["sequence"] for row in rows] == list(range(FRAMES))
    packed = Packed(store, blobs, places)
    assert {place.key for place in places} == set(packed.folder("packs"))
    return packed


def one_is_other_bytes(packed: Packed, seed: int) -> Iterator[Bodies]:
    """Truncate or change the packs in turn, without end."""
    damaged = [
        (key, damaged_bodies(packed.blobs[key], seed + number))
        for number, key in enumerate(packed.folder("packs"))
    ]
    while True:
        for key, bodies in damaged:
            yield {key: next(bodies)}


def several_are_other_packs(packed: Packed, seed: int) -> Iterator[Bodies]:
    """Exchange, copy or remove packs, alone and together, without end."""
    choose, keys = random.Random(seed), packed.folder("packs")
    while True:
        sources = [choose.choice([*keys, None]) for _ in keys]
        bodies = {
            key: None if source is None else packed.blobs[source]
            for key, source in zip(keys, sources, strict=True)
            if source != key
        }
        if bodies:
            yield bodies


DAMAGED: Final = [one_is_other_bytes, several_are_other_packs]

ONE_BY_ONE: Final[list[Callable[[Timeline, int], object]]] = [
    lambda timeline, sequence: timeline.jpeg(sequence),
    lambda timeline, sequence: timeline.frame(sequence).image.tobytes(),
    lambda timeline, sequence: timeline.batch([sequence])[0].tobytes(),
    lambda timeline, sequence: timeline.frame_at(
        timeline.index.timestamp[sequence]
    ).image.tobytes(),
]
TOGETHER: Final[list[Callable[[Timeline], Iterator[object]]]] = [
    lambda timeline: timeline.jpegs(range(FRAMES)),
    lambda timeline: (frame.image.tobytes() for frame in timeline.frames()),
]


@pytest.mark.parametrize("damages", DAMAGED)
def test_frame_of_a_damaged_pack_is_correct_or_refused(
    packed: Packed,
    proof: Proof,
    damages: Callable[[Packed, int], Iterator[Bodies]],
) -> None:
    times = proof.size(short=30, long=5_000)
    pictures = [pixels_by_pillow(packed.frame(sequence)).tobytes() for sequence in range(FRAMES)]
    jpegs = [packed.frame(sequence) for sequence in range(FRAMES)]
    choose, all_damages, refused = random.Random(1), damages(packed, 1), 0
    for time in range(times):
        bodies = next(all_damages)
        damaged = packed.damaged_by(bodies)
        packed.put(bodies)
        timeline = packed.reader()
        for sequence in choose.sample(range(FRAMES), 3) + sorted(damaged)[:1]:
            read = ONE_BY_ONE[time % len(ONE_BY_ONE)]
            right = jpegs[sequence] if read is ONE_BY_ONE[0] else pictures[sequence]
            try:
                assert read(timeline, sequence) == right
                assert sequence not in damaged
            except CorruptFrame:
                assert sequence in damaged
                refused += 1
        how = time % len(TOGETHER)
        given = read_until_refused(TOGETHER[how](timeline))
        assert given == [jpegs, pictures][how][: min(damaged, default=FRAMES)]
        packed.restore()
    assert [*packed.reader().jpegs(range(FRAMES))] == jpegs
    assert refused > 0
    proof.found(packs=times, refused=refused)


def read_until_refused(reading: Iterator[object]) -> list[object]:
    given: list[object] = []
    with suppress(CorruptFrame):
        given.extend(reading)
    return given


@pytest.mark.parametrize("damages", DAMAGED)
def test_verify_finds_and_repairs_the_damaged_frames_of_packs(
    packed: Packed,
    proof: Proof,
    damages: Callable[[Packed, int], Iterator[Bodies]],
) -> None:
    times, repaired, all_damages = proof.size(short=12, long=1_000), 0, damages(packed, 2)
    jpegs = [packed.frame(sequence) for sequence in range(FRAMES)]
    for _ in range(times):
        bodies = next(all_damages)
        damaged = packed.damaged_by(bodies)
        packed.put(bodies)
        opened = packed.reader()
        assert len(opened) == FRAMES
        found = packed.reader().verify(workers=1)
        reported = [one for one in found.findings if one.kind in DAMAGE_KINDS]
        assert {one.sequence for one in reported} == damaged
        assert {one.key for one in reported} == {packed.places[one].key for one in damaged}
        report = packed.reader().verify(repair=True, workers=1)
        assert (report.ok, report.repaired) == (True, len(damaged))
        for timeline in (packed.reader(), opened):
            assert [*timeline.jpegs(range(FRAMES))] == jpegs
        assert packed.reader().verify(workers=1).ok
        repaired += len(damaged)
        packed.restore()
    proof.found(packs=times, frames_repaired=repaired)


def test_damaged_manifest_is_repaired_without_losing_packs(packed: Packed, proof: Proof) -> None:
    """A manifest that is created again names the packs of the previous epoch."""
    times, key = proof.size(short=15, long=1_500), max(packed.folder("timeline"))
    jpegs = [packed.frame(sequence) for sequence in range(FRAMES)]
    damaged = damaged_bodies(packed.blobs[key], seed=3)
    for _ in range(times):
        packed.put({key: next(damaged)})
        report = packed.reader().verify(repair=True, workers=1)
        assert (report.ok, report.repaired, report.counts["ok"]) == (True, 1, FRAMES)
        assert [*packed.reader().jpegs(range(FRAMES))] == jpegs
        found = blobs_of(packed.store)
        assert all(found[pack] == packed.blobs[pack] for pack in packed.folder("packs"))
        packed.restore()
    proof.found(manifests=times, recreated=times)


def test_shifted_pack_never_returns_neighboring_frames(packed: Packed, proof: Proof) -> None:
    """Each frame in turn has the bytes of another, shifted or with its offset and length."""
    jpegs = [packed.frame(sequence) for sequence in range(FRAMES)]
    given = 0
    for sequence, (key, start, stop) in enumerate(packed.places):
        pack = packed.blobs[key]
        for shift in (-512, -1, 1, 512):
            body = pack[: max(0, start + min(0, shift))] + bytes(max(0, shift)) + pack[start:]
            if body[start:stop] == jpegs[sequence]:
                continue
            packed.put({key: body})
            with pytest.raises(CorruptFrame, match=f"frame {sequence} "):
                packed.reader().jpeg(sequence)
            given += 1
        packed.restore()
    proof.found(shifted=given, refused=given)
