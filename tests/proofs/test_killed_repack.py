"""Repacks killed at random moments: readers are unaffected, and other programs finish them."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pytest
from invariants import PREFIX, TIMELINE, Inspection, contents, inspect_timeline
from numbered import NumberedChunks
from numbered_clips import frames_alone, numbered_chunks
from workers import Answer, Moment, Place, Repacked, Worker, WorkerDied, Workers, repack

from framecache import FrameCache, Timeline
from framecache._maintain.gc import plan_gc
from framecache.model import Layout
from framecache.store import Store
from proving import Proof

STALE_AFTER_SECONDS = 0.5
LANES = 2
MOVES: Final[tuple[tuple[Layout, Layout], ...]] = (
    *(("packs", "objects"), ("video", "packs"), ("objects", "packs"), ("video", "objects")),
)
"""Layouts before and after each repack, in turn."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Settings shared by all kills on one store."""

    url: str
    gateways: tuple[str, str]
    """Gateway of the process that is killed, and of the one that finishes its work."""
    chunks: NumberedChunks
    expected: list[bytes]
    """The JPEGs of all frames."""
    undisturbed: dict[tuple[Layout, Layout], Repacked]
    """Repacks of these chunks that were not killed."""


def test_repack_killed_on_local_disk_is_finished_by_another_process(
    local_url: str, proof: Proof
) -> None:
    prove(local_url, ("", ""), proof, kills=proof.size(short=8, long=300))


@pytest.mark.ceph
def test_repack_killed_on_ceph_is_finished_by_another_process(
    ceph_url: str, ceph_gateways: tuple[str, str], proof: Proof
) -> None:
    prove(ceph_url, ceph_gateways, proof, kills=proof.size(short=3, long=200))


def prove(url: str, gateways: tuple[str, str], proof: Proof, *, kills: int) -> None:
    """Prove that a killed repack loses no frame, and that another one can complete it."""
    chunks = numbered_chunks(4, frames_each=8)
    alone = frames_alone(chunks)
    expected = [alone[f"{sequence}.jpg"] for sequence in range(chunks.frame_count)]
    with Workers(2, chunks) as workers, ThreadPoolExecutor(LANES) as pool:
        worker = workers.take()
        undisturbed = {}
        # The first writes to a new bucket may take seconds, the later ones milliseconds.
        for number, (before, after) in enumerate((MOVES[0], *MOVES)):
            place = Place(f"{url}/undisturbed-{number}", TIMELINE, gateways[0])
            FrameCache(place.url).timeline(TIMELINE).extract(chunks.paths, layout=before)
            undisturbed[before, after] = worker.start(repack, place, after).get()
        scene = Scene(url, gateways, chunks, expected, undisturbed)
        found = Counter[str]()
        for counts in pool.map(Trial.run, [Trial(scene, workers, n) for n in range(kills)]):
            found.update(counts)
    proof.found(**found)
    assert found["mid_work"] >= kills / 3


class Trial:
    """Trial in which a repack is killed, another completes it, and gc removes the rest."""

    def __init__(self, scene: Scene, workers: Workers, number: int) -> None:
        self._scene = scene
        self._workers = workers
        self._random = random.Random(number)
        self._url = f"{scene.url}/{number}"
        self._before, self._after = MOVES[number % len(MOVES)]

    def run(self) -> Counter[str]:
        """Complete it, and return the outcome."""
        try:
            return self._run()
        except Exception as error:
            error.add_note(f"met in {self._url}, repacking from {self._before} to {self._after}")
            raise

    def _run(self) -> Counter[str]:
        store = FrameCache(self._url).store
        opened = Timeline(store, TIMELINE)
        opened.extract(self._scene.chunks.paths, layout=self._before)
        self._check_reader(opened)
        began = set(contents(store))
        victim = self._workers.take()
        was_killed = self._kill(victim)
        inspection = self._inspect(store)
        is_mid_work = was_killed and self._is_mid_work(store, began, inspection)
        self._check_reader(opened)

        other = self._workers.take()
        self._start(other, gateway=1).get()
        self._workers.release(other)
        inspection = self._inspect(store)
        assert inspection.document is not None
        assert inspection.document["layout"] == self._after
        self._check_reader(opened)
        left = self._unreferenced(store)
        plan = plan_gc(
            store, timelines=[TIMELINE], grace_seconds=0, max_bytes=None, max_age_seconds=None
        )
        assert plan.execute(max_share=1).skipped == ()
        self._inspect(store)
        assert self._unreferenced(store) == set()
        opened.delete()
        assert not any(key.startswith(PREFIX) for key in contents(store))
        return Counter(kills=was_killed, mid_work=is_mid_work, collected=len(left))

    def _is_mid_work(self, store: Store, began: set[str], inspection: Inspection) -> bool:
        """Return True if something was done, and something is left to do."""
        is_moved = inspection.document is not None and inspection.document["layout"] == self._after
        return set(contents(store)) != began and (not is_moved or bool(self._unreferenced(store)))

    def _start(
        self, worker: Worker, *, gateway: int, dying: Moment | None = None
    ) -> Answer[Repacked]:
        return worker.start(
            repack,
            Place(self._url, TIMELINE, self._scene.gateways[gateway]),
            self._after,
            stale_after_seconds=STALE_AFTER_SECONDS,
            dying=dying,
        )

    def _kill(self, victim: Worker) -> bool:
        """Have a process repack that dies at a moment; False when it had done everything before."""
        undisturbed = self._scene.undisturbed[self._before, self._after]
        seconds, requests = undisturbed.report.seconds, undisturbed.requests
        # By the first ones nothing is done yet, and by the last ones all.
        request = self._random.randint(requests // 8, 7 * requests // 8)
        dying = Moment(request, self._random.uniform(0, seconds / requests))
        try:
            self._start(victim, gateway=0, dying=dying).get()
        except WorkerDied:
            return True
        finally:
            # No other program may have it, because it may be about to kill itself.
            victim.close()
        return False

    def _inspect(self, store: Store) -> Inspection:
        inspection = inspect_timeline(store)
        assert inspection.is_complete
        assert len(inspection.frames) == self._scene.chunks.frame_count
        return inspection

    def _check_reader(self, timeline: Timeline) -> None:
        """Require that a reader that opened the timeline before is unaffected."""
        assert list(timeline.jpegs(range(len(self._scene.expected)))) == self._scene.expected

    def _unreferenced(self, store: Store) -> set[str]:
        """Return the blobs of frames that the index does not name."""
        named = set(Timeline(store, TIMELINE).index.key)
        folders = (f"{PREFIX}frames/", f"{PREFIX}packs/")
        return {key for key in contents(store) if key.startswith(folders)} - named
