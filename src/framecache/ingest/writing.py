"""Caching frames that a program already holds."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from framecache import jpeg, keys
from framecache._version import __version__
from framecache.claims import Claims
from framecache.errors import (
    Cleared,
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    StoreUnavailable,
)
from framecache.index import (
    FrameRow,
    Index,
    PartBuilder,
    advance,
    commit_part,
    compact,
    current_description,
    ensure_current,
    load,
    load_parts,
)
from framecache.ingest.adopting import adopt
from framecache.ingest.describe import Choose, other_layout, refuse_strewn
from framecache.ingest.durations import with_durations
from framecache.ingest.placing import (
    Placed,
    Placing,
    cached_otherwise,
    difference_of_rows,
    move_into_pack,
)
from framecache.ingest.settling import is_settled, settle
from framecache.instants import MOST_SECONDS
from framecache.manifest import Description, Settings, first_description, new_write_id
from framecache.model import Frame, JpegSettings, OnConflict, WriteReport
from framecache.numeric import as_index, exact, shown
from framecache.store import Store

_MOST_INDEX_FILES: Final = 16
_ATTEMPTS: Final = 100
_MOST_CHUNKS: Final = 2**31
_MOST_HASH_CHARACTERS: Final = 256


def write(
    store: Store,
    timeline_id: str,
    frames: Iterable[Frame],
    *,
    choose: Choose,
    on_conflict: OnConflict,
    workers: int,
) -> WriteReport:
    """Cache ``frames`` beside those written before; returns how many were given.

    All of them become visible at once, when the last is stored. A frame that is cached already
    just so is left alone, so a batch can be written again after a failure.

    Raises:
        InvalidValue: an image, sequence or time no frame can have, or a sequence given twice.
        SettingsConflict: other settings, or a cached sequence with another picture, time, hash,
            chunk or quality, if conflicts are to raise; a timeline that is described by chunks.
    """
    asked = choose(None).jpeg
    description = _describe(store, timeline_id, choose, on_conflict, workers=workers)
    # Read after it was described, so that whatever comes between is met when the part is.
    cached = load(store, description).index
    call = _Call(store, description, cached, asked, on_conflict, workers)
    try:
        with Claims(store, description) as claims:
            # Others may write at the same time. A sweep of what was cleared before must not.
            claims.take(keys.writing(new_write_id()))
            report = call.store_all(frames)
    except BaseException:
        with suppress(FrameCacheError):  # the first error is the one to report
            call.settle()
        raise
    call.settle()
    _compact_now_and_then(store, call.description)
    return report


class _Call:
    """One call of `write`."""

    def __init__(
        self,
        store: Store,
        description: Description,
        cached: Index,
        asked: JpegSettings,
        on_conflict: OnConflict,
        workers: int,
    ) -> None:
        self.description = description
        self._is_unsettled = not is_settled(description, cached)
        self._has_created = False
        """Whether frames were stored under public names."""
        self._is_committed = False
        self._store = store
        self._cached = cached
        self._asked = asked
        self._on_conflict: OnConflict = on_conflict
        self._workers = workers
        self._discards: list[Callable[[], None]] = []

    def store_all(self, frames: Iterable[Frame]) -> WriteReport:
        """Store the frames and commit them."""
        placing = Placing(
            self._store,
            self.description,
            self._cached,
            jpeg=self._asked,
            on_conflict=self._on_conflict,
            workers=self._workers,
        )
        self._discards.append(placing.discard)
        try:
            with placing:
                for frame in frames:
                    placing.add(_checked(frame))
                placed = placing.finish()
                if placed.rows:
                    ensure_current(self._store, self.description)
            if placed.rows:
                self._commit(placed)
            else:
                placing.withdraw_if_deleted()
        except Cleared:
            placing.withdraw_if_deleted()
            raise
        except SettingsConflict:
            self._discard()
            raise
        finally:
            self._has_created = placing.has_created
        return WriteReport(
            len(placed.given),
            stored=len(placed.new - placed.kept),
            replaced=len(placed.replaced),
            kept=len(placed.kept),
        )

    def settle(self) -> None:
        """Bring frames under their public names, if this call is the last to know of any."""
        if self._is_unsettled or self._has_kept_others_waiting():
            settle(self._store, self.description.timeline_id, workers=self._workers, waits=False)

    def _has_kept_others_waiting(self) -> bool:
        """Whether others may have left frames in a pack for what this call stored in their places.

        It has committed nothing, or it would know of them.
        """
        if self._is_committed or not self._has_created:
            return False
        current = current_description(self._store, self.description.timeline_id)
        return current is not None and current.written_parts != self.description.written_parts

    def _discard(self) -> None:
        for discard in self._discards:
            discard()

    def _commit(self, placed: Placed) -> None:
        """Create the next free part, then describe it: that is when its frames become visible."""
        about = {"framecache": __version__, "jpeg_encoder": jpeg.encoder_version()}
        number = len(self.description.written_parts)
        for _ in range(_ATTEMPTS):
            if not placed.rows:
                self._discard()
                return
            part = keys.written_part(number)
            index = _index_of(placed, part, self._cached)
            if commit_part(self._store, self.description, part, index, about=about) is not index:
                number = self._number_after(number)
                continue
            try:
                self.description = self._describe_part(part, index)
            except _Overtaken as overtaken:
                self._give_way(placed, overtaken.sequences)
                number += 1
                continue
            self._is_committed = True
            self._is_unsettled |= not is_settled(self.description, index)
            return
        raise StoreUnavailable(
            f"other programs wrote to timeline {self.description.timeline_id} in "
            f"{self._store.url} {_ATTEMPTS} times while this one tried to: try again when they "
            f"are done"
        )

    def _number_after(self, number: int) -> int:
        """A number that no part has, be it described or left behind by a program that died."""
        parts = keys.epoch_prefix(self.description.timeline_id, self.description.epoch)
        found = filter(None, (keys.parse_index(blob.key) for blob in self._store.list(parts)))
        numbers = (int(part[1:]) for part, _ in found if keys.is_written_part(part))
        return 1 + max([number, *numbers])

    def _describe_part(self, part: str, index: Index) -> Description:
        """Name a part in the next description, if that takes no other program's frame away."""
        description = self.description
        known = set(description.written_parts)

        def change(current: Description | None) -> Description:
            if current is None or current.epoch != description.epoch:
                raise Cleared(
                    f"timeline {description.timeline_id} in {self._store.url} was cleared by "
                    f"another program while frames were written: write them again"
                )
            _refuse_chunks(self._store, current)
            if part in current.written_parts:
                return current  # the answer to having described it was lost
            if not _go_together(current.settings, description.settings, self._on_conflict):
                raise _other_settings(current, description.settings)
            new = [name for name in current.written_parts if name not in known]
            if new:
                others = Index.merged([*filter(None, load_parts(self._store, current, new))])
                self._is_unsettled |= not is_settled(current, others)
                self._meet(part, index, others)
                known.update(new)
            return current.next_version(written_parts=(*current.written_parts, part))

        return advance(self._store, description.timeline_id, change)

    def _meet(self, part: str, index: Index, others: Index) -> None:
        """See what becomes of frames that another program committed while these were stored.

        Raises:
            SettingsConflict: one is another, and conflicts are to raise.
            _Overtaken: some must be stored otherwise, or not at all, before they are committed.
        """
        positions = others.positions(index.sequence)
        shared = [
            (row, others.row(position))
            for row, position in zip(index.rows(range(len(index))), positions.tolist(), strict=True)
            if position >= 0
        ]
        if self._on_conflict == "raise":
            for row, other in shared:
                if difference := difference_of_rows(row, other):
                    raise cached_otherwise(row.sequence, self.description, difference)
            return
        overtaken = {
            row.sequence
            for row, other in shared
            if self._on_conflict == "keep"
            or self._is_under_public_name(row)
            or (row.picture_since != part and difference_of_rows(row, other) == "picture")
        }
        if overtaken:
            raise _Overtaken(overtaken)

    def _is_under_public_name(self, row: FrameRow) -> bool:
        """Whether a row names what another program may store over.

        What others committed meanwhile may be brought under the public name at any moment. Whoever
        comes after it must not name its own picture there.
        """
        return not row.offset and self.description.settings.layout == "objects"

    def _give_way(self, placed: Placed, sequences: set[int]) -> None:
        """Leave frames to the program that was faster, or store them where none touches them."""
        if self._on_conflict == "keep":
            placed.keep(sequences)
            return
        placed.new -= sequences
        placed.healed -= sequences
        placed.new_pictures |= sequences
        rows = [placed.rows[sequence] for sequence in sorted(sequences)]
        exposed = [row for row in rows if self._is_under_public_name(row)]
        if not exposed:
            return
        stored, pack = move_into_pack(self._store, self.description, exposed, workers=self._workers)
        self._discards.append(pack.discard)
        for sequence, row in stored.items():
            before = placed.rows[sequence]
            placed.rows[sequence] = replace(before, key=row.key, offset=row.offset)


