"""Writing of frames from memory to a timeline."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from framecache._core import keys
from framecache._core.manifest import Manifest, Settings, first_manifest, new_write_id
from framecache._core.numeric import as_fraction, as_index, format_value
from framecache._core.times import SECONDS_LIMIT
from framecache._index import (
    FrameRow,
    Index,
    PartBuilder,
    commit_part,
    compact,
    current_manifest,
    ensure_current,
    load_parts,
    load_snapshot_at,
    update_manifest,
)
from framecache._index.lease import LeaseManager
from framecache._ingest.durations import with_durations
from framecache._ingest.frame_encoding import JpegFrame
from framecache._ingest.frame_writer import (
    FrameWriter,
    WriteResult,
    copy_to_private_storage,
    find_row_difference,
    frame_conflict,
)
from framecache._ingest.relocation import is_relocated, relocate
from framecache._ingest.resolve import SettingsResolver, layout_conflict, reject_unindexed_frames
from framecache._ingest.unindexed import drop_removed_frames, import_unindexed
from framecache._layouts import LAYOUTS, layout_of
from framecache._media import jpeg
from framecache._version import __version__
from framecache.errors import (
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    StoreUnavailable,
    TimelineCleared,
)
from framecache.model import Frame, JpegSettings, OnConflict, WriteReport
from framecache.store import Store

_MAX_INDEX_FILES: Final = 16
_ATTEMPTS: Final = 100
_MAX_CHUNKS: Final = 2**31
_MAX_HASH_CHARACTERS: Final = 256


def write(
    store: Store,
    timeline_id: str,
    frames: Iterable[Frame | JpegFrame],
    *,
    resolve_settings: SettingsResolver,
    on_conflict: OnConflict,
    workers: int,
) -> WriteReport:
    """Add ``frames`` to those written before, and return a report.

    All frames become visible at once, after the last one is stored. Frames that are cached
    already and do not differ are skipped, so a batch can be written again after a failure.

    Raises:
        InvalidValue: an image, sequence, time, chunk or hash is invalid, or a sequence was given
            twice.
        SettingsConflict: the settings differ from the timeline's; or ``on_conflict`` is
            ``"raise"``, and a sequence is cached with another picture, time, hash, chunk or
            quality; or the manifest lists chunks.
    """
    asked = resolve_settings(None).jpeg
    manifest = _resolve_manifest(store, timeline_id, resolve_settings, on_conflict, workers=workers)
    # Read after the manifest, so that frames committed in between are noticed at the commit.
    cached = load_snapshot_at(store, manifest).index
    call = _WriteCall(store, manifest, cached, asked, on_conflict, workers)
    try:
        with LeaseManager(store, manifest) as leases:
            # This lease does not exclude other writers. It stops a sweep of cleared frames.
            leases.acquire(keys.write_lease_part(new_write_id()))
            report = call.store_all(frames)
    except BaseException:
        with suppress(FrameCacheError):  # the first error is the one to report
            call.relocate()
        raise
    call.relocate()
    _compact_if_needed(store, call.manifest)
    return report


class _WriteCall:
    """Work of one call of `write`."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        cached: Index,
        requested: JpegSettings,
        on_conflict: OnConflict,
        workers: int,
    ) -> None:
        self.manifest = manifest
        self._has_unrelocated = not is_relocated(manifest, cached)
        self._has_created = False
        """True if frames were created under public keys."""
        self._is_committed = False
        self._store = store
        self._cached = cached
        self._requested = requested
        self._on_conflict: OnConflict = on_conflict
        self._workers = workers
        self._cleanups: list[Callable[[], None]] = []

    def store_all(self, frames: Iterable[Frame | JpegFrame]) -> WriteReport:
        """Store the frames and commit them."""
        placing = FrameWriter(
            self._store,
            self.manifest,
            self._cached,
            jpeg=self._requested,
            on_conflict=self._on_conflict,
            workers=self._workers,
        )
        self._cleanups.append(placing.discard)
        try:
            with placing:
                for frame in frames:
                    placing.add(_validate(frame))
                placed = placing.finish()
                if placed.rows:
                    ensure_current(self._store, self.manifest)
            if placed.rows:
                self._commit(placed)
            else:
                placing.cleanup_if_deleted()
        except TimelineCleared:
            placing.cleanup_if_deleted()
            raise
        except SettingsConflict:
            self._discard()
            raise
        finally:
            self._has_created = placing.has_created
        return WriteReport(
            len(placed.requested),
            stored=len(placed.added - placed.kept),
            replaced=len(placed.replaced),
            kept=len(placed.kept),
        )

    def relocate(self) -> None:
        """Move frames from packs to their public keys, if this call may be the last to do so."""
        if self._has_unrelocated or self._has_blocked_others():
            relocate(self._store, self.manifest.timeline_id, workers=self._workers, wait=False)

    def _has_blocked_others(self) -> bool:
        """Return True if others may have left frames in packs because this call took their keys.

        A call that committed its frames knows such frames already.
        """
        if self._is_committed or not self._has_created:
            return False
        current = current_manifest(self._store, self.manifest.timeline_id)
        return current is not None and current.written_parts != self.manifest.written_parts

    def _discard(self) -> None:
        for discard in self._cleanups:
            discard()

    def _commit(self, result: WriteResult) -> None:
        """Create the next free index part and name it in the manifest, which makes it visible."""
        about = {"framecache": __version__, "jpeg_encoder": jpeg.encoder_version()}
        number = len(self.manifest.written_parts)
        for _ in range(_ATTEMPTS):
            if not result.rows:
                self._discard()
                return
            part = keys.written_part(number)
            index = _build_index(result, part, self._cached)
            if commit_part(self._store, self.manifest, part, index, provenance=about) is not index:
                number = self._next_part_number(number)
                continue
            try:
                self.manifest = self._add_to_manifest(part, index)
            except _ConcurrentCommit as overtaken:
                self._yield_frames(result, overtaken.sequences)
                number += 1
                continue
            self._is_committed = True
            self._has_unrelocated |= not is_relocated(self.manifest, index)
            return
        raise StoreUnavailable(
            f"other programs wrote to timeline {self.manifest.timeline_id} in "
            f"{self._store.display_name} {_ATTEMPTS} times while this program tried to: try again "
            "when they are done"
        )

    def _next_part_number(self, number: int) -> int:
        """Return a number above ``number`` and all existing parts, including unnamed leftovers."""
        parts = keys.epoch_prefix(self.manifest.timeline_id, self.manifest.epoch)
        found = filter(None, (keys.parse_index(blob.key) for blob in self._store.list(parts)))
        numbers = (int(part[1:]) for part, _ in found if keys.is_written_part(part))
        return 1 + max([number, *numbers])

    def _add_to_manifest(self, part: str, index: Index) -> Manifest:
        """Name a part in the next manifest, unless it would hide another program's frame."""
        manifest = self.manifest
        known = set(manifest.written_parts)

        def change(current: Manifest | None) -> Manifest:
            if current is None or current.epoch != manifest.epoch:
                raise TimelineCleared(
                    f"timeline {manifest.timeline_id} in {self._store.display_name} was cleared "
                    "by another program while frames were written: write them again"
                )
            _reject_chunks(self._store, current)
            if part in current.written_parts:
                return current  # it was named before, but the store's response was lost
            if not _is_compatible(current.settings, manifest.settings, self._on_conflict):
                raise _settings_conflict(current, manifest.settings)
            new = [name for name in current.written_parts if name not in known]
            if new:
                others = Index.merged([*filter(None, load_parts(self._store, current, new))])
                self._has_unrelocated |= not is_relocated(current, others)
                self._check_conflicts(part, index, others)
                known.update(new)
            return current.next_version(written_parts=(*current.written_parts, part))

        return update_manifest(self._store, manifest.timeline_id, change)

    def _check_conflicts(self, part: str, index: Index, others: Index) -> None:
        """Compare the frames with those that other programs committed in the meantime.

        Raises:
            SettingsConflict: a frame differs, and ``on_conflict`` is ``"raise"``.
            _ConcurrentCommit: before the commit, some frames must be moved to private storage,
                marked as new pictures, or dropped.
        """
        positions = others.positions(index.sequence)
        shared = [
            (row, others.row(position))
            for row, position in zip(index.rows(range(len(index))), positions.tolist(), strict=True)
            if position >= 0
        ]
        if self._on_conflict == "raise":
            for row, other in shared:
                if difference := find_row_difference(row, other):
                    raise frame_conflict(row.sequence, self.manifest, difference)
            return
        overtaken = {
            row.sequence
            for row, other in shared
            if self._on_conflict == "keep"
            or self._has_public_key(row)
            or (row.picture_since != part and find_row_difference(row, other) == "picture")
        }
        if overtaken:
            raise _ConcurrentCommit(overtaken)

    def _has_public_key(self, row: FrameRow) -> bool:
        """Return True if a row names a public key, which another program may overwrite.

        A frame that another program committed in the meantime may be moved to its public key at
        any moment, so a later row must not name that key for its own picture.
        """
        return not row.offset and layout_of(self.manifest).has_public_keys

    def _yield_frames(self, result: WriteResult, sequences: set[int]) -> None:
        """Drop frames that another program committed first, or move them to private storage."""
        if self._on_conflict == "keep":
            result.keep_cached(sequences)
            return
        result.added -= sequences
        result.repaired -= sequences
        result.changed_pictures |= sequences
        rows = [result.rows[sequence] for sequence in sorted(sequences)]
        exposed = [row for row in rows if self._has_public_key(row)]
        if not exposed:
            return
        stored, storage = copy_to_private_storage(
            self._store, self.manifest, exposed, workers=self._workers
        )
        self._cleanups.append(storage.discard)
        for sequence, row in stored.items():
            before = result.rows[sequence]
            result.rows[sequence] = replace(before, key=row.key, offset=row.offset)


