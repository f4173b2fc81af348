"""A timeline is repacked repeatedly while other processes fill, write, rebuild and read it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from numbered import NumberedChunks
from numbered_clips import frames_alone, numbered_chunks
from workers import (
    Place,
    Worker,
    extract,
    read_during_changes,
    read_until_complete,
    rebuild_repeatedly,
    repack_repeatedly,
    write_one_by_one,
)

from framecache import FrameCache, StorePermissionDenied, Timeline
from framecache.model import Layout
from framecache.testing import HookedStore, fail_from_nth
from outside import frame, mean_error, picture
from proving import Proof

Processes = tuple[Worker, Worker, Worker]
LAYOUTS: tuple[Layout, Layout] = ("packs", "objects")
PATIENCE = 600
"""Seconds within which a process ends one round."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Start three worker processes."""
    warm_up = numbered_chunks(2, frames_each=2)
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(closing(Worker(warm_up))) for _ in range(3))
        for worker in (one, two, three):
            worker.wait_until_warm()
        yield one, two, three


def test_repacks_during_an_extraction_and_reads_lose_no_frame(
    processes: Processes, local_url: str, proof: Proof
) -> None:
    """In any layout no reader sees a wrong frame, and in the end all frames are cached."""
    found = Counter[str]()
    repacker, extractor, reader = processes
    chunks = chunks_of_a_round()
    for place in places(local_url, rounds=proof.size(short=1, long=33)):
        begin(place, chunks)
        repacking = repacker.start(repack_repeatedly, place, times=12)
        reading = reader.start(read_until_complete, place, chunks)
        assert extractor.start(extract, place, chunks).get(within_seconds=PATIENCE).is_complete
        readings = reading.get(within_seconds=PATIENCE)
        repacks = repacking.get(within_seconds=PATIENCE)
        found.update(rounds=1, repacks=repacks, reads=readings.frames)
        assert readings.violations == ()
        assert repacks > 0
        check_moved(place.open(), frames_alone(chunks))
    proof.found(**found)


def test_repacks_during_writes_lose_no_frame(
    processes: Processes, local_url: str, proof: Proof
) -> None:
    """Every frame that a write reported as written is there, and none is another."""
    found, count = Counter[str](), 20
    repacker, writer, _ = processes
    for place in places(local_url, rounds=proof.size(short=1, long=20)):
        place.open().write([frame(0)])
        repacking = repacker.start(repack_repeatedly, place, times=count)
        writing = writer.start(write_one_by_one, place, [frame(n) for n in range(1, count)])
        tries = writing.get(within_seconds=PATIENCE)
        repacks = repacking.get(within_seconds=PATIENCE)
        found.update(rounds=1, frames=count, tries=tries, repacks=repacks)
        timeline = place.open()
        assert timeline.sequences() == list(range(count))
        for one in timeline.frames():
            assert mean_error(one.image, picture(one.sequence)) <= 3
        stored = zip(range(count), timeline.jpegs(range(count)), strict=True)
        check_moved(timeline, {f"{sequence}.jpg": jpeg for sequence, jpeg in stored})
    proof.found(**found)


def test_repacks_during_rebuilds_and_reads_leave_a_repairable_timeline(
    processes: Processes, local_url: str, proof: Proof
) -> None:
    """The result can be repaired to what a lone extraction stores."""
    found, rebuilds = Counter[str](), 4
    repacker, rebuilder, reader = processes
    chunks = chunks_of_a_round()
    for place in places(local_url, rounds=proof.size(short=1, long=25)):
        place.open().extract(chunks.paths)
        rebuilding = rebuilder.start(rebuild_repeatedly, place, times=rebuilds)
        reading = reader.start(read_during_changes, place, chunks, times=4 * rebuilds)
        repacking = repacker.start(repack_repeatedly, place, times=4 * rebuilds)
        repacks = repacking.get(within_seconds=PATIENCE)
        rebuilt = rebuilding.get(within_seconds=PATIENCE)
        readings = reading.get(within_seconds=PATIENCE)
        timeline = place.open()
        timeline.extract(chunks.paths)
        repair_report = timeline.verify(repair=True)
        found.update(
            rounds=1,
            repacks=repacks,
            rebuilds=rebuilt,
            reads=readings.frames,
            frames_repaired=repair_report.repaired,
        )
        assert readings.violations == ()
        assert readings.frames > 0
        assert repair_report.ok
        check_moved(timeline, frames_alone(chunks))
    proof.found(**found)


def places(url: str, *, rounds: int) -> Iterator[Place]:
    """Yield a new timeline for each round: races are most likely while it is small."""
    return (Place(url, f"race-{number}") for number in range(rounds))


def chunks_of_a_round() -> NumberedChunks:
    return numbered_chunks(12, frames_each=10)


def begin(place: Place, chunks: NumberedChunks) -> None:
    """Create a manifest with all chunks, and cache two."""
    refuse = fail_from_nth(
        StorePermissionDenied("no more"), action="create", nth=3, within="/index/"
    )
    store = HookedStore(FrameCache(place.url).store, before=refuse)
    with pytest.raises(StorePermissionDenied, match="no more"):
        Timeline(store, place.timeline_id).extract(chunks.paths, workers=1)


def check_moved(timeline: Timeline, expected: dict[str, bytes]) -> None:
    """Require that all frames are right, also after each repack."""
    jpegs = [expected[f"{sequence}.jpg"] for sequence in range(len(expected))]
    for layout in LAYOUTS:
        timeline.repack(layout)
        assert timeline.complete
        assert list(timeline.jpegs(range(len(jpegs)))) == jpegs
        assert {bool(offset) for offset in timeline.index.offset} == {layout == "packs"}
