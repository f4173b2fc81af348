"""Programs replace frames at once, while others read: each read gets one whole picture.

One program's whole call is put before every single request of another's. After each request a
reader that opened the timeline before reads every frame. At the end the later manifest wins, and
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
    """Move frames to their public names as a repair after another program's death does."""
    relocate(store, TIMELINE, workers=1)


WRITE_AND_MOVE: tuple[Work, ...] = (write(OTHERS), move)


class Interleaving:
    """Two programs, one of which does all of its work before a request of the other."""

    def __init__(self, layout: Layout, others_work: tuple[Work, ...]) -> None:
        self._others_work = others_work
        self._store = open_store(f"memory://{uuid.uuid4().hex}")
        self._layout = layout
        with Process("earlier").running():
            Timeline(self._store, TIMELINE).write(OLD, layout=layout, workers=1)
        self._before = contents(self._store)
        known = (read(self._store), alone(MINE), alone(OTHERS))
        self._allowed = {
            sequence: {jpegs(values)[sequence] for values in known if sequence in values}
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
        """Return True if the program made its n-th request, before which the other worked."""
        reader = Timeline(self._store, TIMELINE)
        reader.index  # noqa: B018 -- it opens the timeline
        requests, is_reading, is_met = count(1), False, False

        def inspect_timeline() -> None:
            nonlocal is_reading
            if is_reading:
                return
            is_reading = True
            for sequence in (0, 1, 2, 3):
                data = reader.jpeg(sequence)
                require(data in self._allowed[sequence], f"frame {sequence} is torn")
            is_reading = False

        def after(_action: str, _key: str) -> None:
            inspect_timeline()

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
                # The program was delayed for longer than the lease TTL, and has to write again.
                write(MINE)(HookedStore(self._store, after=after))
        return is_met

    def _check_end(self, at: int) -> None:
        current = jpegs(read(self._store))
        require(current == self._indexed_frames(), f"before request {at}: another manifest counts")
        winners = {
            "mine" if current[sequence] == jpegs(alone(MINE))[sequence] else "others"
            for sequence in (2, 6)
        }
        require(len(winners) == 1, f"before request {at}: two calls are mixed")
        require(current[1] == jpegs(alone(MINE))[1], f"before request {at}: frame 1 is lost")
        require(current[3] == jpegs(alone(OTHERS))[3], f"before request {at}: frame 3 is lost")
        if self._layout == "objects":
            require(public(self._store) == current, f"before request {at}: the public names differ")

    def _indexed_frames(self) -> dict[int, bytes]:
        """Return the frames by json and pyarrow; a later part precedes an earlier one."""
        blobs = contents(self._store)
        last = max(key for key in blobs if key.startswith(f"{PREFIX}timeline/"))
        rows: dict[int, dict[str, Any]] = {}
        for _, key in index_files({**json.loads(blobs[last]), "compaction": None}):
            rows |= {
                row["sequence"]: row for row in pq.read_table(io.BytesIO(blobs[key])).to_pylist()
            }
        # The blob of a replaced row must be removed.
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
    current: set[int] = set()
    while not Path(until).exists():
        for frame in timeline.frames():
            spread = int(frame.image.max()) - int(frame.image.min())
            current.add(int(np.median(frame.image)) if spread <= 3 else -1)
    return current


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
        current = reading.result()
    timeline = FrameCache(local_url).timeline(TIMELINE)
    last = {int(np.median(frame.image)) for frame in timeline.frames()}
    proof.found(calls=writers * rounds, current=len(current))
    assert all(any(abs(one - other) <= 1 for other in used) for one in current)
    assert len(last) == 1
    assert len({(f.chunk_id, f.timestamp) for f in timeline.frames()}) == 1
    assert timeline.verify(deep=True, repair=True).ok
    store = open_store(local_url)
    assert public(store) == jpegs(read(store))