class _Overtaken(Exception):
    """Another program committed some of the frames first."""

    def __init__(self, sequences: set[int]) -> None:
        super().__init__(sequences)
        self.sequences = sequences


def _describe(
    store: Store, timeline_id: str, choose: Choose, on_conflict: OnConflict, *, workers: int
) -> Description:
    def change(current: Description | None) -> Description:
        settings = choose(current.settings if current else None)
        if current is None:
            if on_conflict == "raise":
                refuse_strewn(store, timeline_id)
                return first_description(timeline_id, settings)
            return adopt(store, first_description(timeline_id, settings), workers=workers)
        _refuse_chunks(store, current)
        if current.settings == settings:
            return current
        if not current.written_parts:
            return current.next_version(settings=settings)
        if _go_together(current.settings, settings, on_conflict):
            return current
        raise _other_settings(current, settings)

    return advance(store, timeline_id, change)


def _go_together(current: Settings, asked: Settings, on_conflict: OnConflict) -> bool:
    """Whether frames of both settings may lie in one timeline."""
    if on_conflict == "raise":
        return current == asked
    return current.layout == asked.layout  # the quality is kept with each frame


def _other_settings(current: Description, asked: Settings) -> SettingsConflict:
    if current.settings.layout != asked.layout:
        return other_layout(current, asked.layout)
    return SettingsConflict(
        f"timeline {current.timeline_id} is cached with JPEG quality "
        f"{current.settings.jpeg.quality}; asked for {asked.jpeg.quality}: use the cached "
        f"quality, or clear the timeline first"
    )


