"""Storing the frames that a program holds, so that no other program's committed frame is lost."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

from framecache import keys
from framecache.errors import SettingsConflict
from framecache.index import FrameRow, Index, current_description, load, stored_jpeg
from framecache.ingest.encode import EncodedFrame, as_it_is
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.pack_storage import PackStorage
from framecache.ingest.slot import Slot
from framecache.ingest.storage import FrameStorage, ObjectStorage
from framecache.manifest import Description
from framecache.store import BlobExists, BlobMissing, Store


class Placing(Protocol):
    """How frames come into a timeline beside those it has.

    A frame that is cached already with the same picture is stored again if it was lost or damaged.
    """

    @contextmanager
    def storage(self, encoders: EncoderPool) -> Iterator[FrameStorage]:
        """Where the frames go; gives out the rows that are to be committed.

        Raises:
            SettingsConflict: another picture is cached under a sequence.
        """
        ...

    def give_back(self) -> None:
        """Undo what another program, which committed first, would miss."""
        ...

    def withdraw_if_deleted(self) -> None:
        """Remove what was stored if the timeline is gone, lest it seem another program's."""
        ...


def placing_in(store: Store, description: Description, cached: Index) -> Placing:
    """How the layout of a timeline has it."""
    kind = PackPlacing if description.settings.layout == "packs" else ObjectPlacing
    return kind(store, description, cached)


def other_picture(sequence: int, description: Description) -> SettingsConflict:
    """What to say of a frame that is cached as another."""
    return SettingsConflict(
        f"frame {sequence} of timeline {description.timeline_id} is cached with another picture: "
        f"clear the timeline first, or use another sequence"
    )


class ObjectPlacing:
    """Stores frames under their fixed names.

    A frame is created, not put. Where one lies already and no index names it, it is a leftover,
    or another program is writing it at this moment: it is replaced, and kept in case that program
    commits first.
    """

    def __init__(self, store: Store, description: Description, cached: Index) -> None:
        self._store = store
        self._description = description
        self._cached = cached
        self._stored: list[str] = []
        self._replaced: dict[str, bytes] = {}

    @contextmanager
    def storage(self, encoders: EncoderPool) -> Iterator[FrameStorage]:
        """See `Placing`."""
        yield _NewOnly(
            ObjectStorage(self._description.timeline_id, encoders, self._place), self._cached
        )

    def give_back(self) -> None:
        """See `Placing`."""
        for key, data in self._replaced.items():
            self._store.put(key, data)

    def withdraw_if_deleted(self) -> None:
        """See `Placing`."""
        timeline_id = self._description.timeline_id
        if self._stored and current_description(self._store, timeline_id) is None:
            self._store.delete(self._stored)

    def _place(self, slot: Slot, encoded: EncodedFrame) -> None:
        position = self._cached.position(slot.sequence)
        if position is not None:
            row = self._cached.row(position)
            if not _is_sound(self._store, self._description, row, encoded):
                self._put(row.key, encoded.data)
            return
        key = keys.frame(self._description.timeline_id, slot.sequence)
        try:
            self._store.create(key, encoded.data)
            self._stored.append(key)
        except BlobExists:
            self._meet_another(slot, key, encoded)

    def _meet_another(self, slot: Slot, key: str, encoded: EncodedFrame) -> None:
        try:
            found = self._store.get(key)
        except BlobMissing:
            found = b""  # removed since
        if found == encoded.data:
            return
        latest = load(self._store, self._description).index
        if latest.position(slot.sequence) is not None:
            raise other_picture(slot.sequence, self._description)
        if found:
            self._replaced[key] = found
        self._put(key, encoded.data)

    def _put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)
        self._stored.append(key)


class _NewOnly:
    """A storage whose rows are new ones: those of frames that were cached stay as they are."""

    def __init__(self, storage: FrameStorage, cached: Index) -> None:
        self._storage = storage
        self._cached = cached
        self.add = storage.add
        self.discard = storage.discard

    def finish(self) -> list[FrameRow]:
        rows = self._storage.finish()
        return [row for row in rows if self._cached.position(row.sequence) is None]


class PackPlacing:
    """Stores frames in a pack, which no other program touches.

    A cached frame that was lost or damaged comes into it, too, with a row that takes the place of
    the one before.
    """

    def __init__(self, store: Store, description: Description, cached: Index) -> None:
        self._store = store
        self._description = description
        self._cached = cached
        self._storage: PackStorage | None = None

    @contextmanager
    def storage(self, encoders: EncoderPool) -> Iterator[FrameStorage]:
        """See `Placing`."""
        with PackStorage(self._store, self._description, keys.WRITTEN, encoders) as storage:
            self._storage = storage
            yield _Repairing(self._store, self._description, self._cached, storage, encoders)

    def give_back(self) -> None:
        """See `Placing`."""
        if self._storage is not None:
            self._storage.discard()

    def withdraw_if_deleted(self) -> None:
        """See `Placing`. The pack lies in an epoch that is over in any case."""
        self.give_back()


class _Repairing:
    """A pack of the frames that are not cached, or no longer sound."""

    def __init__(
        self,
        store: Store,
        description: Description,
        cached: Index,
        storage: PackStorage,
        encoders: EncoderPool,
    ) -> None:
        self._store = store
        self._description = description
        self._cached = cached
        self._storage = storage
        self._encoders = encoders
        self._compared: deque[Future[tuple[Slot, EncodedFrame] | None]] = deque()
        self.discard = storage.discard

    def add(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> None:
        position = self._cached.position(slot.sequence)
        if position is None:
            self._storage.add(slot, encode)
        else:
            compare = partial(self._unless_sound, slot, self._cached.row(position))
            self._compared.append(self._encoders.submit(encode, compare))
            while self._compared and self._compared[0].done():
                self._store_unless_sound(self._compared.popleft())

    def finish(self) -> list[FrameRow]:
        while self._compared:
            self._store_unless_sound(self._compared.popleft())
        return [self._as_cached(row) for row in self._storage.finish()]

    def _store_unless_sound(self, compared: "Future[tuple[Slot, EncodedFrame] | None]") -> None:
        if (found := compared.result()) is not None:
            slot, encoded = found
            self._storage.add(slot, partial(as_it_is, encoded))

    def _unless_sound(
        self, slot: Slot, row: FrameRow, encoded: EncodedFrame
    ) -> tuple[Slot, EncodedFrame] | None:
        is_sound = _is_sound(self._store, self._description, row, encoded)
        return None if is_sound else (slot, encoded)

    def _as_cached(self, row: FrameRow) -> FrameRow:
        """The row as it was, if it was, at its new place."""
        position = self._cached.position(row.sequence)
        if position is None:
            return row
        return replace(self._cached.row(position), key=row.key, offset=row.offset)


def _is_sound(store: Store, description: Description, row: FrameRow, encoded: EncodedFrame) -> bool:
    """Whether a cached frame, which must be this one, is still stored as it was committed."""
    if (len(encoded.data), encoded.crc32c) != (row.size, row.crc32c):
        raise other_picture(row.sequence, description)
    try:
        return stored_jpeg(store, row) == encoded.data
    except BlobMissing:
        return False