class _ConcurrentCommit(Exception):
    """Raised when another program committed some of the frames first."""

    def __init__(self, sequences: set[int]) -> None:
        super().__init__(sequences)
        self.sequences = sequences


def _resolve_manifest(
    store: Store,
    timeline_id: str,
    resolve_settings: SettingsResolver,
    on_conflict: OnConflict,
    *,
    workers: int,
) -> Manifest:
    imported_epochs: set[str] = set()

    def change(current: Manifest | None) -> Manifest:
        settings = resolve_settings(current.settings if current else None)
        if not LAYOUTS[settings.layout].stores_frames:
            raise SettingsConflict(
                f"timeline {timeline_id} in {store.display_name} would have layout "
                f"{settings.layout}, in which frames come from chunks and none is stored: write "
                "to another timeline, or give another layout"
            )
        if current is None:
            first = first_manifest(timeline_id, settings)
            if on_conflict == "raise":
                reject_unindexed_frames(store, timeline_id)
                return first
            imported = import_unindexed(store, first, workers=workers)
            if imported.written_parts:
                imported_epochs.add(imported.epoch)
            return imported
        _reject_chunks(store, current)
        if current.settings == settings:
            return current
        if not current.written_parts:
            return current.next_version(settings=settings)
        if _is_compatible(current.settings, settings, on_conflict):
            return current
        raise _settings_conflict(current, settings)

    manifest = update_manifest(store, timeline_id, change)
    # Rows that another program imported stay: a frame of theirs that is gone is missing.
    return drop_removed_frames(store, manifest) if manifest.epoch in imported_epochs else manifest


