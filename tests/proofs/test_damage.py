"""Damaged blobs: for any damage of stored bytes, only committed frames are returned.

The expected bytes are those of the store before the damage.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from damages import FRAMES, PREFIX, blobs_of, chunks, damaged_bodies

from framecache import CorruptFrame, FrameCache, Timeline
from framecache.store import Store
from proving import Proof


@dataclass(frozen=True)
class Stored:
    """A timeline in a store, and every blob of it as it was committed."""

    store: Store
    blobs: dict[str, bytes]
    twin: "Stored | None" = None
    """Timeline with the same frames in layout objects, if this one does not store them."""

    @property
    def whole(self) -> "Stored":
        """The timeline with stored frames."""
        return self.twin or self

    def reader(self) -> Timeline:
        """Open a new handle on the timeline."""
        return Timeline(self.store, "t")

    def frame(self, sequence: int) -> bytes:
        return self.whole.blobs[f"{PREFIX}frames/{sequence}.jpg"]

    def keys(self, folder: str, *, compacted: bool = False) -> list[str]:
        """The blobs of a folder; of the index, the compacted file or the parts."""
        return [
            key
            for key in sorted(self.blobs)
            if key.startswith(f"{PREFIX}{folder}/") and ("/_timeline-" in key) == compacted
        ]


@pytest.fixture
def stored() -> Stored:
    """A timeline of three chunks, read by its compacted index."""
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    report = cache.timeline("t").extract(chunks())
    assert report.frame_count == FRAMES
    return Stored(cache.store, blobs_of(cache.store))


@pytest.fixture
def unstored(stored: Stored) -> Stored:
    """The same timeline in layout ``video``."""
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    cache.timeline("t").extract(chunks(), layout="video")
    return Stored(cache.store, blobs_of(cache.store), stored)


def damage_in_turn(stored: Stored, keys: list[str], times: int) -> Iterator[str]:
    """Damage one of the blobs, yield its key, restore it, and continue with the next."""
    assert keys
    damaged = {
        key: damaged_bodies(stored.blobs[key], seed) for seed, key in enumerate(keys, start=1)
    }
    for time in range(times):
        key = keys[time % len(keys)]
        stored.store.put(key, next(damaged[key]))
        yield key
        stored.store.put(key, stored.blobs[key])
    assert blobs_of(stored.store) == stored.blobs


# Frames


FRAME_READERS: Final[list[Callable[[Timeline, int], object]]] = [
    lambda timeline, sequence: timeline.frame(sequence),
    lambda timeline, sequence: timeline.jpeg(sequence),
    lambda timeline, sequence: list(timeline.frames(sequence, sequence + 1)),
    lambda timeline, sequence: timeline.batch([sequence]),
    lambda timeline, sequence: list(timeline.jpegs([sequence])),
    lambda timeline, sequence: timeline.frame_at(timeline.index.timestamp[sequence]),
    lambda timeline, sequence: timeline.frame(sequence, scale=0.125, color="gray"),
]


def test_damaged_frame_is_never_returned(stored: Stored, proof: Proof) -> None:
    keys = stored.keys("frames")
    assert len(keys) == FRAMES
    timeline, times = stored.reader(), proof.size(short=500, long=50_000)
    for time, key in enumerate(damage_in_turn(stored, keys, times)):
        sequence = int(key.rpartition("/")[2].removesuffix(".jpg"))
        read = FRAME_READERS[time % len(FRAME_READERS)]
        with pytest.raises(CorruptFrame, match=rf"/frames/{sequence}\.jpg"):
            read(timeline, sequence)
    assert [*timeline.jpegs(range(FRAMES))] == [stored.frame(n) for n in range(FRAMES)]
    proof.found(jpegs=times, detected=times)


def test_damaged_rendition_is_never_returned(proof: Proof) -> None:
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    cache.timeline("t").extract(chunks(), layout="objects", renditions=(48, 24))
    stored = Stored(cache.store, blobs_of(cache.store))
    keys = stored.keys("renditions")
    assert len(keys) == 2 * FRAMES
    timeline, times = stored.reader(), proof.size(short=200, long=20_000)
    for time, key in enumerate(damage_in_turn(stored, keys, times)):
        side, name = key.split("/")[-2:]
        sequence = int(name.removesuffix(".jpg"))
        read = RENDITION_READERS[time % len(RENDITION_READERS)]
        with pytest.raises(CorruptFrame, match=rf"/{side}/{sequence}\.jpg"):
            read(timeline, sequence, int(side))
        assert timeline.jpeg(sequence) == stored.frame(sequence)
    proof.found(renditions=times, detected=times)


RENDITION_READERS: Final[list[Callable[[Timeline, int, int], object]]] = [
    lambda timeline, sequence, side: timeline.frame(sequence, max_side=side),
    lambda timeline, sequence, side: timeline.jpeg(sequence, max_side=side),
    lambda timeline, sequence, side: list(
        timeline.frames(sequence, sequence + 1, max_side=side - 1)
    ),
    lambda timeline, sequence, side: timeline.batch([sequence], max_side=side),
    lambda timeline, sequence, side: list(timeline.jpegs([sequence], max_side=side)),
]


def test_frame_stored_under_the_key_of_another_is_never_returned(
    stored: Stored, proof: Proof
) -> None:
    timeline, given = stored.reader(), 0
    for wanted in range(FRAMES):
        for other in range(FRAMES):
            if stored.frame(wanted) == stored.frame(other):
                continue
            stored.store.put(f"{PREFIX}frames/{wanted}.jpg", stored.frame(other))
            with pytest.raises(CorruptFrame):
                timeline.jpeg(wanted)
            given += 1
        stored.store.put(f"{PREFIX}frames/{wanted}.jpg", stored.frame(wanted))
    assert given > FRAMES
    proof.found(given=given, detected=given)


# Index parts, the compacted index, and manifests


def rows_of(stored: Stored) -> list[dict[str, Any]]:
    """Return the rows of the undamaged parts, by pyarrow."""
    rows: list[dict[str, Any]] = []
    for key in stored.keys("index"):
        rows += pq.read_table(BytesIO(stored.blobs[key])).to_pylist()
    return sorted(rows, key=lambda row: int(row["sequence"]))


def assert_columns(timeline: Timeline, stored: Stored) -> None:
    assert timeline.index.to_arrow().to_pylist() == rows_of(stored)


def assert_frame(timeline: Timeline, stored: Stored) -> None:
    row = rows_of(stored.whole)[17]
    frame = timeline.frame(17)
    assert (frame.timestamp, frame.chunk_id) == (row["timestamp"], row["chunk_id"])
    assert timeline.jpeg(17) == stored.frame(17)


def assert_frames(timeline: Timeline, stored: Stored) -> None:
    frames = list(timeline.frames())
    assert [(frame.sequence, frame.timestamp, frame.perceptual_hash) for frame in frames] == [
        (row["sequence"], row["timestamp"], row["perceptual_hash"]) for row in rows_of(stored.whole)
    ]


def assert_info(timeline: Timeline, stored: Stored) -> None:
    document = json.loads(stored.blobs[stored.keys("timeline")[-1]])
    info = timeline.info()
    assert (info.epoch, info.version) == (document["epoch"], document["version"])
    assert info.complete
    assert [(one.url, one.etag, str(one.end), one.frame_count) for one in info.chunks] == [
        (one["url"], one["etag"], one["end"], one["frame_count"]) for one in document["chunks"]
    ]


READERS: Final = [assert_columns, assert_frame, assert_frames, assert_info]


KINDS: Final = ["part", "compacted index", "manifest"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_index_and_manifest_are_detected(
    stored: Stored, proof: Proof, *, kind: str
) -> None:
    """A damaged compacted index is replaced by the parts; other damaged blobs are refused."""
    check_damage_is_detected(stored, proof, kind, times=proof.size(short=250, long=25_000))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_index_and_manifest_of_layout_video_are_detected(
    unstored: Stored, proof: Proof, *, kind: str
) -> None:
    check_damage_is_detected(unstored, proof, kind, times=proof.size(short=60, long=6_000))


def check_damage_is_detected(stored: Stored, proof: Proof, kind: str, *, times: int) -> None:
    if kind == "part":
        stored = without_compacted(stored)
    keys = {
        "part": stored.keys("index"),
        "compacted index": stored.keys("index", compacted=True),
        "manifest": stored.keys("timeline")[-1:],
    }[kind]
    detected = sum(
        is_refused(READERS[time % len(READERS)], stored)
        for time, _ in enumerate(damage_in_turn(stored, keys, times))
    )
    assert not any(is_refused(read, stored) for read in READERS)
    assert detected == (0 if kind == "compacted index" else times)
    proof.found(index=times, detected=detected)


def test_damaged_manifest_is_repaired_without_losing_frames(stored: Stored, proof: Proof) -> None:
    """After a repair, all cached frames exist, with the values of the index."""
    times = proof.size(short=30, long=3_000)
    damaged = damaged_bodies(stored.blobs[stored.keys("timeline")[-1]], seed=1)
    for _ in range(times):
        body = next(damaged)
        stored.store.put(stored.keys("timeline")[-1], body)
        report = stored.reader().verify(repair=True, workers=1)
        assert (report.ok, report.repaired, report.counts["ok"]) == (True, 1, FRAMES)
        assert stored.store.get(stored.keys("timeline")[-1]) == body
        for read in (assert_columns, assert_frame, assert_frames):
            read(stored.reader(), stored)
        made = blobs_of(stored.store)
        stored.store.delete([key for key in made if key not in stored.blobs])
        assert {key: made[key] for key in stored.keys("frames")} == {
            key: stored.blobs[key] for key in stored.keys("frames")
        }
    proof.found(manifests=times, recreated=times)


def is_refused(read: Callable[[Timeline, Stored], None], stored: Stored) -> bool:
    """Return True if a fresh timeline raises `CorruptFrame`; otherwise check what it returns."""
    try:
        read(stored.reader(), stored)
    except CorruptFrame:
        return True
    return False


def without_compacted(stored: Stored) -> Stored:
    """Return the same timeline without its compacted index, so that the parts are read."""
    stored.store.delete(stored.keys("index", compacted=True))
    return Stored(stored.store, blobs_of(stored.store), stored.twin)
