"""Operations on a timeline, and the states that are visible if they are interrupted."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import pytest
from invariants import (
    PREFIX,
    TIMELINE,
    Blobs,
    Inspection,
    contents,
    inspect_timeline,
    named_blobs,
    pictures,
    require,
    rows_of,
    sides_of,
)

import media
from dying import dying_at
from framecache import FrameCacheError, Timeline
from framecache._core import keys
from framecache._index import Index, PartBuilder, current_manifest
from framecache._ingest import extraction_run, rolling_compaction, segments
from framecache._maintain.gc import plan_gc
from framecache.model import Layout
from framecache.store import Store
from framecache.testing import Crash

FIRST: Final = frozenset({0, 1})
SECOND: Final = frozenset({2, 3, 4})
THIRD: Final = frozenset({5})
"""The sequences of each of `chunks`."""

BOTH: Final = FIRST | SECOND
SEGMENTS: Final = tuple(frozenset({number}) for number in range(3))
LONG: Final = frozenset(range(3))
DAMAGED_MANIFEST: Final = b"{}"
_NEIGHBOUR: Final = "neighbour"
_FOLDERS: Final = ("frames", "packs", "renditions", "index", "claims")


class _Unfinished(FrameCacheError):
    """Error of a program whose report says that it did not do everything."""


@dataclass(frozen=True)
class Operation:
    """Operation of a program, and the frames that may be visible if it is interrupted."""

    name: str
    run: Callable[[Store], object]
    prepare: Callable[[Store], object] = lambda _store: None
    """Leads to the state in which it begins."""
    before: AbstractSet[int] = frozenset()
    """Sequences that can be read when it begins."""
    after: AbstractSet[int] = frozenset()
    """Sequences that can be read when it is done."""
    damaged: AbstractSet[int] = frozenset()
    """Sequences that are committed and, when it begins, cannot be read."""
    together: tuple[AbstractSet[int], ...] = ()
    """Frames that become visible together, as those of a chunk do."""
    starts_new_epoch: bool = False
    """True if a new epoch replaces the frames that could be read before."""
    settings: tuple[int | None, int] = (None, 85)
    """Sampling interval afterwards, None for all frames, and the JPEG quality."""
    renditions: tuple[int, ...] = ()
    """Sizes of the renditions that each frame has afterwards."""
    layout: Layout = "objects"
    """Layout afterwards, and after the timeline is filled again."""
    is_slow: bool = False
    """True if its leases would become stale without heartbeats."""
    tidies: bool = False
    """True if every frame and index file that is left afterwards is referenced."""
    leaves_gaps: bool = False
    """True if a chunk that was not cached is not cached afterwards."""
    leaves_nothing: bool = False
    """True if no blob of the timeline is left afterwards."""
    is_of_written_frames: bool = False
    """True if the frames are written from memory."""
    stride: int = 1
    """Distance between the points that the short form of the crash proof tries."""

    def refill(self, store: Store) -> AbstractSet[int]:
        """Fill the cleared timeline; return the sequences that it must have then."""
        if self.is_of_written_frames:
            Timeline(store, TIMELINE).write(pictures(range(4)), layout=self.layout, workers=1)
            return frozenset(range(4))
        Timeline(store, TIMELINE).extract(chunks(3), layout=self.layout, workers=1)
        return BOTH | THIRD


def chunks(count: int) -> list[str]:
    """The first of three clips, of 2, 3 and 1 frames, in which every frame is another picture."""
    made = [media.made(f"proof-{number}.mp4", _maker(number)) for number in range(count)]
    return [str(path) for path in made]


def _maker(number: int) -> Callable[[Path], Path]:
    sequences = (FIRST, SECOND, THIRD)[number]
    brightness = f"20+30*(N+{min(sequences)})+X"
    source = f"color=size=32x32:rate=25,geq=lum='{brightness}':cb=128:cr=128"
    return lambda path: media.make_clip(path, source=source, frames=len(sequences))


def extract(store: Store) -> object:
    """Extract the first two chunks."""
    return Timeline(store, TIMELINE).extract(chunks(2), workers=1)


def _extract_into_packs(store: Store) -> object:
    return Timeline(store, TIMELINE).extract(chunks(2), layout="packs", workers=1)


def repack(layout: Layout) -> Callable[[Store], object]:
    """Return what moves the frames to a layout."""
    return lambda store: Timeline(store, TIMELINE).repack(layout, workers=1)


def long_chunk() -> str:
    """A chunk of three frames, each of which is a keyframe."""
    source = "color=size=32x32:rate=25,geq=lum='20+30*N+X':cb=128:cr=128"
    frames = ["-g", "1"]
    path = media.made(
        "proof-long.mp4",
        lambda path: media.make_clip(path, source=source, frames=len(LONG), extra=frames),
    )
    return str(path)


def extract_segments(store: Store, layout: Layout = "objects") -> object:
    """Extract a chunk in segments of a frame each, which are compacted after every second."""
    with (
        mock.patch.object(segments, "LIMITS", segments.SegmentLimits(Fraction(0), min_frames=1)),
        mock.patch.object(extraction_run, "MAX_PROBED_PARTS", 1),
        mock.patch.object(rolling_compaction, "COMMITS_BETWEEN_CHECKS", 1),
        mock.patch.object(rolling_compaction, "COMMITS_BETWEEN_COMPACTIONS", 2),
    ):
        return Timeline(store, TIMELINE).extract([long_chunk()], layout=layout, workers=1)


def _extract_segments_into_packs(store: Store) -> object:
    return extract_segments(store, "packs")


def _damage_segments(store: Store) -> object:
    """Extract segments, and lose a frame and the compaction."""
    extract_segments(store)
    compactions = [key for key in contents(store) if key.endswith(".compacted")]
    return store.delete([*compactions, keys.frame(TIMELINE, 2)])


def append(store: Store) -> object:
    """Append the third chunk."""
    return Timeline(store, TIMELINE).append(chunks(3)[2], workers=1)


def write(sequences: range, layout: Layout | None = None) -> Callable[[Store], object]:
    """Return what writes frames of `pictures`."""
    return lambda store: Timeline(store, TIMELINE).write(
        pictures(sequences), layout=layout, workers=1
    )


def clear(store: Store) -> object:
    """Clear the timeline."""
    return Timeline(store, TIMELINE).clear()


def _rebuild(store: Store) -> object:
    return Timeline(store, TIMELINE).rebuild(every=2, quality=60, workers=1)


def delete(store: Store) -> object:
    """Delete the timeline."""
    return Timeline(store, TIMELINE).delete()


def repair(store: Store) -> None:
    """Repair the timeline completely."""
    if not Timeline(store, TIMELINE).verify(repair=True, workers=1).ok:
        raise _Unfinished


def collect(store: Store, *, max_bytes: int | None = None) -> None:
    """Remove unreferenced blobs."""
    plan = plan_gc(
        store, timelines=[TIMELINE], grace_seconds=0, max_bytes=max_bytes, max_age_seconds=None
    )
    if plan.execute(max_share=1).skipped:
        raise _Unfinished


def _die_beginning(store: Store) -> None:
    """Leave another extraction with a manifest and a lease, but not begun."""
    dying = dying_at(store, "create", keys.manifest(TIMELINE, 2))
    with pytest.raises(Crash):
        Timeline(dying, TIMELINE).extract(chunks(2), quality=60, workers=1)


def _leave_unreferenced_blobs(store: Store) -> None:
    """Leave the blobs of an unfinished clear, and the leases of dead programs."""
    Timeline(store, TIMELINE).extract(chunks(3), quality=60, workers=1)
    left = contents(store)
    clear(store)
    extract(store)
    for key, body in (left | contents(store)).items():
        store.put(key, body)
    for blob in list(store.list(keys.epoch_prefix(TIMELINE, _current_epoch(store)))):
        if blob.key.endswith("/000000-0.parquet"):
            store.put(blob.key.replace("-0.parquet", "-1.parquet"), store.get(blob.key))
    lease = keys.lease(TIMELINE, epoch=_current_epoch(store), part="000001", number=0)
    store.put(lease, b"{}")


def _die_appending(store: Store) -> None:
    """Leave the frames of a chunk that was not committed, under its lease."""
    extract(store)
    with pytest.raises(Crash):
        append(dying_at(store, "create", "/index/"))


def _current_epoch(store: Store) -> str:
    manifest = current_manifest(store, TIMELINE)
    assert manifest is not None
    return manifest.epoch


def _damage_frames(store: Store) -> None:
    """Flip a bit of a frame, and lose another whose bytes no program can make again."""
    extract(store)
    flipped = bytearray(store.get(keys.frame(TIMELINE, 1)))
    flipped[-9] ^= 1
    store.put(keys.frame(TIMELINE, 1), bytes(flipped))
    store.delete([keys.frame(TIMELINE, 3)])
    for blob in list(store.list(keys.indexes_prefix(TIMELINE))):
        index = Index.decode(store.get(blob.key), key=blob.key)
        if (position := index.position(3)) is not None:
            other = PartBuilder()
            other.add(replace(index.row(position), crc32c=0))
            store.put(blob.key, Index.merged([index, other.build()]).encode(b"{}"))


def lose_index_file(
    name: str, begin: Callable[[Store], object] = extract
) -> Callable[[Store], None]:
    """Return what fills a timeline, and then loses an index file."""

    def lose(store: Store) -> None:
        begin(store)
        found = [blob.key for blob in store.list(keys.indexes_prefix(TIMELINE))]
        lost = [key for key in found if key.endswith(name)]
        assert len(lost) == 1
        store.delete(lost)

    return lose


def _leave_other_frames(store: Store) -> None:
    """Leave the state of a program that died in a clear, before it removed blobs."""
    Timeline(store, TIMELINE).extract(chunks(3), quality=60, workers=1)
    left = contents(store)
    clear(store)
    for key, body in left.items():
        store.put(key, body)


def _damage_manifest(store: Store) -> None:
    extract(store)
    store.put(keys.manifest(TIMELINE, 3), DAMAGED_MANIFEST)


OPERATIONS: Final = (
    Operation("extract", extract, after=BOTH, together=(FIRST, SECOND)),
    Operation("extract slowly", extract, after=BOTH, together=(FIRST, SECOND), is_slow=True),
    Operation(
        "extract over leftovers",
        extract,
        _leave_other_frames,
        after=BOTH,
        together=(FIRST, SECOND),
    ),
    Operation(
        "extract after another program died",
        extract,
        _die_beginning,
        after=BOTH,
        together=(FIRST, SECOND),
    ),
    Operation("extract segments", extract_segments, after=LONG, together=SEGMENTS, stride=5),
    Operation(
        "extract segments into packs",
        _extract_segments_into_packs,
        after=LONG,
        together=SEGMENTS,
        layout="packs",
        stride=7,
    ),
    Operation(
        "repair segments",
        repair,
        _damage_segments,
        before=frozenset({0, 1}),
        after=LONG,
        damaged=frozenset({2}),
        stride=5,
    ),
    Operation("append", append, extract, before=BOTH, after=BOTH | THIRD, together=(THIRD,)),
    Operation(
        "write",
        write(range(3)),
        after=frozenset(range(3)),
        together=(frozenset(range(3)),),
        is_of_written_frames=True,
    ),
    Operation(
        "write more",
        write(range(2, 6)),
        write(range(3)),
        before=frozenset(range(3)),
        after=frozenset(range(6)),
        together=(frozenset(range(3, 6)),),
        is_of_written_frames=True,
    ),
    Operation("clear", clear, extract, before=BOTH, starts_new_epoch=True),
    Operation(
        "rebuild",
        _rebuild,
        extract,
        before=BOTH,
        after=frozenset({0, 1, 2}),
        together=(frozenset({0}), frozenset({1, 2})),
        starts_new_epoch=True,
        settings=(2, 60),
    ),
    Operation("delete", delete, extract, before=BOTH, starts_new_epoch=True, leaves_nothing=True),
    Operation(
        "extract into packs",
        _extract_into_packs,
        after=BOTH,
        together=(FIRST, SECOND),
        layout="packs",
    ),
    Operation(
        "append into packs",
        append,
        _extract_into_packs,
        before=BOTH,
        after=BOTH | THIRD,
        together=(THIRD,),
        layout="packs",
    ),
    Operation(
        "write into packs",
        write(range(2, 6)),
        write(range(3), "packs"),
        before=frozenset(range(3)),
        after=frozenset(range(6)),
        together=(frozenset(range(3, 6)),),
        is_of_written_frames=True,
        layout="packs",
    ),
    Operation(
        "rebuild into packs",
        lambda store: Timeline(store, TIMELINE).rebuild(layout="packs", workers=1),
        extract,
        before=BOTH,
        after=BOTH,
        together=(FIRST, SECOND),
        starts_new_epoch=True,
        layout="packs",
    ),
    Operation(
        "clear packs",
        clear,
        _extract_into_packs,
        before=BOTH,
        starts_new_epoch=True,
        layout="packs",
    ),
    Operation(
        "delete packs",
        delete,
        _extract_into_packs,
        before=BOTH,
        starts_new_epoch=True,
        leaves_nothing=True,
    ),
    Operation(
        "repack into packs", repack("packs"), extract, before=BOTH, after=BOTH, layout="packs"
    ),
    Operation(
        "repack into objects", repack("objects"), _extract_into_packs, before=BOTH, after=BOTH
    ),
    Operation(
        "repack written frames",
        repack("packs"),
        write(range(3)),
        before=frozenset(range(3)),
        after=frozenset(range(3)),
        is_of_written_frames=True,
        layout="packs",
    ),
    Operation(
        "repair frames",
        repair,
        _damage_frames,
        before=BOTH - {1, 3},
        after=BOTH,
        damaged=frozenset({1, 3}),
    ),
    Operation(
        "repair a part", repair, lose_index_file("/000000-0.parquet"), before=BOTH, after=BOTH
    ),
    Operation(
        "repair the compaction",
        repair,
        lose_index_file("/_timeline-3.compacted"),
        before=BOTH,
        after=BOTH,
    ),
    Operation(
        "repair the manifest",
        repair,
        _damage_manifest,
        after=BOTH,
        together=(BOTH,),
        starts_new_epoch=True,
    ),
    Operation("gc", collect, _leave_unreferenced_blobs, before=BOTH, after=BOTH, tidies=True),
    Operation(
        "gc of an attempt",
        collect,
        _die_appending,
        before=BOTH,
        after=BOTH,
        tidies=True,
        leaves_gaps=True,
    ),
    Operation(
        "gc to free space",
        partial(collect, max_bytes=0),
        extract,
        before=BOTH,
        starts_new_epoch=True,
        tidies=True,
    ),
)


def prepare(operation: Operation, store: Store) -> None:
    """Create the state in which an operation begins, with overlays and another timeline."""
    operation.prepare(store)
    overlay = np.full((4, 4, 3), 9, np.uint8)
    Timeline(store, TIMELINE).overlays(job_id="job", stage="edges").save(99, {"edges": overlay})
    Timeline(store, _NEIGHBOUR).write(pictures(range(2)), workers=1)


def untouchable(operation: Operation, blobs: Blobs) -> Blobs:
    """Return the blobs from before an operation that it must not change."""
    return {
        key: body
        for key, body in blobs.items()
        if not key.startswith(PREFIX)
        or (key.startswith(f"{PREFIX}overlays/") and not operation.leaves_nothing)
    }


def check_during(operation: Operation, store: Store, before: Blobs) -> Inspection:
    """Inspect a timeline during an operation, or after its program died.

    Raises:
        Violation: the state is not allowed.
    """
    _check_unchanged(store, before)
    state = inspect_timeline(
        store,
        kept=untouchable(operation, before),
        damaged=operation.damaged,
        damaged_manifest=DAMAGED_MANIFEST,
    )
    if operation.starts_new_epoch and _epoch(state.document) in _epochs(before):
        require(
            state.frames == operation.before, f"of the old epoch {sorted(state.frames)} is left"
        )
        return state
    kept = frozenset() if operation.starts_new_epoch else operation.before
    new = state.frames - kept
    require(kept <= state.frames, f"frames {sorted(kept - state.frames)} are lost")
    require(state.frames <= kept | operation.after, f"frames {sorted(new)} came from nowhere")
    for group in operation.together:
        require(group <= new or not group & new, f"of {sorted(group)}, only {sorted(new)} came")
    return state


def check_done(operation: Operation, store: Store, before: Blobs) -> None:
    """Inspect a timeline after an operation that reported success.

    Raises:
        Violation: the operation is incomplete or wrong.
    """
    if operation.leaves_nothing:
        left = [key for key in contents(store) if key.startswith(PREFIX)]
        require(not left, f"{left} is left behind")
    state = check_during(operation, store, before)
    require(
        state.frames == operation.after, f"{operation.name} is done with {sorted(state.frames)}"
    )
    is_complete = bool(operation.after) and not operation.leaves_gaps
    require(state.is_complete == is_complete, f"what is done has complete {state.is_complete}")
    if operation.damaged:
        inspect_timeline(store)
    if operation.tidies:
        _check_tidy(store, state)
    if state.document is not None:
        jpeg, layout = state.document["jpeg"], state.document["layout"]
        settings = (state.document["sampling"].get("n"), jpeg["quality"])
        renditions = tuple(jpeg.get("renditions", ()))
        is_right = not operation.after or (settings, renditions, layout) == (
            operation.settings,
            operation.renditions,
            operation.layout,
        )
        require(is_right, f"its settings are {settings}, {renditions}, {layout}")
        for row in rows_of(contents(store), state.document):
            require(
                set(sides_of(row)) == set(operation.renditions),
                f"frame {row['sequence']} has renditions {sides_of(row)}",
            )
    if operation.starts_new_epoch:
        require(_epoch(state.document) not in _epochs(before), "the old epoch continues")


def check_refill(operation: Operation, store: Store, before: Blobs) -> None:
    """Clear the timeline and fill it again, as if it were new.

    Raises:
        Violation: something that was left behind prevents it.
    """
    kept = untouchable(operation, before)
    clear(store)
    left = [
        key
        for key in contents(store)
        if key.startswith(tuple(f"{PREFIX}{folder}/" for folder in _FOLDERS))
    ]
    require(not left, f"a clear leaves {left} behind")
    require(not inspect_timeline(store, kept=kept).frames, "frames can be read after a clear")
    expected = operation.refill(store)
    state = inspect_timeline(store, kept=kept)
    require(state.frames == expected, f"filling again gives {sorted(state.frames)}")
    require(state.is_complete, "filling again does not complete the timeline")


def _check_tidy(store: Store, state: Inspection) -> None:
    prefixes = tuple(f"{PREFIX}{folder}/" for folder in ("frames", "packs", "renditions", "index"))
    blobs = contents(store)
    left = {key for key in blobs if key.startswith(prefixes)} - named_blobs(blobs, state.document)
    require(not left, f"{sorted(left)} are left, which nothing names")


def _check_unchanged(store: Store, before: Blobs) -> None:
    """Require that manifests and index files are unchanged or removed."""
    for key, body in contents(store).items():
        if key.startswith((f"{PREFIX}index/", f"{PREFIX}timeline/")):
            require(body == before.get(key, body), f"{key} was changed in place")


def _epoch(document: dict[str, Any] | None) -> str | None:
    return None if document is None else str(document["epoch"])


def _epochs(blobs: Blobs) -> set[str]:
    """Return the epochs of the stored index parts."""
    folder = f"{PREFIX}index/"
    return {key.split("/")[4] for key in blobs if key.startswith(folder)}