def _refuse_chunks(store: Store, current: Description) -> None:
    if current.chunks:
        raise SettingsConflict(
            f"timeline {current.timeline_id} in {store.url} is described by its chunks: frames "
            f"cannot be written beside them; delete it first, or use another timeline_id"
        )


def _checked(frame: Frame) -> Frame:
    """The frame with plain numbers, if a frame can have them."""
    if not isinstance(frame, Frame):
        raise InvalidValue(f"write takes Frame objects, not {type(frame).__name__}")
    return replace(
        frame,
        sequence=keys.check_sequence(frame.sequence),
        chunk_id=_chunk_id(frame),
        timestamp=_timestamp(frame),
        perceptual_hash=_hash(frame),
    )


def _chunk_id(frame: Frame) -> int:
    chunk_id = as_index(frame.chunk_id)
    if chunk_id is None or not 0 <= chunk_id < _MOST_CHUNKS:
        raise InvalidValue(
            f"frame {frame.sequence} has the chunk_id {shown(frame.chunk_id)}: it is a whole "
            f"number from 0"
        )
    return chunk_id


def _timestamp(frame: Frame) -> float:
    # A text that reads as a number is a mistake elsewhere.
    seconds = exact(frame.timestamp)
    if seconds is None or abs(seconds) >= MOST_SECONDS:
        raise InvalidValue(
            f"frame {frame.sequence} has the timestamp {shown(frame.timestamp)}: it is a number of "
            f"seconds below {MOST_SECONDS}"
        )
    return float(seconds)


def _hash(frame: Frame) -> str:
    name: object = frame.perceptual_hash
    if not isinstance(name, str) or len(name) > _MOST_HASH_CHARACTERS or not _is_text(name):
        raise InvalidValue(
            f"frame {frame.sequence} has the perceptual_hash {name!r:.100}: it is a text of at "
            f"most {_MOST_HASH_CHARACTERS} characters, or empty to have it computed"
        )
    return str.__str__(name)


def _is_text(name: str) -> bool:
    """Whether a text can be stored: halves of surrogate pairs cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _index_of(placed: Placed, part: str, cached: Index) -> Index:
    """The rows of one call as an index part of a certain name."""
    healed = [placed.rows[sequence] for sequence in placed.healed]
    told = [row for sequence, row in placed.rows.items() if sequence not in placed.healed]
    index = PartBuilder()
    for row in (*with_durations(told, cached), *healed):
        is_new_picture = row.sequence in placed.new_pictures
        index.add(replace(row, picture_since=part) if is_new_picture else row)
    return index.build()


def _compact_now_and_then(store: Store, description: Description) -> None:
    covered = description.compaction.parts if description.compaction else ()
    if len(description.parts) - len(covered) >= _MOST_INDEX_FILES:
        compact(store, description, load(store, description).index)
