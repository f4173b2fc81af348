"""Moving the frames of a timeline into another layout; the JPEGs stay as they are, to the byte.

Each part's frames are stored in the new layout, then its next generation is committed, which names
them there. One description makes all of these count at once; until then nothing has changed, and
readers meet complete timelines before and after. Only then what is no longer named is removed.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from threading import Lock
from typing import Final

import numpy as np

from framecache import claims, keys
from framecache._version import __version__
from framecache.claims import FRAMES_BETWEEN_CHECKS, Claims
from framecache.errors import (
    Cleared,
    CorruptFrame,
    FrameCacheError,
    NotCached,
    StoreDenied,
    StoreUnavailable,
)
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    Snapshot,
    advance,
    commit_repair,
    compact,
    current_description,
    ensure_current,
    is_latest,
    is_stored,
    load,
    load_parts,
    rows_that_count,
)
from framecache.ingest import settle
from framecache.ingest.encode import EncodedFrame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.slot import Slot
from framecache.ingest.storage import FrameStorage, storage_of
from framecache.manifest import Description, new_write_id
from framecache.model import Layout, Progress, ProgressCallback
from framecache.reader import FrameSource, read_fetched
from framecache.repack.report import RepackReport
from framecache.store import Store
from framecache.sweep import withdraw_if_deleted

_BATCH: Final = 1000
_LOOK_AGAIN_SECONDS: Final = 1.0
_PATIENCE: Final = 2
"""How often the time after which a claim is stale is waited for one that is not."""


def repack(
    store: Store,
    timeline_id: str,
    layout: Layout,
    *,
    workers: int,
    progress: ProgressCallback | None = None,
) -> RepackReport:
    """Bring all committed frames of a timeline into a layout; nothing is encoded again.

    Raises:
        NotCached: nothing of the timeline is described.
        CorruptFrame: a frame is damaged; the timeline is as it was.
        Cleared: another program cleared the timeline meanwhile.
        StoreUnavailable: another program is at work on a part of it.
    """
    began = time.monotonic()
    described = current_description(store, timeline_id)
    if described is None:
        raise NotCached(
            f"timeline {timeline_id} in {store.url} is not described, so its layout cannot be "
            f"changed: extract it first"
        )
    with Claims(store, described) as held:
        run = _Run(store, described, layout, held, workers, progress)
        try:
            run.claim_written()
            moved = run.move_all()
        except Cleared:
            withdraw_if_deleted(store, timeline_id)
            raise
        removed = run.remove_unnamed(moved)
    if run.is_outdated():
        # Who wrote meanwhile has left its frames in packs to this program.
        settle(store, timeline_id, workers=workers, waits=False)
    frames = sum(part.frames for part in moved)
    return RepackReport(
        timeline_id=timeline_id,
        layout=layout,
        frames_moved=frames,
        parts_moved=len(moved),
        bytes_moved=sum(part.bytes_moved for part in moved),
        blobs_removed=removed,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class _Moved:
    """A part whose frames lie in the new layout, too."""

    part: str
    generation: int
    """The one that names them there."""
    replaces: int
    """The one that names them where they were."""
    keys_before: Sequence[str]
    packs: Sequence[str]
    """Those that its frames were stored in."""
    frames: int
    bytes_moved: int


class _Run:
    """One change of the layout of one timeline."""

    def __init__(
        self,
        store: Store,
        described: Description,
        layout: Layout,
        held: Claims,
        workers: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._store = store
        self._described = described
        self._target = replace(described, settings=replace(described.settings, layout=layout))
        self._claims = held
        self._workers = workers
        self._progress = progress
        self._done = self._total = 0
        self._counting = Lock()

    def claim_written(self) -> None:
        """Have no other program move frames meanwhile that a program wrote.

        Raises:
            StoreUnavailable: another is at it.
        """
        if not self._described.written_parts:
            return
        self._claim(keys.MOVING)
        latest = current_description(self._store, self._described.timeline_id)
        if latest is None or latest.epoch != self._described.epoch:
            ensure_current(self._store, self._described)
        else:
            layout = self._target.settings.layout
            self._described = latest
            self._target = replace(latest, settings=replace(latest.settings, layout=layout))

    def is_outdated(self) -> bool:
        """Whether frames that others wrote meanwhile may lie otherwise."""
        if self._target.settings.layout == "packs" or self._described.chunks:
            return False
        latest = current_description(self._store, self._described.timeline_id)
        return latest is not None and latest.written_parts != self._described.written_parts

    def move_all(self) -> list[_Moved]:
        """Store all frames that lie otherwise anew, and describe that they are there."""
        wanted = {
            part: index
            for part, index in self._committed().items()
            if not _is_in_layout(index, self._target.settings.layout)
        }
        counting = self._without_replaced(wanted)
        self._total = sum(int(index.is_ok.sum()) for index in counting.values())
        # As long as it is there, what is stored and not described yet is nobody's leftover.
        self._claims.take(keys.writing(new_write_id()))
        self._claims.look()
        moved: list[_Moved] = []
        try:
            for part, index in wanted.items():
                keys_before = index.key[index.is_ok].tolist()
                moved.append(self._move(part, counting[part], keys_before))
                # That nobody repaired it since is looked at before it is described.
                self._claims.release(part)
        except FrameCacheError:
            self._take_back(moved)
            raise
        self._describe(moved)
        return moved

    def remove_unnamed(self, moved: Sequence[_Moved]) -> int:
        """Remove what nothing names any more, while the timeline stays in its new layout."""
        latest = current_description(self._store, self._described.timeline_id)
        if latest is None or not self._is_target(latest):
            return 0
        snapshot = load(self._store, latest)
        if not {part.part for part in moved}.isdisjoint(snapshot.missing_parts):
            return 0  # its rows are gone: what was there before may be all that is left
        named = set(snapshot.index.key.tolist())
        unnamed = (
            key for part in moved for key in dict.fromkeys(part.keys_before) if key not in named
        )
        removed = 0
        while (batch := list(islice(unnamed, _BATCH))) and is_latest(self._store, latest):
            removed += self._store.delete(batch)
        return removed

    def _committed(self) -> dict[str, Index]:
        parts = self._described.parts
        found = dict(zip(parts, load_parts(self._store, self._described, parts), strict=True))
        compaction = self._described.compaction
        for part in compaction.parts if compaction else ():
            if found[part] is None:
                ensure_current(self._store, self._described)
                raise CorruptFrame(
                    f"index part {self._described.index_key(part)} in {self._store.url} is gone; "
                    f"run: framecache verify {self._described.timeline_id} --repair"
                )
        return {part: index for part, index in found.items() if index is not None}

    def _without_replaced(self, parts: Mapping[str, Index]) -> Mapping[str, Index]:
        """The parts without the frames that were replaced since: their pictures may be gone."""
        if parts.keys().isdisjoint(self._described.written_parts):
            return parts
        whole = load(self._store, self._described).index
        return {part: rows_that_count(index, whole) for part, index in parts.items()}

    def _move(self, part: str, index: Index, keys_before: Sequence[str]) -> _Moved:
        """Store the frames of a part in the new layout, and commit where they are."""
        self._claim(part)
        layout = self._target.settings.layout
        with (
            EncoderPool(self._store, layout, workers=self._workers) as encoders,
            storage_of(self._store, self._target, part, encoders, on_stored=self._count) as storage,
        ):
            rows = PartBuilder()
            for row in self._stored(part, index, storage):
                rows.add(row)
            ensure_current(self._store, self._described)
        about = {**index.about, "framecache": __version__, "repacked": layout}
        generation = commit_repair(self._store, self._target, part, rows.build(), about=about)
        packs = dict.fromkeys(row.key for row in rows.rows if row.offset)
        return _Moved(
            part,
            generation,
            replaces=self._described.generations.get(part, 0),
            keys_before=keys_before,
            packs=list(packs),
            frames=int(index.is_ok.sum()),
            bytes_moved=int(index.size.sum()),
        )

    def _claim(self, part: str) -> None:
        """Claim a part; waits for a claim that may be a dead program's."""
        if self._claims.take(part):
            return
        timeline_id, url = self._described.timeline_id, self._store.url
        deadline = time.monotonic() + _PATIENCE * claims.STALE_AFTER_SECONDS
        while not self._claims.take(part):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another program is at work on part {part} of timeline {timeline_id} in "
                    f"{url}: try again when it is done"
                )
            time.sleep(_LOOK_AGAIN_SECONDS)
            self._claims.look()
        latest = current_description(self._store, timeline_id)
        if latest is not None and latest.index_key(part) != self._described.index_key(part):
            raise StoreUnavailable(
                f"another program repacked or repaired part {part} of timeline {timeline_id} in "
                f"{url} meanwhile: try again"
            )

    def _stored(self, part: str, index: Index, storage: FrameStorage) -> list[FrameRow]:
        """The rows of a part, its frames stored anew."""
        source = FrameSource(self._store, Snapshot(self._described, index, ()))
        positions = np.flatnonzero(index.is_ok)
        with closing(read_fetched(source, positions)) as fetched:
            for count, (one, crc32c) in enumerate(
                zip(fetched, index.crc32c[positions].tolist(), strict=True)
            ):
                if count % FRAMES_BETWEEN_CHECKS == 0:
                    self._ensure_mine(part)
                if one.row.crc32c != crc32c:
                    raise StoreUnavailable(
                        f"another program replaced frame {one.row.sequence} of timeline "
                        f"{self._described.timeline_id} in {self._store.url} while it was "
                        f"repacked: try again"
                    )
                storage.add(_slot(one.row), partial(_as_encoded, one.row, one.jpeg()))
        moved = [_elsewhere(index, row) for row in storage.finish()]
        return [*moved, *index.rows(np.flatnonzero(~index.is_ok))]

    def _take_back(self, moved: Sequence[_Moved]) -> None:
        """Remove what nobody else can have named; frames that are blobs of their own stay."""
        # Not the index parts, whose names another may use meanwhile. Who may not delete leaves the
        # packs for gc, too.
        with suppress(StoreDenied, StoreUnavailable):
            self._store.delete([key for one in moved for key in one.packs])

    def _ensure_mine(self, part: str) -> None:
        """Whoever slept must not store over what others have made meanwhile."""
        ensure_current(self._store, self._described)
        if not self._claims.holds(part):
            raise StoreUnavailable(
                f"another program took part {part} of timeline {self._described.timeline_id} in "
                f"{self._store.url} over while this one was silent: try again"
            )

    def _count(self, _: Slot) -> None:
        with self._counting:
            self._done += 1
            if self._progress is not None:
                self._progress(Progress(self._done, self._total))

    def _describe(self, moved: Sequence[_Moved]) -> None:
        """Have the new generations, and the layout, count; all at once."""

        def change(current: Description | None) -> Description:
            if current is None or current.epoch != self._described.epoch:
                raise Cleared(
                    f"timeline {self._described.timeline_id} in {self._store.url} was cleared, "
                    f"rebuilt or deleted by another program while it was repacked: start again"
                )
            if not moved and current.settings == self._target.settings:
                return current
            self._require_stored(moved)
            for part in moved:
                if current.generations.get(part.part, 0) != part.replaces:
                    raise StoreUnavailable(
                        f"another program repaired part {part.part} of timeline "
                        f"{current.timeline_id} while it was repacked: try again"
                    )
            generations = {part.part: part.generation for part in moved}
            return current.next_version(
                settings=self._target.settings,
                generations={**current.generations, **generations},
                compaction=None if moved else current.compaction,
            )

        described = advance(self._store, self._described.timeline_id, change)
        if not moved:
            return
        snapshot = load(self._store, described)
        if snapshot.is_complete:
            compact(self._store, described, snapshot.index)
        else:
            # Were the only version that tells where the frames are now damaged, the one before it
            # would name what is about to be removed.
            advance(self._store, described.timeline_id, _once_more)

    def _require_stored(self, moved: Sequence[_Moved]) -> None:
        """Make sure that nobody has taken away what is about to be described."""
        for part in moved:
            key = keys.index_part(
                self._described.timeline_id,
                epoch=self._described.epoch,
                part=part.part,
                generation=part.generation,
            )
            if not is_stored(self._store, key):
                raise StoreUnavailable(
                    f"{key} in {self._store.url} was removed by another program while the timeline "
                    f"was repacked: try again"
                )

    def _is_target(self, latest: Description) -> bool:
        is_same_epoch = latest.epoch == self._described.epoch
        return is_same_epoch and latest.settings.layout == self._target.settings.layout


def _once_more(current: Description | None) -> Description:
    if current is None:
        raise Cleared("the timeline was deleted by another program while it was repacked")
    return current.next_version()


def _is_in_layout(index: Index, layout: Layout) -> bool:
    """Whether all rows lie as a layout has them; those without a picture do in any."""
    in_packs = index.offset[index.is_ok] > 0
    return bool(in_packs.all() if layout == "packs" else not in_packs.any())


def _elsewhere(index: Index, stored: FrameRow) -> FrameRow:
    """The row of a frame at its new place, as it was otherwise."""
    position = index.position(stored.sequence)
    assert position is not None
    return replace(index.row(position), key=stored.key, offset=stored.offset)


def _slot(row: FrameRow) -> Slot:
    return Slot(row.sequence, row.chunk_id, row.pts, row.timestamp, row.duration)


def _as_encoded(row: FrameRow, jpeg: bytes) -> EncodedFrame:
    return EncodedFrame(jpeg, row.width, row.height, row.crc32c, row.perceptual_hash)
