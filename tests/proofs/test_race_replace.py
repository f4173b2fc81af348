"""Programs replace frames at once, while others read: each read gets one whole picture.

One program's whole call is put before every single request of another's. After each request a
reader that opened the timeline before reads every frame. At the end the later description wins, and
the public names hold what is read. Then the same in real processes, as fast as they are.
"""

import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from invariants import PREFIX, TIMELINE, contents, index_files, require, restore
from processes import Process
from test_crash_replace import OLD, alone, jpegs, picture, public, read

from framecache import Frame, FrameCache, StoreUnavailable, Timeline
from framecache._ingest import relocate
from framecache.model import Layout
from framecache.store import Store, open_store
from framecache.testing import HookedStore
from proving import Proof

MINE = [Frame(n, 1, n / 25, picture(n + 5)) for n in (1, 2, 6)]
OTHERS = [Frame(n, 2, n / 25, picture(n + 8)) for n in (2, 3, 6)]
"""Both replace frame 2, and both bring frame 6."""


Work = Callable[[Store], object]


def write(frames: list[Frame]) -> Work:
    return lambda store: Timeline(store, TIMELINE).write(frames, on_conflict="replace", workers=1)


def move(store: Store) -> None:
    """Bring frames to their places as a repair does, which takes over from a silent program."""
    relocate(store, TIMELINE, workers=1)


WRITE_AND_MOVE: tuple[Work, ...] = (write(OTHERS), move)


class Interleaving:
    """Two programs, of which one does everything before a single request of the other's."""

    def __init__(self, layout: Layout, others_work: tuple[Work, ...]) -> None:
        self._others_work = others_work
        self._store = open_store(f"memory://{uuid.uuid4().hex}")
        self._layout = layout
        with Process("earlier").running():
            Timeline(self._store, TIMELINE).write(OLD, layout=layout, workers=1)
        self._before = contents(self._store)
        known = (read(self._store), alone(MINE), alone(OTHERS))
        self._allowed = {
            sequence: {jpegs(told)[sequence] for told in known if sequence in told}
            for sequence in range(7)
        }

    def try_all(self) -> int:
        """Try every request; returns how many there are."""
        numbers = count(1)
        for at in numbers:
            restore(self._store, self._before)
            if not self._is_put_before(at):
                return at - 1
            self._check_end(at)
        raise AssertionError

    def _is_put_before(self, at: int) -> bool:
        """True once the program came to its n-th request, before which the other did its work."""
        reader = Timeline(self._store, TIMELINE)
        reader.index  # noqa: B018 -- it opens the timeline
        requests, is_reading, is_met = count(1), False, False

        def look() -> None:
            nonlocal is_reading
            if is_reading:
                return
            is_reading = True
            for sequence in (0, 1, 2, 3):
                data = reader.jpeg(sequence)
                require(data in self._allowed[sequence], f"frame {sequence} is torn")
            is_reading = False

        def after(_action: str, _key: str) -> None:
            look()

        def before(_action: str, _key: str) -> None:
            nonlocal is_met
            if next(requests) == at:
                is_met = True
                with Process("other").running():
                    for work in self._others_work:
                        work(HookedStore(self._store, after=after))

        with Process("first").running():
            try:
                write(MINE)(HookedStore(self._store, before=before, after=after))
            except StoreUnavailable:
                # It slept for longer than its lease lasts, and has to write again.
                write(MINE)(HookedStore(self._store, after=after))
        return is_met

    def _check_end(self, at: int) -> None:
        seen = jpegs(read(self._store))
        require(seen == self._described(), f"before request {at}: another description counts")
        winners = {
            "mine" if seen[sequence] == jpegs(alone(MINE))[sequence] else "others"
            for sequence in (2, 6)
        }
        require(len(winners) == 1, f"before request {at}: two calls are mixed")
        require(seen[1] == jpegs(alone(MINE))[1], f"before request {at}: frame 1 is lost")
        require(seen[3] == jpegs(alone(OTHERS))[3], f"before request {at}: frame 3 is lost")
        if self._layout == "objects":
            require(public(self._store) == seen, f"before request {at}: the public names differ")

    def _described(self) -> dict[int, bytes]:
        """The frames as json and pyarrow have them, a later part before an earlier one."""
        blobs = contents(self._store)
        last = max(key for key in blobs if key.startswith(f"{PREFIX}timeline/"))
        rows: dict[int, dict[str, Any]] = {}
        for _, key in index_files({**json.loads(blobs[last]), "compaction": None}):
            rows |= {
                row["sequence"]: row for row in pq.read_table(io.BytesIO(blobs[key])).to_pylist()
            }
        # Where a row lay that another took the place of, nothing may be left.
        return {
            sequence: blobs[row["key"]][row["offset"] :][: row["size"]]
            for sequence, row in rows.items()
        }


@pytest.mark.parametrize("others_work", [(write(OTHERS),), WRITE_AND_MOVE], ids=["write", "move"])
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_replacement_during_another_one_tears_no_picture(
    layout: Layout, others_work: tuple[Work, ...], proof: Proof
) -> None:
    proof.found(interleavings=Interleaving(layout, others_work).try_all())


# Real processes


SIDE = 64
FRAMES = 6


def replace_often(url: str, writer: int, rounds: int) -> list[int]:
    """Replace all frames again and again, each time by another brightness; returns all of them."""
    timeline = FrameCache(url).timeline(TIMELINE)
    used = []
    for number in range(rounds):
        brightness = 10 + writer * 60 + number * 3 % 50
        image = np.full((SIDE, SIDE, 3), brightness, np.uint8)
        frames = [Frame(n, writer, number, image) for n in range(FRAMES)]
        timeline.write(frames, on_conflict="replace", workers=2)
        used.append(brightness)
    return used


def read_often(url: str, until: str) -> set[int]:
    """Read all frames until a file is there; returns the brightness of each picture, -1 if torn."""
    timeline = FrameCache(url).timeline(TIMELINE)
    seen: set[int] = set()
    while not Path(until).exists():
        for frame in timeline.frames():
            spread = int(frame.image.max()) - int(frame.image.min())
            seen.add(int(np.median(frame.image)) if spread <= 3 else -1)
    return seen


def test_concurrent_replacements_leave_one_call_complete(
    local_url: str, tmp_path: Path, proof: Proof
) -> None:
    writers, rounds = 3, proof.size(short=8, long=200)
    replace_often(local_url, 0, 1)
    end = tmp_path / "end"
    with ProcessPoolExecutor(writers + 1, mp_context=get_context("spawn")) as pool:
        reading = pool.submit(read_often, local_url, str(end))
        writing = [pool.submit(replace_often, local_url, n, rounds) for n in range(writers)]
        used = {brightness for one in writing for brightness in one.result()}
        end.touch()
        seen = reading.result()
    timeline = FrameCache(local_url).timeline(TIMELINE)
    last = {int(np.median(frame.image)) for frame in timeline.frames()}
    proof.found(calls=writers * rounds, seen=len(seen))
    assert all(any(abs(one - other) <= 1 for other in used) for one in seen)
    assert len(last) == 1
    assert len({(f.chunk_id, f.timestamp) for f in timeline.frames()}) == 1
    assert timeline.verify(deep=True, repair=True).ok
    store = open_store(local_url)
    assert public(store) == jpegs(read(store))