def _is_compatible(current: Settings, asked: Settings, on_conflict: OnConflict) -> bool:
    """Return True if one timeline can hold frames written with both settings."""
    if on_conflict == "raise":
        return current.has_same_frames(asked)
    return current.layout == asked.layout  # the quality is stored per frame


def _settings_conflict(current: Manifest, asked: Settings) -> SettingsConflict:
    if current.settings.layout != asked.layout:
        return layout_conflict(current, asked.layout)
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached with JPEG quality "
        f"{current.settings.jpeg.quality}; asked for {asked.jpeg.quality}: use the cached "
        f"quality, or clear the timeline first"
    )


def _reject_chunks(store: Store, current: Manifest) -> None:
    if current.chunks:
        raise SettingsConflict(
            f"timeline {current.timeline_id} in {store.display_name} was extracted from chunks, "
            "and frames cannot be added to it: delete it first, or use another timeline_id"
        )


def _validate(frame: Frame | JpegFrame) -> Frame | JpegFrame:
    """Validate a frame; return it with its values converted to plain Python types."""
    if not isinstance(frame, Frame | JpegFrame):
        raise InvalidValue(f"write takes Frame objects, not {type(frame).__name__}")
    return replace(
        frame,
        sequence=keys.check_sequence(frame.sequence),
        chunk_id=_validate_chunk_id(frame),
        timestamp=_validate_timestamp(frame),
        perceptual_hash=_validate_hash(frame),
    )


def _validate_chunk_id(frame: Frame | JpegFrame) -> int:
    chunk_id = as_index(frame.chunk_id)
    if chunk_id is None or not 0 <= chunk_id < _MAX_CHUNKS:
        raise InvalidValue(
            f"frame {frame.sequence} has the chunk_id {format_value(frame.chunk_id)}: it must be "
            "an integer from 0"
        )
    return chunk_id


def _validate_timestamp(frame: Frame | JpegFrame) -> float:
    # Numeric strings are rejected: they point to a bug in the caller.
    seconds = as_fraction(frame.timestamp)
    if seconds is None or abs(seconds) >= SECONDS_LIMIT:
        raise InvalidValue(
            f"frame {frame.sequence} has the timestamp {format_value(frame.timestamp)}: it must be "
            f"a number of seconds below {SECONDS_LIMIT}"
        )
    return float(seconds)


def _validate_hash(frame: Frame | JpegFrame) -> str:
    name: object = frame.perceptual_hash
    if not isinstance(name, str) or len(name) > _MAX_HASH_CHARACTERS or not _is_utf8(name):
        raise InvalidValue(
            f"frame {frame.sequence} has the perceptual_hash {name!r:.100}: it must be a "
            f"string of at most {_MAX_HASH_CHARACTERS} characters; if it is empty, the hash "
            "is computed"
        )
    return str.__str__(name)


def _is_utf8(name: str) -> bool:
    """Return True if a string can be encoded as UTF-8; lone surrogates cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _build_index(result: WriteResult, part: str, cached: Index) -> Index:
    """Return the rows of one call as an index part named ``part``."""
    healed = [result.rows[sequence] for sequence in result.repaired]
    told = [row for sequence, row in result.rows.items() if sequence not in result.repaired]
    index = PartBuilder()
    for row in (*with_durations(told, cached), *healed):
        is_new_picture = row.sequence in result.changed_pictures
        index.add(replace(row, picture_since=part) if is_new_picture else row)
    return index.build()


def _compact_if_needed(store: Store, manifest: Manifest) -> None:
    covered = manifest.compaction.parts if manifest.compaction else ()
    if len(manifest.parts) - len(covered) >= _MAX_INDEX_FILES:
        compact(store, manifest, load_snapshot_at(store, manifest))
