"""Storing the frames of one part in one tar, while they are being encoded."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from enum import Enum, auto
from queue import Queue
from types import TracebackType
from typing import Any, Final, Self

from framecache import keys, packs
from framecache.errors import StoreDenied, StoreUnavailable
from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.slot import Slot, row_of
from framecache.manifest import Description
from framecache.store import BlobMissing, Store

_FRAMES_WAITING: Final = 32
"""JPEGs that are encoded, or about to be, and not yet taken by the upload."""


class _End(Enum):
    """What comes after the last frame."""

    WHOLE = auto()
    ABANDONED = auto()


class _Abandoned(Exception):
    """The frames do not come to their end; nothing of the pack is to be stored."""


class PackStorage:
    """Stores frames in a pack that no other program has; a context manager.

    The pack is uploaded on a thread of its own, as the frames come, in their order. It is there,
    whole, when :meth:`finish` returns, and never if that is not reached.
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
        self.key = keys.pack(
            description.timeline_id,
            epoch=description.epoch,
            part=part,
            attempt=secrets.token_hex(8),
        )
        self._store = store
        self._encoders = encoders
        self._on_stored = on_stored
        self._waiting: Queue[tuple[Slot, Future[EncodedFrame]] | _End] = Queue(_FRAMES_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-pack")
        self._upload: Future[list[FrameRow]] | None = None
        self._rows: list[FrameRow] | None = None
        """Once the pack is stored."""
        self._has_all = False
        """Whether the last frame was given."""
        self._end: _End | None = None
        """Once the upload came to it."""
        self._size_bytes = 0

    def add(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> None:
        """See `FrameStorage`."""
        encoded = self._encoders.submit(encode, _as_it_is)
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
            self._store.delete([self.key])

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
        if self._end is _End.WHOLE and self._rows is None:
            self.discard()  # it may have been stored all the same

    def _store_all(self) -> list[FrameRow]:
        rows: list[FrameRow] = []
        try:
            self._put(self._blocks(rows))
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

    def _take(self) -> tuple[Slot, Future[EncodedFrame]] | None:
        item = self._waiting.get()
        if isinstance(item, _End):
            self._end = item
            return None
        return item

    def _blocks(self, rows: list[FrameRow]) -> Iterator[bytes]:
        """The tar, frame by frame; their rows are added as they go."""
        while (item := self._take()) is not None:
            slot, future = item
            encoded = future.result()
            offset = self._size_bytes + packs.HEADER_BYTES
            row = row_of(slot, encoded, key=self.key, offset=offset)
            members = packs.frame_members(slot.sequence, encoded.data, _about(row))
            self._size_bytes += len(members)
            rows.append(row)
            yield members
            self._on_stored(slot)
        if self._end is not _End.WHOLE:
            raise _Abandoned
        self._size_bytes += len(packs.END)
        yield packs.END

    def _put(self, blocks: Iterator[bytes]) -> None:
        try:
            self._store.put_stream(self.key, blocks)
        except StoreUnavailable:
            # The answer may have been lost; nobody else stores under this name.
            if not self._is_stored():
                raise

    def _is_stored(self) -> bool:
        try:
            stored = self._store.head(self.key)
        except (BlobMissing, StoreUnavailable):
            return False
        return self._end is _End.WHOLE and stored.size_bytes == self._size_bytes


def _as_it_is(encoded: EncodedFrame) -> EncodedFrame:
    return encoded


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
