"""Putting right what is missing, truncated or corrupt; nothing else is touched.

A frame that is bad is made again from its chunk. Its bytes are stored first; then, if they are
not those its row names, the next generation of its index part is committed; then it is described.
So a repair can stop anywhere and be repeated.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from framecache import claims, keys, video
from framecache._version import __version__
from framecache.claims import Claims
from framecache.errors import BadChunk, Cleared, CorruptFrame
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    advance,
    commit_repair,
    compact,
    current_description,
    ensure_current,
    fetch,
    load,
)
from framecache.ingest.chunk_frames import about_chunk, picture_bytes_of, store_frames
from framecache.ingest.encode import EncodedFrame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.plan import plan
from framecache.ingest.slot import Slot
from framecache.ingest.storage import FrameStorage, ObjectStorage, storage_of
from framecache.manifest import ChunkEntry, Description
from framecache.store import BlobMissing, BlobOutside, Store, open_blob_file
from framecache.verify.index_files import IndexFiles
from framecache.verify.report import Finding
from framecache.verify.stored_frames import OUTSIDE, Verdict

_LOOK_AGAIN_SECONDS: Final = 1.0
_PATIENCE: Final = 2
"""How often the time after which a claim is stale is waited for one that is not."""

_WRITTEN_FRAME: Final = "a program wrote it: have it write the frame again"
_WRITTEN_PART: Final = "a program wrote its frames: clear the timeline, and have them written again"


class NotRepairable(Exception):
    """Why something stays as it is, and what to do about it."""


class Repair:
    """One run's repairs of one timeline; a context manager that compacts the index at the end."""

    def __init__(
        self,
        store: Store,
        files: IndexFiles,
        sources: Mapping[int | None, Finding],
        *,
        compare: Callable[[Iterable[FrameRow]], Iterator[Verdict]],
        workers: int,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            store: where the timeline lies.
            files: its index as it was read.
            sources: what is to be said of videos, by chunk.
            compare: compares stored frames with their rows.
            workers: threads that decode and encode.
        """
        self._store = store
        self._files = files
        self._sources = sources
        self._compare = compare
        self._workers = workers
        self._description = files.description
        self._claims = Claims(store, files.description)
        self._is_index_whole = True
        self._outside: set[int] = set()
        """Frames whose place is behind a link, where nothing is stored either."""

    def __enter__(self) -> Self:
        self._claims.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._compact()
        finally:
            self._claims.__exit__(kind, error, traceback)

    def index(self) -> tuple[Mapping[str, Index], list[Finding]]:
        """Repair the index; returns the rows of every part, and what became of its findings."""
        entries = {entry.part: entry for entry in self._files.description.chunks}
        rows = dict(self._files.rows)
        findings: list[Finding] = []
        for part, finding in self._files.broken_parts.items():
            try:
                rows[part] = self._part(part, entries.get(part))
            except NotRepairable as reason:
                self._is_index_whole = False
                findings.append(not_repaired(finding, str(reason)))
            else:
                findings.append(replace(finding, repaired=True))
        if self._files.broken_compaction is not None:
            self._drop_compaction()
            findings.append(replace(self._files.broken_compaction, repaired=True))
        return {
            part: rows[part] for part in self._files.description.parts if part in rows
        }, findings

    def frames(self, entry: ChunkEntry, rows: Index, bad: Sequence[Finding]) -> Iterator[Finding]:
        """Store the bad frames of a chunk again; gives out what became of each."""
        wanted = {finding.sequence for finding in bad if finding.sequence is not None}
        try:
            stored = self._frames(entry, rows, wanted)
        except NotRepairable as reason:
            yield from (not_repaired(finding, str(reason)) for finding in bad)
            return
        verdicts: dict[int | None, Verdict] = {
            verdict.row.sequence: verdict for verdict in self._compare(stored)
        }
        for finding in bad:
            verdict = verdicts.get(finding.sequence)
            if finding.sequence in self._outside:
                yield not_repaired(finding, "then repair again")
            elif verdict is None:
                yield not_repaired(finding, "now it cannot be decoded: rebuild the timeline")
            elif verdict.kind != "ok":
                yield not_repaired(finding, f"stored again, {verdict.detail}: check the store")
            else:
                yield replace(finding, repaired=True)

    def _frames(self, entry: ChunkEntry, rows: Index, wanted: Collection[int]) -> list[FrameRow]:
        """Store some frames again and commit their rows; those that gave a picture."""
        with self._claimed(entry.part):
            others = self._rows_now(entry.part)
            known = rows if others is None else others
            if self._description.settings.layout == "packs":
                self._ensure_other_rows_count()  # those of a pack are always others
            made = [
                row
                for row in self._stored(entry, wanted).rows
                if row.status == "ok" and row.sequence not in self._outside
            ]
            positions = [known.position(row.sequence) for row in made]
            before = known.rows([position for position in positions if position is not None])
            if made != before:
                merged = Index.merged([known, _index_of(made)])
                self._commit_other_rows(entry, merged)
        return made

    def _part(self, part: str, entry: ChunkEntry | None) -> Index:
        """Commit a part anew whose file is damaged or gone; returns its rows."""
        rows = self._files.rows.get(part)
        if rows is None and entry is None:
            raise NotRepairable(_WRITTEN_PART)
        with self._claimed(part):
            if (others := self._rows_now(part)) is not None:
                return others
            if rows is not None:
                self._commit(part, rows, {"framecache": __version__})
                return rows
            assert entry is not None
            self._ensure_other_rows_count()
            everything = range(entry.first_sequence, entry.stop_sequence)
            made = self._stored(entry, everything).build()
            if self._outside.intersection(everything):
                raise NotRepairable(f"of its frames {min(self._outside)}: {OUTSIDE}")
            self._commit_other_rows(entry, made)
            return made

    def _stored(self, entry: ChunkEntry, wanted: Collection[int]) -> PartBuilder:
        """Decode some frames of a chunk and store them; returns when all are acknowledged."""
        if (source := self._sources.get(entry.chunk_id)) is not None:
            raise NotRepairable(_without_source(source))
        threads = max(1, self._workers // 2)
        layout = self._description.settings.layout
        try:
            with (
                open_blob_file(
                    entry.url, expected_etag=entry.etag, expected_size=entry.size_bytes
                ) as file,
                EncoderPool(
                    self._store,
                    layout,
                    workers=self._workers,
                    picture_bytes=picture_bytes_of(entry),
                ) as encoders,
                self._storage(entry.part, encoders) as storage,
            ):
                scan = video.scan(file, name=entry.url)
                planned = plan(entry, scan, self._description.settings.sampling)
                part = store_frames(
                    file,
                    self._description,
                    entry,
                    planned.only(wanted),
                    storage,
                    threads=threads,
                    check=partial(self._ensure_mine, entry.part),
                )
                self._ensure_mine(entry.part)
        except BadChunk as error:
            raise NotRepairable(str(error)) from error
        return part

    def _storage(self, part: str, encoders: EncoderPool) -> AbstractContextManager[FrameStorage]:
        if self._description.settings.layout == "packs":
            return storage_of(self._store, self._description, part, encoders)
        return ObjectStorage(self._description.timeline_id, encoders, self._put)

    def _put(self, slot: Slot, encoded: EncodedFrame) -> None:
        try:
            self._store.put(keys.frame(self._description.timeline_id, slot.sequence), encoded.data)
        except BlobOutside:
            self._outside.add(slot.sequence)

    def _commit_other_rows(self, entry: ChunkEntry, rows: Index) -> None:
        """Commit rows that the compaction does not hold, which counts no longer then."""
        self._ensure_other_rows_count()
        self._commit(entry.part, rows, about_chunk(entry), compaction=None)

    def _ensure_other_rows_count(self) -> None:
        if self._files.broken_compaction is None and not self._is_index_whole:
            raise NotRepairable("an index part that only the compaction tells comes first")

    def _commit(
        self,
        part: str,
        rows: Index,
        about: Mapping[str, Any],
        **changes: Any,  # noqa: ANN401 -- of a description
    ) -> None:
        """Make some rows those of a part that count, unless another's came to count meanwhile."""
        before = self._description.generations.get(part, 0)
        generation = commit_repair(self._store, self._description, part, rows, about=about)

        def change(current: Description | None) -> Description:
            latest = self._require_epoch(current)
            if latest.generations.get(part, 0) != before:
                return latest
            generations = {**latest.generations, part: generation}
            return latest.next_version(generations=generations, **changes)

        self._description = advance(self._store, self._description.timeline_id, change)
        if self._description.generations.get(part) != generation:
            raise NotRepairable("another program repaired it at the same time: verify again")

    @contextmanager
    def _claimed(self, part: str) -> Iterator[None]:
        """Work on a part while nobody else does; waits for a claim that may be a dead program's."""
        deadline = time.monotonic() + _PATIENCE * claims.STALE_AFTER_SECONDS
        self._claims.look()
        while not self._claims.take(part):
            if time.monotonic() > deadline:
                raise NotRepairable("another program is at work on it: verify again later")
            time.sleep(_LOOK_AGAIN_SECONDS)
            self._claims.look()
        try:
            yield
        finally:
            self._claims.release(part)

    def _ensure_mine(self, part: str) -> None:
        """Whoever slept must not store over what others have made meanwhile."""
        ensure_current(self._store, self._description)
        if not self._claims.holds(part):
            raise NotRepairable("another program took this repair over: verify again later")

    def _rows_now(self, part: str) -> Index | None:
        """The rows of a part that was repaired since the index was read; None where none was."""
        timeline_id = self._description.timeline_id
        self._description = self._require_epoch(current_description(self._store, timeline_id))
        key = self._description.index_key(part)
        if key == self._files.description.index_key(part):
            return None
        try:
            return fetch(self._store, key, Index.decode)
        except (BlobMissing, CorruptFrame) as error:
            raise NotRepairable("its last repair is damaged as well: verify again") from error

    def _require_epoch(self, current: Description | None) -> Description:
        if current is None or current.epoch != self._description.epoch:
            raise Cleared(
                f"timeline {self._description.timeline_id} in {self._store.url} was cleared, "
                f"rebuilt or deleted by another program while it was repaired: start again"
            )
        return current

    def _drop_compaction(self) -> None:
        """Describe that there is no compaction, unless there is another by now."""
        dropped = self._files.description.compaction

        def change(current: Description | None) -> Description:
            latest = self._require_epoch(current)
            return latest.next_version(compaction=None) if latest.compaction == dropped else latest

        self._description = advance(self._store, self._description.timeline_id, change)

    def _compact(self) -> None:
        """Where there was a compaction that no longer counts, make one of what counts now."""
        had = self._files.description.compaction is not None
        if not had or self._description.compaction is not None or not self._is_index_whole:
            return
        self._claims.look()
        if not self._claims.take(keys.COMPACTION):
            return
        timeline_id = self._description.timeline_id
        latest = self._require_epoch(current_description(self._store, timeline_id))
        snapshot = load(self._store, latest)
        if latest.compaction is None and snapshot.is_complete:
            compact(self._store, latest, snapshot.index)


def not_repaired(finding: Finding, reason: str) -> Finding:
    """A finding that stays, with the reason and the way out."""
    return replace(finding, detail=f"{finding.detail}; {reason}")


def not_from_chunk(finding: Finding) -> Finding:
    """A finding about a frame for which there is no chunk to go back to."""
    return not_repaired(finding, _WRITTEN_FRAME)


def _without_source(source: Finding) -> str:
    if source.kind == "source_gone":
        return f"its video {source.key} is gone: give it back, or clear the timeline"
    return f"its video {source.key} changed: give the old one back, or rebuild the timeline"


def _index_of(rows: Sequence[FrameRow]) -> Index:
    part = PartBuilder()
    for row in rows:
        part.add(row)
    return part.build()
