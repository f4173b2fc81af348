"""Defects inserted into the replacement of frames, to test that the proofs detect them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from invariants import Violation, contents, restore
from processes import Process, points, run_until
from test_crash_replace import CASES, Matrix, read
from test_crash_replace import replace as replace_frames
from test_race_replace import WRITE_AND_MOVE, Interleaving

from framecache import FrameCacheError
from framecache._index import Index
from framecache._index.lease import LeaseManager
from framecache._ingest import frame_writer, relocation, writing
from framecache._ingest.frame_writer import FrameWriter
from framecache._ingest.relocation import _Relocation
from framecache.store import open_store


def every_crash() -> None:
    """The short crash proof of replacing in layout objects."""
    store = open_store("memory://seeded-replace")
    restore(store, {})
    matrix = Matrix(CASES[0], store)
    for point in points(Process("first"), replace_frames, store)[:: CASES[0].stride]:
        matrix.begin(matrix.before)
        is_done = run_until(point, Process("first"), replace_frames, store)
        matrix.check_continuation(contents(store), is_done=is_done)


def every_crash_of_another_programs_frames() -> None:
    store = open_store("memory://seeded-adopt")
    restore(store, {})
    matrix = Matrix(CASES[2], store)
    for point in points(Process("first"), replace_frames, store)[:: CASES[2].stride]:
        matrix.begin(matrix.before)
        run_until(point, Process("first"), replace_frames, store)
        matrix.check_during()


def every_interleaving() -> None:
    Interleaving("objects", WRITE_AND_MOVE).try_all()


@dataclass(frozen=True)
class Defect:
    """Defect of the protocol, and the check that detects it."""

    name: str
    install: Callable[[pytest.MonkeyPatch], object]
    check: Callable[[], object]


def _store_under_public_key_first(patch: pytest.MonkeyPatch) -> None:
    """Store the new picture under its public name before it is committed."""
    compare = FrameWriter._compare  # noqa: SLF001 -- the defect

    def compare_and_put(self: FrameWriter, *given: object) -> object:
        decided = compare(self, *given)  # type: ignore[arg-type]  # as it was called
        if decided is not None:
            slot, encoded = decided
            row = self._cached.row(self._cached.position(slot.sequence) or 0)
            self._store.put(row.key, encoded.data)
        return decided

    patch.setattr(FrameWriter, "_compare", compare_and_put)


def remove_packs_first(patch: pytest.MonkeyPatch) -> None:
    """Remove the pack before a manifest names the new location of the frames."""
    move_frames = _Relocation._move_frames  # noqa: SLF001 -- the defect

    def move_and_remove(self: _Relocation, state: relocation._CommittedState) -> set[int]:
        moved = move_frames(self, state)
        self._remove_packs(state, moved)
        return moved

    patch.setattr(_Relocation, "_move_frames", move_and_remove)


def keep_old_times(patch: pytest.MonkeyPatch) -> None:
    """Treat frames with the same picture as equal, regardless of their metadata."""
    difference = frame_writer._find_difference  # noqa: SLF001 -- the defect

    def of_picture(*given: object) -> str:
        found = difference(*given)  # type: ignore[arg-type]  # as it was called
        return found if found == "picture" else ""

    patch.setattr(frame_writer, "_find_difference", of_picture)


def _relocate_without_lease(patch: pytest.MonkeyPatch) -> None:
    """Let several programs relocate frames at the same time."""
    patch.setattr(relocation, "_acquire_lease", lambda _held, **_: True)
    patch.setattr(_Relocation, "_require_lease", lambda _self: None)


def _trust_stale_lease(patch: pytest.MonkeyPatch) -> None:
    """Commit relocated frames although a delayed program may still overwrite them."""
    patch.setattr(LeaseManager, "has_taken_over", lambda _self, _part: False)


def _share_public_key(patch: pytest.MonkeyPatch) -> None:
    """Commit a public name under which another program has committed a frame."""
    patch.setattr(writing._WriteCall, "_has_public_key", lambda _self, _row: False)  # noqa: SLF001


def _omit_first_row(patch: pytest.MonkeyPatch) -> None:
    """Leave out frames that are cached, and so keep some of the old ones."""
    index_of = writing._build_index  # noqa: SLF001 -- the defect

    def without_the_first(placed: frame_writer.WriteResult, part: str, cached: Index) -> Index:
        rows = dict(sorted(placed.rows.items())[1:])
        return index_of(replace(placed, rows=rows), part, cached)

    patch.setattr(writing, "_build_index", without_the_first)


def _skip_adoption(patch: pytest.MonkeyPatch) -> None:
    """Create a manifest without adopting another program's frames."""
    patch.setattr(writing, "import_unindexed", lambda _store, first, **_: first)


DEFECTS = [
    Defect("the public name is overwritten first", _store_under_public_key_first, every_crash),
    Defect("packs are removed first", remove_packs_first, every_crash),
    Defect("old times are kept", keep_old_times, every_crash),
    Defect("a row is left out", _omit_first_row, every_crash),
    Defect("no lease is acquired", _relocate_without_lease, every_interleaving),
    Defect("a stale lease is trusted", _trust_stale_lease, every_interleaving),
    Defect("a public name is shared", _share_public_key, every_interleaving),
    Defect("others' frames are lost", _skip_adoption, every_crash_of_another_programs_frames),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_seeded_defect_is_detected(defect: Defect) -> None:
    with pytest.MonkeyPatch.context() as patch:
        defect.install(patch)
        with pytest.raises((Violation, FrameCacheError, KeyError)):
            defect.check()


def test_check_passes_without_a_defect() -> None:
    every_crash_of_another_programs_frames()
    assert read(open_store("memory://seeded-adopt"))
