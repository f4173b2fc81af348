"""Extractions are killed at random moments, and others finish what they began."""

import io
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import google_crc32c
import pyarrow.parquet as pq
import pytest
from numbered import NumberedChunks, Truth
from numbered_clips import frames_alone, numbered_chunks
from workers import Answer, Extracted, Moment, Place, Worker, WorkerDied, Workers, extract

from framecache import FrameCache
from framecache.model import Layout
from outside import frames_of, outside
from proving import Proof
from tars import jpegs_in, packs_of

STALE_AFTER_SECONDS = 0.5
DEADLINE_SECONDS = 60.0
SURVIVORS = 2
LANES = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """Settings shared by all kills on one store."""

    url: str
    gateways: tuple[str, str]
    """Gateway of the process that is killed, and of those that finish its work."""
    chunks: NumberedChunks
    expected: dict[str, bytes]
    """The frames that must be there in the end, by name."""
    undisturbed: Extracted
    """An extraction of these chunks into this store that was not killed."""
    layout: Layout
    renditions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Observed contents of a timeline in the store."""

    keys: tuple[str, ...]

    @property
    def parts(self) -> dict[str, str]:
        """The keys of the committed index parts, by the name of their segment."""
        return self._named(r".*/index/[^/]+/([0-9s]+)-0\.parquet")

    @property
    def lease_keys(self) -> dict[str, str]:
        """Keys of leases, by the name of their segment."""
        return self._named(r".*/claims/[^/]+/([0-9s]+)-[0-9]+\.json")

    @property
    def half_written(self) -> list[str]:
        """Unfinished files on local disk, which no store lists."""
        return [key for key in self.keys if re.search("#[0-9]+$", key)]

    def _named(self, pattern: str) -> dict[str, str]:
        matches = (re.fullmatch(pattern, key) for key in self.keys)
        return {match[1]: match[0] for match in matches if match}


def test_extraction_killed_on_local_disk_is_finished_by_another_process(
    local_url: str, proof: Proof
) -> None:
    prove(local_url, ("", ""), proof, kills=proof.size(short=8, long=500))


@pytest.mark.ceph
def test_extraction_killed_on_ceph_is_finished_by_another_process(
    ceph_url: str, ceph_gateways: tuple[str, str], proof: Proof
) -> None:
    prove(ceph_url, ceph_gateways, proof, kills=proof.size(short=8, long=500))


def test_extraction_into_packs_killed_on_local_disk_is_finished_by_another_process(
    local_url: str, proof: Proof
) -> None:
    kills = proof.size(short=6, long=250)
    prove(local_url, ("", ""), proof, kills=kills, layout="packs")


@pytest.mark.ceph
def test_extraction_into_packs_killed_on_ceph_is_finished_by_another_process(
    ceph_url: str, ceph_gateways: tuple[str, str], proof: Proof
) -> None:
    kills = proof.size(short=6, long=250)
    prove(ceph_url, ceph_gateways, proof, kills=kills, layout="packs")


@pytest.mark.parametrize("renditions", [(), (32, 16)], ids=["", "renditions"])
@pytest.mark.parametrize(("segments_each", "layout"), [(2, "packs"), (4, "objects")])
def test_extraction_of_segments_killed_on_local_disk_is_finished_by_another_process(
    local_url: str,
    proof: Proof,
    layout: Layout,
    segments_each: int,
    renditions: tuple[int, ...],
) -> None:
    prove(
        local_url,
        ("", ""),
        proof,
        kills=proof.size(short=4, long=150),
        layout=layout,
        segments_each=segments_each,
        renditions=renditions,
    )


def test_extraction_into_layout_video_killed_on_local_disk_is_finished_by_another_process(
    local_url: str, proof: Proof
) -> None:
    kills = proof.size(short=3, long=150)
    prove(local_url, ("", ""), proof, kills=kills, layout="video")


def prove(
    url: str,
    gateways: tuple[str, str],
    proof: Proof,
    *,
    kills: int,
    layout: Layout = "objects",
    segments_each: int = 1,
    renditions: tuple[int, ...] = (),
) -> None:
    """Prove that no kill leaves wrong frames, or blobs that stop later programs."""
    chunks = numbered_chunks(4 // segments_each, frames_each=8, segments_each=segments_each)
    with Workers(1 + SURVIVORS, chunks) as workers, ThreadPoolExecutor(LANES) as pool:
        # The first writes to a new bucket may take seconds, the later ones milliseconds.
        first, second = (Place(url, name, gateways[0]) for name in ("first", "undisturbed"))
        worker = workers.take()
        kept: Any = {"layout": layout, "renditions": renditions}
        worker.start(extract, first, chunks, **kept).get()
        undisturbed = worker.start(extract, second, chunks, **kept).get()
        scene = Scene(url, gateways, chunks, frames_alone(chunks), undisturbed, layout, renditions)
        trials = [Trial(scene, workers, number) for number in range(kills)]
        found = Counter[str]()
        for counts in pool.map(Trial.run, trials):
            found.update(counts)
    proof.found(**found)
    assert found["mid_work"] >= kills / 3
    assert found["taken_over"] > 0


class Trial:
    """Trial in which a process is killed while it extracts, and others finish the timeline."""

    def __init__(self, scene: Scene, workers: Workers, number: int) -> None:
        self._scene = scene
        self._workers = workers
        self._random = random.Random(number)
        self._timeline_id = f"killed-{number}"
        self._prefix = f"cache/timelines/{self._timeline_id}/"
        # A folder of its own is walked faster.
        self._url = scene.url if scene.url.startswith("s3:") else f"{scene.url}/{number}"
        self._blobs = outside(self._url)
        self._truth = Truth(scene.chunks)

    def run(self) -> Counter[str]:
        """Complete it, and return the outcome."""
        try:
            return self._run()
        except Exception as error:
            error.add_note(f"met in timeline {self._timeline_id}")
            raise

    def _run(self) -> Counter[str]:
        others = [self._workers.take() for _ in range(self._random.choice([0, 0, SURVIVORS]))]
        is_alone = not others
        victim = self._workers.take()
        last_words, patience = self._start_victim(victim, share=1 / (1 + len(others)))
        answers = [self._start(other, gateway=1) for other in others]
        was_killed = self._kill(victim, last_words, patience)
        observed = self._check_observed()
        if is_alone:
            others = [self._workers.take()]
            answers = [self._start(other, gateway=1) for other in others]
        reads = 1
        while not all(answer.is_there(within_seconds=0.1) for answer in answers):
            self._check_observed()
            reads += 1
        extracted = [answer.get() for answer in answers]
        for other in others:
            self._workers.release(other)

        parts = self._scene.chunks.part_count
        if is_alone:
            # A request of the dead program may have been executed since.
            assert extracted[0].report.segments_extracted <= parts - len(observed.parts)
        is_mid_work = was_killed and len(observed.keys) > 0 and len(observed.parts) < parts
        return Counter(
            kills=was_killed,
            mid_work=is_mid_work,
            beside_survivors=was_killed and not is_alone,
            taken_over=len(observed.lease_keys.keys() - observed.parts.keys()) if is_alone else 0,
            **self._finish(extracted),
            reads=reads,
        )

    def _start(
        self, worker: Worker, *, gateway: int, dying: Moment | None = None
    ) -> Answer[Extracted]:
        return worker.start(
            extract,
            Place(self._url, self._timeline_id, self._scene.gateways[gateway]),
            self._scene.chunks,
            stale_after_seconds=STALE_AFTER_SECONDS,
            dying=dying,
            layout=self._scene.layout,
            renditions=self._scene.renditions,
        )

    def _start_victim(self, victim: Worker, *, share: float) -> tuple[Answer[Extracted], float]:
        """Have a process extract, of which it will do about this share.

        Returns its answer, and for how many seconds it may live; or else it kills itself, at one
        of its requests.
        """
        undisturbed = self._scene.undisturbed
        seconds, requests = undisturbed.report.seconds, undisturbed.requests
        dying, patience = None, self._random.uniform(0, share * seconds)
        if self._random.random() < 0.5:
            request = self._random.randint(1, round(share * requests))
            dying = Moment(request, self._random.uniform(0, seconds / requests))
            patience = DEADLINE_SECONDS
        return self._start(victim, gateway=0, dying=dying), patience

    def _kill(self, victim: Worker, answer: Answer[Extracted], patience: float) -> bool:
        """Kill a process that runs out of time; False when it had done everything before."""
        if not answer.is_there(within_seconds=patience):
            victim.kill()
        try:
            answer.get()
        except WorkerDied:
            return True
        finally:
            # No other program may have it, because it may be about to kill itself.
            victim.close()
        return False

    def _check_observed(self) -> Observed:
        """Check that all committed frames are there, and that readers get the right results."""
        observed = self._observe()
        for key in observed.parts.values():
            self._check_part(key)
        timeline = FrameCache(self._url).timeline(self._timeline_id)
        is_complete = timeline.complete
        frames = {frame.sequence: frame.image for frame in timeline.frames()}
        faults = [self._truth.fault(sequence, image) for sequence, image in frames.items()]
        assert not any(faults), faults
        chunks = self._scene.chunks
        assert len(frames) >= len(observed.parts) * chunks.frames_each
        if is_complete:
            assert len(frames) == chunks.frame_count
            assert len(self._observe().parts) == chunks.part_count
        else:
            assert len(observed.parts) < chunks.part_count
        return observed

    def _observe(self) -> Observed:
        return Observed(tuple(self._blobs.list(self._prefix)))

    def _check_part(self, key: str) -> None:
        """Every frame that a part names is there, as long and with the CRC that it says."""
        rows = pq.read_table(io.BytesIO(self._blobs.read(key))).to_pylist()
        assert len(rows) == self._scene.chunks.frames_each
        if self._scene.layout == "video":
            assert all((row["key"], row["size"], row["crc32c"]) == ("", None, None) for row in rows)
            return
        for row in rows:
            for suffix in ("", *(f"_{side}" for side in self._scene.renditions)):
                self._check_location(row, suffix)

    def _check_location(self, row: dict[str, Any], suffix: str) -> None:
        """The frame or rendition is there, as long and with the CRC that its row says."""
        key, offset, size = (row[f"{name}{suffix}"] for name in ("key", "offset", "size"))
        data = self._blobs.read(key)
        if self._scene.layout == "packs":
            assert offset > 0
            data = data[offset : offset + size]
        assert (len(data), google_crc32c.value(data)) == (size, row[f"crc32c{suffix}"])

    def _finish(self, extracted: list[Extracted]) -> dict[str, int]:
        """Check that the state is as if nothing had been killed, and remove it; return the rest."""
        assert all(one.is_complete for one in extracted)
        observed = self._check_observed()
        assert len(observed.parts) == self._scene.chunks.part_count
        left = {"half_written_files": len(observed.half_written)}
        if self._scene.layout == "packs":
            left["packs_left"] = self._check_packs(observed)
        elif self._scene.layout == "objects":
            self._check_frames(observed)
        else:
            assert not any("/frames/" in key or "/packs/" in key for key in observed.keys)
        FrameCache(self._url).timeline(self._timeline_id).delete()
        assert self._timeline_id not in FrameCache(self._url).timelines()
        assert sorted(self._observe().keys) == sorted(observed.half_written)
        return left

    def _check_frames(self, observed: Observed) -> None:
        stored = frames_of(self._blobs, self._timeline_id)
        names = {key.removeprefix(f"{self._prefix}frames/") for key in observed.half_written}
        assert {n: data for n, data in stored.items() if n not in names} == self._scene.expected

    def _check_packs(self, observed: Observed) -> int:
        """See that those named hold all frames; returns how many others, each whole, are left."""
        assert frames_of(self._blobs, self._timeline_id) == {}
        packs = packs_of(self._blobs, self._timeline_id)
        whole = {key: pack for key, pack in packs.items() if key not in observed.half_written}
        named = set(FrameCache(self._url).timeline(self._timeline_id).index.key)
        assert named <= set(whole)
        assert self._frames_in({key: whole[key] for key in named}) == self._scene.expected
        for key, pack in whole.items():
            assert self._frames_in({key: pack}).items() <= self._scene.expected.items()
        return len(whole) - len(named)

    def _frames_in(self, packs: dict[str, bytes]) -> dict[str, bytes]:
        return {f"{sequence}.jpg": data for sequence, data in jpegs_in(packs).items()}
