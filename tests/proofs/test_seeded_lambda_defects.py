"""Defects put into appending by events on purpose, to see that the proofs would find them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from arriving import TIMELINE
from invariants import Violation
from test_shuffled_events import SCENARIOS, Interleaving, Matrix, Overtaking

from framecache import FrameCacheError
from framecache._core import keys
from framecache._index import update_manifest
from framecache._ingest.resolve import ResolvedManifest
from framecache.aws_lambda import pending
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.aws_lambda.drain import TimelineDrain
from framecache.store import Store

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def every_crash() -> None:
    Matrix(BY_NAME["gap filled"]).try_all(every=1)


def every_fault() -> None:
    Matrix(BY_NAME["gap skipped"]).try_all(every=1)


def every_interleaving() -> None:
    Interleaving().try_all()


def every_overtaking() -> None:
    Overtaking().try_all()


@dataclass(frozen=True)
class Defect:
    """Something wrong, and what finds it."""

    name: str
    put_in: Callable[[pytest.MonkeyPatch], object]
    check: Callable[[], object]


def _forget_once_placed(patch: pytest.MonkeyPatch) -> None:
    """Delete the pending blob of a chunk that is in the manifest, before its frames are there."""
    place = TimelineDrain._place  # noqa: SLF001 -- the defect

    def place_and_delete(
        self: TimelineDrain, chunks: Sequence[ArrivedChunk], *, after: int
    ) -> ResolvedManifest:
        resolved = place(self, chunks, after=after)
        self._store.delete(keys.pending_chunk(TIMELINE, number=one.number) for one in chunks)
        return resolved

    patch.setattr(TimelineDrain, "_place", place_and_delete)


def _place_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Append chunks to whatever manifest there is by then."""

    def place(self: TimelineDrain, chunks: Sequence[ArrivedChunk], **_: object) -> ResolvedManifest:
        return self._resolve(chunks, update_manifest)

    patch.setattr(TimelineDrain, "_place", place)


def _forget_late_chunks(patch: pytest.MonkeyPatch) -> None:
    """Delete the pending blob of a chunk that is late without a report."""

    def delete_only(store: Store, chunk: ArrivedChunk, _error: FrameCacheError) -> None:
        store.delete([keys.pending_chunk(chunk.timeline_id, number=chunk.number)])

    patch.setattr(pending, "record_late", delete_only)


def _trust_the_network(patch: pytest.MonkeyPatch) -> None:
    """Take the URL of a pending chunk as it is read."""
    patch.setattr(pending, "_checksum", lambda _url: "")


DEFECTS = [
    Defect("pending blobs go first", _forget_once_placed, every_crash),
    Defect("the manifest is not compared", _place_without_looking, every_overtaking),
    Defect("late chunks are forgotten", _forget_late_chunks, every_interleaving),
    Defect("no checksum", _trust_the_network, every_fault),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_seeded_defect_is_found(defect: Defect) -> None:
    with pytest.MonkeyPatch.context() as patch:
        defect.put_in(patch)
        with pytest.raises((Violation, FrameCacheError)):
            defect.check()
