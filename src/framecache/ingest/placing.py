"""Storing the frames that a program holds, so that no other program's committed frame is lost.

In layout ``objects`` a frame whose sequence is free is created under its public name, which one
program alone can do. Every other frame comes into a pack, which no other program touches, and a row
that names it there takes the place of the row before; `settling` brings it to its public name.
In layout ``packs`` all frames come into the pack.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from framecache import keys
from framecache.errors import InvalidValue, SettingsConflict, StoreUnavailable
from framecache.index import FrameRow, Index, current_description, stored_jpeg
from framecache.ingest.encode import EncodedFrame, as_it_is, encode_frame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.pack_storage import PackStorage
from framecache.ingest.slot import Slot, row_of
from framecache.manifest import Description
from framecache.model import Frame, JpegSettings, OnConflict
from framecache.store import BlobExists, BlobMissing, Store

_Decision = FrameRow | tuple[Slot, EncodedFrame] | None
"""A row under a public name, a frame that comes into the pack, or nothing to commit."""


@dataclass(slots=True, eq=False)
class Placed:
    """The frames of one call, once they are stored."""

    rows: dict[int, FrameRow] = field(default_factory=dict)
    """By sequence: what is to be committed."""
    new: set[int] = field(default_factory=set)
    """Sequences that were not cached before."""
    new_pictures: set[int] = field(default_factory=set)
    """Sequences that were cached with another picture."""
    healed: set[int] = field(default_factory=set)
    """Sequences whose committed picture was lost or damaged, and was stored again."""
    kept: set[int] = field(default_factory=set)
    """Sequences left as they were cached, without a look at what was given."""
    given: set[int] = field(default_factory=set)
    """All sequences."""

    @property
    def replaced(self) -> set[int]:
        """Sequences that were cached otherwise."""
        return self.rows.keys() - self.new - self.healed

    def keep(self, sequences: Collection[int]) -> None:
        """Leave frames as another program cached them meanwhile."""
        for sequence in sequences:
            del self.rows[sequence]
        self.kept.update(sequences)


class Placing:
    """Stores the frames of one call; a context manager that waits for them."""

    def __init__(
        self,
        store: Store,
        description: Description,
        cached: Index,
        *,
        jpeg: JpegSettings,
        on_conflict: OnConflict,
        workers: int,
    ) -> None:
        """Prepare; nothing is stored before the first frame comes.

        Args:
            store: where the timeline lies.
            description: what it is.
            cached: the frames it has.
            jpeg: how frames are encoded.
            on_conflict: what becomes of a frame that is cached otherwise.
            workers: threads that encode.
        """
        self._store = store
        self._description = description
        self._cached = cached
        self._jpeg = jpeg
        self._on_conflict = on_conflict
        self._encoders = EncoderPool(store, description.settings.layout, workers=workers)
        self._pack = PackStorage(store, description, keys.WRITTEN, self._encoders)
        self._decided: deque[Future[_Decision]] = deque()
        self._placed = Placed()
        self._created: list[str] = []

    def __enter__(self) -> Self:
        self._encoders.__enter__()
        self._pack.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        # As nested contexts would: the pack waits for frames that the threads encode.
        try:
            self._pack.__exit__(*error)  # type: ignore[arg-type]  # as they were given
        finally:
            self._encoders.__exit__(*error)  # type: ignore[arg-type]  # likewise

    def add(self, frame: Frame) -> None:
        """Store a frame, or find that it is stored; of one sequence, the last counts.

        Raises:
            SettingsConflict: it is cached otherwise, and conflicts are to raise.
            InvalidValue: its image is none, or its sequence was given before and conflicts raise.
        """
        sequence = frame.sequence
        is_repeated = sequence in self._placed.given
        if is_repeated and self._on_conflict != "replace":
            raise InvalidValue(
                f"sequence {sequence} was given twice in one call: number frames apart"
            )
        self._placed.given.add(sequence)
        position = self._cached.position(sequence)
        if position is not None and self._on_conflict == "keep":
            self._placed.kept.add(sequence)
            return
        slot, encode = _slot(frame), partial(_encode, frame, self._jpeg)
        if is_repeated:
            self._settle_all()
        if position is None:
            self._placed.new.add(sequence)
        if is_repeated or (position is None and self._is_in_packs):
            self._pack.add(slot, encode)
            return
        decide: Callable[[EncodedFrame], _Decision]
        if position is None:
            decide = partial(self._create, slot)
        else:
            decide = partial(self._compare, frame, slot, self._cached.row(position))
        self._decided.append(self._encoders.submit(encode, decide))
        while self._decided and self._decided[0].done():
            self._settle_one()

    def finish(self) -> Placed:
        """The frames, once the store has acknowledged them all."""
        self._settle_all()
        placed = self._placed
        stored = {row.sequence: row for row in self._pack.finish()}
        placed.rows |= {
            sequence: self._as_committed(replace(row, quality=self._jpeg.quality))
            for sequence, row in stored.items()
        }
        return placed

    @property
    def has_created(self) -> bool:
        """Whether a frame was stored under its public name."""
        return bool(self._created)

    def discard(self) -> None:
        """Remove what was stored under a name of its own: it will not be committed."""
        self._pack.discard()

    def withdraw_if_deleted(self) -> None:
        """Remove what was stored if the timeline is gone, lest it seem another program's."""
        self._pack.discard()
        timeline_id = self._description.timeline_id
        if self._created and current_description(self._store, timeline_id) is None:
            self._store.delete(self._created)

    @property
    def _is_in_packs(self) -> bool:
        return self._description.settings.layout == "packs"

    def _create(self, slot: Slot, encoded: EncodedFrame) -> FrameRow | tuple[Slot, EncodedFrame]:
        """Create a frame under its public name, if that is free or holds it already."""
        key = keys.frame(self._description.timeline_id, slot.sequence)
        try:
            self._store.create(key, encoded.data)
            self._created.append(key)
        except BlobExists:
            # A leftover, or another program is writing it at this moment.
            if not _is_stored_as(self._store, key, encoded.data):
                return slot, encoded
        return replace(row_of(slot, encoded, key=key, offset=0), quality=self._jpeg.quality)

    def _compare(
        self, frame: Frame, slot: Slot, row: FrameRow, encoded: EncodedFrame
    ) -> tuple[Slot, EncodedFrame] | None:
        """Decide what becomes of a frame that is cached already; None when nothing does."""
        difference = _difference(frame, row, encoded, self._jpeg)
        if difference and self._on_conflict == "raise":
            raise cached_otherwise(row.sequence, self._description, difference)
        if not difference and _is_sound(self._store, row, encoded.data):
            return None
        return slot, encoded

    def _settle_all(self) -> None:
        while self._decided:
            self._settle_one()

    def _settle_one(self) -> None:
        decided = self._decided.popleft().result()
        if isinstance(decided, FrameRow):
            self._placed.rows[decided.sequence] = decided
        elif decided is not None:
            slot, encoded = decided
            self._pack.add(slot, partial(as_it_is, encoded))

    def _as_committed(self, row: FrameRow) -> FrameRow:
        """What is to be committed of a frame in the pack, beside what was cached of it."""
        position = self._cached.position(row.sequence)
        if position is None:
            return row
        before = self._cached.row(position)
        is_same_picture = (before.size, before.crc32c) == (row.size, row.crc32c)
        if not is_same_picture:
            self._placed.new_pictures.add(row.sequence)
            return row
        if _told(before) == _told(row):
            self._placed.healed.add(row.sequence)
            return replace(before, key=row.key, offset=row.offset)
        return replace(row, picture_since=before.picture_since)


