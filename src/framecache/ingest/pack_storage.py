"""Storing the frames of one part in one tar, while they are being encoded."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from queue import Queue
from types import TracebackType
from typing import Any, Final, Self

from framecache import keys, packs
from framecache.errors import StoreDenied, StoreUnavailable
from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame, as_it_is
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.slot import Slot, row_of
from framecache.manifest import Description
from framecache.store import BlobMissing, Store

_FRAMES_WAITING: Final = 32
"""JPEGs that are encoded, or about to be, and not yet taken by the upload."""

_ENOUGH_BYTES: Final = 100 * 10**9
"""In a pack; further frames of the part come into another. S3 takes 10,000 parts of an upload."""

_Item = tuple[Slot, Future[EncodedFrame]]


class _End(Enum):
    """What comes after the last frame."""

    WHOLE = auto()
    ABANDONED = auto()


class _Abandoned(Exception):
    """The frames do not come to their end; nothing of the pack is to be stored."""


class PackStorage:
    """Stores frames in a pack that no other program has; a context manager.

    The pack is uploaded on a thread of its own, as the frames come, in their order. It is there,
    whole, when :meth:`finish` returns, and not if that is never reached, nor after the context
    was left by an error: what names a pack is committed outside of it. More frames than one blob
    can hold come into several.
    """

    def __init__(
        self,
        store: Store,
        description: Description,
        part: str,
        encoders: EncoderPool,
        *,
        on_stored: Callable[[Slot], None] = lambda _: None,
    ) -> None:
        """Choose a name; nothing is stored before the first frame comes.

        Args:
            store: where the timeline lies.
            description: what it is.
            part: the name of the index part, or what stands for it.
            encoders: encode the frames.
            on_stored: told of each frame that is on its way.
        """
        self._store = store
        self._description = description
        self._part = part
        self._encoders = encoders
        self._on_stored = on_stored
        self._waiting: Queue[_Item | _End] = Queue(_FRAMES_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-pack")
        self._upload: Future[list[FrameRow]] | None = None
        self._rows: list[FrameRow] | None = None
        """Once the pack is stored."""
        self._has_all = False
        """Whether the last frame was given."""
        self._end: _End | None = None
        """Once the upload came to it."""
        self._packs: list[_Pack] = []

    def add(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> None:
        """See `FrameStorage`."""
        encoded = self._encoders.submit(encode, as_it_is)
        if self._upload is None:
            self._upload = self._thread.submit(self._store_all)
        self._waiting.put((slot, encoded))

    def finish(self) -> list[FrameRow]:
        """See `FrameStorage`."""
        if self._upload is None:
            return []
        self._waiting.put(_End.WHOLE)
        self._has_all = True
        self._rows = self._upload.result()
        return self._rows

    def discard(self) -> None:
        """See `FrameStorage`."""
        # Who may not delete leaves it for gc.
        with suppress(StoreDenied, StoreUnavailable):
            self._store.delete([pack.key for pack in self._packs])
            self._packs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._upload is not None and not self._has_all:
            self._waiting.put(_End.ABANDONED)
        self._thread.shutdown()
        is_given_up = error is not None or self._rows is None
        if is_given_up and any(pack.may_be_stored for pack in self._packs):
            self.discard()

    def _store_all(self) -> list[FrameRow]:
        rows: list[FrameRow] = []
        try:
            following = self._take()
            while following is not None:
                following = self._store_pack(following, rows)
        except _Abandoned:
            raise
        except BaseException as error:
            self._encoders.stop(error)
            raise
        finally:
            # Nobody is to wait for what still comes to be taken.
            while self._end is None:
                self._take()
        return rows

    def _take(self) -> _Item | None:
        item = self._waiting.get()
        if isinstance(item, _End):
            self._end = item
            return None
        return item

    def _store_pack(self, first: _Item, rows: list[FrameRow]) -> _Item | None:
        """Store frames from one on, as many as a pack holds; returns the first of the next pack."""
        pack = _Pack(self._new_key())
        self._packs.append(pack)
        try:
            self._store.put_stream(pack.key, self._blocks(pack, first, rows))
        except StoreUnavailable:
            # The answer may have been lost; nobody else stores under this name.
            if not (pack.may_be_stored and self._is_stored(pack)):
                raise
        return pack.following

    def _new_key(self) -> str:
        return keys.pack(
            self._description.timeline_id,
            epoch=self._description.epoch,
            part=self._part,
            attempt=secrets.token_hex(8),
        )

    def _blocks(self, pack: "_Pack", first: _Item, rows: list[FrameRow]) -> Iterator[bytes]:
        """The tar, frame by frame; their rows are added as they go."""
        item: _Item | None = first
        while item is not None and pack.size_bytes < _ENOUGH_BYTES:
            slot, future = item
            encoded = future.result()
            offset = pack.size_bytes + packs.HEADER_BYTES
            row = row_of(slot, encoded, key=pack.key, offset=offset)
            members = packs.frame_members(slot.sequence, encoded.data, _about(row))
            pack.size_bytes += len(members)
            rows.append(row)
            yield members
            self._on_stored(slot)
            item = self._take()
        if item is None and self._end is not _End.WHOLE:
            raise _Abandoned
        pack.following = item
        pack.size_bytes += len(packs.END)
        pack.may_be_stored = True
        yield packs.END

    def _is_stored(self, pack: "_Pack") -> bool:
        try:
            return self._store.head(pack.key).size_bytes == pack.size_bytes
        except (BlobMissing, StoreUnavailable):
            return False


@dataclass(slots=True)
class _Pack:
    """A pack on its way."""

    key: str
    size_bytes: int = 0
    """So far."""
    following: _Item | None = None
    """The first frame that comes into another one."""
    may_be_stored: bool = False
    """Whether all of it was handed over."""


def _about(row: FrameRow) -> dict[str, Any]:
    """What a reader that has only the pack wants to know of a frame."""
    return {
        "sequence": row.sequence,
        "chunk_id": row.chunk_id,
        "timestamp": row.timestamp,
        "duration": row.duration,
        "width": row.width,
        "height": row.height,
        "perceptual_hash": row.perceptual_hash,
    }
