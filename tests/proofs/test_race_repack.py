"""A timeline is repacked to and fro while other processes fill, write, rebuild and read it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from numbered import NumberedChunks
from numbered_clips import frames_alone, numbered_chunks
from workers import (
    Place,
    Worker,
    extract,
    read_meanwhile,
    read_until_complete,
    rebuild_repeatedly,
    repack_to_and_fro,
    write_one_by_one,
)

from framecache import FrameCache, StoreDenied, Timeline
from framecache.model import Layout
from framecache.testing import HookedStore, failing_at
from outside import frame, mean_error, picture
from proving import Proof

Processes = tuple[Worker, Worker, Worker]
LAYOUTS: tuple[Layout, Layout] = ("packs", "objects")


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Three, ready to begin."""
    warm_up = numbered_chunks(2, frames_each=2)
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(closing(Worker(warm_up))) for _ in range(3))
        for worker in (one, two, three):
            worker.wait_until_warm()
        yield one, two, three


def test_repacks_race_an_extraction_and_a_reader(
    processes: Processes, local_url: str, proof: Proof
) -> None:
    """Whatever the layout is meanwhile, no reader sees a wrong frame, and all come to be there."""
    chunks, place = chunks_of(proof), Place(local_url, "race")
    begin(place, chunks)
    repacker, extractor, reader = processes
    repacking = repacker.start(repack_to_and_fro, place, times=proof.size(short=12, long=400))
    reading = reader.start(read_until_complete, place, chunks)
    assert extractor.start(extract, place, chunks).get().is_complete
    readings, repacks = reading.get(), repacking.get()
    proof.found(chunks=len(chunks.paths), repacks=repacks, reads=readings.frames)
    assert readings.violations == ()
    assert repacks > 0
    check_moved(place.open(), frames_alone(chunks))


def test_repacks_race_a_writer(processes: Processes, local_url: str, proof: Proof) -> None:
    """Every frame that a program was told is written is there, and none is another."""
    place, count = Place(local_url, "race"), proof.size(short=20, long=400)
    place.open().write([frame(0)])
    repacker, writer, _ = processes
    repacking = repacker.start(repack_to_and_fro, place, times=count)
    tries = writer.start(write_one_by_one, place, [frame(n) for n in range(1, count)]).get()
    repacks = repacking.get()
    proof.found(frames=count, tries=tries, repacks=repacks)
    timeline = place.open()
    assert timeline.sequences() == list(range(count))
    for one in timeline.frames():
        assert mean_error(one.image, picture(one.sequence)) <= 3
    stored = zip(range(count), timeline.jpegs(range(count)), strict=True)
    check_moved(timeline, {f"{sequence}.jpg": jpeg for sequence, jpeg in stored})


def test_repacks_race_clears_rebuilds_and_a_reader(
    processes: Processes, local_url: str, proof: Proof
) -> None:
    """What comes of it can be repaired to what a lone extraction stores."""
    chunks, place = chunks_of(proof), Place(local_url, "race")
    place.open().extract(chunks.paths)
    repacker, rebuilder, reader = processes
    times = proof.size(short=4, long=100)
    rebuilding = rebuilder.start(rebuild_repeatedly, place, times=times)
    reading = reader.start(read_meanwhile, place, chunks, times=4 * times)
    repacks = repacker.start(repack_to_and_fro, place, times=4 * times).get()
    rebuilds, readings = rebuilding.get(), reading.get()
    timeline = place.open()
    timeline.extract(chunks.paths)
    mended = timeline.verify(repair=True)
    proof.found(
        repacks=repacks, rebuilds=rebuilds, reads=readings.frames, frames_mended=mended.repaired
    )
    assert readings.violations == ()
    assert readings.frames > 0
    assert mended.ok
    check_moved(timeline, frames_alone(chunks))


def chunks_of(proof: Proof) -> NumberedChunks:
    return numbered_chunks(proof.size(short=12, long=200), frames_each=10)


def begin(place: Place, chunks: NumberedChunks) -> None:
    """Describe all chunks, and cache two."""
    refuse = failing_at(StoreDenied("no more"), action="create", nth=3, within="/index/")
    store = HookedStore(FrameCache(place.url).store, before=refuse)
    with pytest.raises(StoreDenied, match="no more"):
        Timeline(store, place.timeline_id).extract(chunks.paths, workers=1)


def check_moved(timeline: Timeline, expected: dict[str, bytes]) -> None:
    """All frames are right, and stay so wherever they are moved."""
    jpegs = [expected[f"{sequence}.jpg"] for sequence in range(len(expected))]
    for layout in LAYOUTS:
        timeline.repack(layout)
        assert timeline.complete
        assert list(timeline.jpegs(range(len(jpegs)))) == jpegs
        assert {bool(offset) for offset in timeline.index.offset} == {layout == "packs"}