def move_into_pack(
    store: Store, description: Description, rows: Iterable[FrameRow], *, workers: int
) -> tuple[Mapping[int, FrameRow], PackStorage]:
    """Store frames, which this program created under public names, in a pack as well.

    Raises:
        StoreUnavailable: another program has stored others there.
    """
    layout = description.settings.layout
    with (
        EncoderPool(store, layout, workers=workers) as encoders,
        PackStorage(store, description, keys.WRITTEN, encoders) as pack,
    ):
        for row in rows:
            slot = Slot(row.sequence, row.chunk_id, row.pts, row.timestamp, row.duration)
            pack.add(slot, partial(_created_before, store, row))
        stored = {row.sequence: row for row in pack.finish()}
    return stored, pack


def cached_otherwise(sequence: int, description: Description, difference: str) -> SettingsConflict:
    """What to say of a frame that is cached otherwise than it was given."""
    return SettingsConflict(
        f"frame {sequence} of timeline {description.timeline_id} is cached with another "
        f'{difference}: write it with on_conflict="replace", clear the timeline first, or use '
        f"another sequence"
    )


def difference_of_rows(row: FrameRow, other: FrameRow) -> str:
    """In which respect two rows of a sequence differ; empty when both say the same."""
    if (row.size, row.crc32c) != (other.size, other.crc32c):
        return "picture"
    for name in ("chunk_id", "timestamp", "perceptual_hash"):
        if getattr(row, name) != getattr(other, name):
            return name
    return ""


def _created_before(store: Store, row: FrameRow) -> EncodedFrame:
    encoded = EncodedFrame(b"", row.width, row.height, row.crc32c, row.perceptual_hash)
    try:
        data = store.get(row.key)
    except BlobMissing:
        data = b""
    if not encoded.is_of(data):
        raise StoreUnavailable(
            f"another program stored another picture as {row.key} in {store.url} while this one "
            f"wrote: write the frames again"
        )
    return replace(encoded, data=data)


def _difference(frame: Frame, row: FrameRow, encoded: EncodedFrame, jpeg: JpegSettings) -> str:
    """In which respect a given frame differs from the cached one; empty when it does not."""
    if row.quality not in (0, jpeg.quality):
        return f"quality ({row.quality}; asked for {jpeg.quality})"
    if (len(encoded.data), encoded.crc32c) != (row.size, row.crc32c):
        return "picture"
    told = {
        "timestamp": (row.timestamp, frame.timestamp),
        "chunk_id": (row.chunk_id, frame.chunk_id),
        "perceptual_hash": (row.perceptual_hash, encoded.perceptual_hash),
    }
    for name, (cached, given) in told.items():
        if cached != given:
            return f"{name} ({cached!r}; given {given!r})"
    return ""


def _is_stored_as(store: Store, key: str, data: bytes) -> bool:
    try:
        return store.get(key) == data
    except BlobMissing:
        return False  # removed since


def _is_sound(store: Store, row: FrameRow, data: bytes) -> bool:
    """Whether a committed frame, which is this one, is still stored as it was committed."""
    try:
        return stored_jpeg(store, row) == data
    except BlobMissing:
        return False


def _told(row: FrameRow) -> tuple[object, ...]:
    """What a program says of a frame, beside its picture."""
    return row.timestamp, row.chunk_id, row.perceptual_hash


def _encode(frame: Frame, settings: JpegSettings) -> EncodedFrame:
    try:
        return encode_frame(frame, settings)
    except InvalidValue as error:
        raise InvalidValue(f"frame {frame.sequence}: {error}") from error


def _slot(frame: Frame) -> Slot:
    return Slot(frame.sequence, frame.chunk_id, 0, frame.timestamp, 0.0)
