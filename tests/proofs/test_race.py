"""Many processes extract one timeline at once, through different gateways of one cluster."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path

import pytest
from numbered import NumberedChunks, Truth
from numbered_clips import frames_alone, numbered_chunks
from workers import Extracted, Place, Readings, Worker, extract, read_until_complete

from framecache.model import Layout
from outside import frames_of, outside, pixels_by_pillow
from proving import Proof
from tars import jpegs_in, packs_of


@pytest.mark.ceph
def test_racing_extractions_commit_each_chunk_once(
    ceph_url: str, ceph_gateways: tuple[str, str], proof: Proof, tmp_path: Path
) -> None:
    """Each chunk is decoded once and committed once, and no reader ever sees a wrong frame."""
    processes = proof.size(short=4, long=16)
    chunks = numbered_chunks(proof.size(short=40, long=500), frames_each=10)
    gateways = cycle(ceph_gateways)
    places = [Place(ceph_url, "race", next(gateways)) for _ in range(processes)]

    extracted, readings = race(places, chunks, first_read=tmp_path / "first_read")

    reports = [one.report for one in extracted]
    # Leases are released, so that another program may create them again.
    created = Counter(key for one in extracted for key in one.created if "/claims/" not in key)
    decode_work = sum(one.decoded for one in extracted) / chunks.frame_count
    wrong = wrong_frames(ceph_url, chunks, frames_alone(chunks))
    proof.found(
        processes=processes,
        chunks=len(chunks.paths),
        commits=sum(times for key, times in created.items() if is_part(key)),
        decode_work=f"{decode_work:.3f}",
        wrong_frames=len(wrong) + len(readings.violations),
        reads=readings.frames,
    )
    assert wrong == []
    assert readings.violations == ()
    assert readings.partial > 0
    assert all(one.is_complete for one in extracted)
    assert {key: times for key, times in created.items() if times > 1} == {}
    assert {key for key in created if is_part(key)} == stored_parts(ceph_url)
    assert len(stored_parts(ceph_url)) == len(chunks.paths)
    assert sum(report.chunks_extracted for report in reports) == len(chunks.paths)
    assert sum(report.frames_extracted for report in reports) == chunks.frame_count
    assert 1 <= decode_work <= 1.05


def test_racing_extractions_of_long_chunks_commit_each_once(local_url: str, proof: Proof) -> None:
    """A program that was suspended for longer than a lease lasts does not take over others."""
    stale_after_seconds = 1.0
    chunks = numbered_chunks(proof.size(short=6, long=30), frames_each=20)
    place, warm_up = Place(local_url, "race"), numbered_chunks(2, frames_each=2)
    with closing(Worker(warm_up)) as slow, closing(Worker(warm_up)) as fast:
        answers = [
            worker.start(
                extract,
                place,
                chunks,
                stale_after_seconds=stale_after_seconds,
                put_seconds=chunk_seconds / chunks.frames_each,
                workers=1,
            )
            for worker, chunk_seconds in ((slow, 5), (fast, 1.2))
        ]
        extracted = [answer.get() for answer in answers]
    decode_work = sum(one.decoded for one in extracted) / chunks.frame_count
    proof.found(chunks=len(chunks.paths), decode_work=f"{decode_work:.3f}")
    assert decode_work == 1
    assert wrong_frames(local_url, chunks, frames_alone(chunks)) == []


def test_racing_extractions_into_packs_commit_each_chunk_once(local_url: str, proof: Proof) -> None:
    """Each chunk comes to one pack, which the index names, and no reader sees a wrong frame."""
    chunks = numbered_chunks(proof.size(short=12, long=200), frames_each=10)
    places = [Place(local_url, "race")] * proof.size(short=2, long=6)

    extracted, readings = race(places, chunks, layout="packs")

    packs = packs_of(outside(local_url), "race")
    proof.found(chunks=len(chunks.paths), packs=len(packs), reads=readings.frames)
    assert readings.violations == ()
    assert all(one.is_complete for one in extracted)
    assert sum(one.report.chunks_extracted for one in extracted) == len(chunks.paths)
    assert set(packs) == set(places[0].open().index.key)
    stored = {f"{sequence}.jpg": data for sequence, data in jpegs_in(packs).items()}
    assert stored == frames_alone(chunks)
    assert frames_of(outside(local_url), "race") == {}


def test_racing_extractions_of_one_chunk_share_its_segments(local_url: str, proof: Proof) -> None:
    """Each segment is decoded once and committed once, and no reader sees a wrong frame."""
    segments = proof.size(short=16, long=120)
    chunks = numbered_chunks(1, frames_each=10, segments_each=segments)
    places = [Place(local_url, "race")] * proof.size(short=2, long=4)

    extracted, readings = race(places, chunks)

    created = Counter(key for one in extracted for key in one.created if is_part(key))
    decode_work = sum(one.decoded for one in extracted) / chunks.frame_count
    proof.found(segments=segments, decode_work=f"{decode_work:.3f}", reads=readings.frames)
    assert wrong_frames(local_url, chunks, frames_alone(chunks)) == []
    assert readings.violations == ()
    assert all(one.is_complete for one in extracted)
    assert len(created) == segments == created.total()
    assert sum(one.report.segments_extracted for one in extracted) == segments
    assert 1 <= decode_work <= 1.05


def race(
    places: Sequence[Place],
    chunks: NumberedChunks,
    *,
    layout: Layout | None = None,
    first_read: Path | None = None,
) -> tuple[list[Extracted], Readings]:
    """Extract in as many processes as there are places, and read in one more, all at once.

    With ``first_read``, a file to be made, the reader sees the timeline before it is complete,
    however slow it is.
    """
    with ExitStack() as stack:
        warm_up = numbered_chunks(2, frames_each=2)
        reader, *racers = [Worker(warm_up) for _ in range(len(places) + 1)]
        for worker in (reader, *racers):
            stack.callback(worker.close)
        for worker in (reader, *racers):
            worker.wait_until_warm()
        reading = reader.start(read_until_complete, places[-1], chunks, first_read=first_read)
        answers = [
            racer.start(extract, place, chunks, layout=layout, first_read=first_read)
            for racer, place in zip(racers, places, strict=True)
        ]
        return [answer.get() for answer in answers], reading.get()


def wrong_frames(url: str, chunks: NumberedChunks, expected: dict[str, bytes]) -> list[str]:
    """Return the faults of the stored frames."""
    truth, stored = Truth(chunks), frames_of(outside(url), "race")
    wrong = [
        f"{name} is not what a lone extraction stores"
        for name in sorted(stored.keys() | expected.keys())
        if stored.get(name) != expected.get(name)
    ]
    faults = (
        truth.fault(int(name.removesuffix(".jpg")), pixels_by_pillow(data))
        for name, data in stored.items()
    )
    return wrong + [fault for fault in faults if fault]


def stored_parts(url: str) -> set[str]:
    """The index parts of chunks that the bucket holds."""
    return {key for key in outside(url).list("cache/timelines/race/index/") if is_part(key)}


def is_part(key: str) -> bool:
    """Return True if a key is that of a chunk's index part, and not of a compacted index."""
    return "/index/" in key and "/_timeline-" not in key
