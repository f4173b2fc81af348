"""Upload of packs, while their frames are encoded: one thread for each kind of JPEG."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from queue import Queue
from typing import Any, Final, Generic, TypeVar

from framecache._core import keys
from framecache._core.frame_size import limit_size
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Rendition
from framecache._layouts.encoding import EncodedJpeg, EncoderPool, FramePosition, build_row
from framecache._layouts.pack_format import END_OF_ARCHIVE, HEADER_BYTES, frame_members
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.store import BlobMissing, Store

_QUEUE_FRAMES: Final = 32
"""Maximum number of JPEGs, encoded or queued for encoding, that wait for the upload."""

_MAX_PACK_BYTES: Final = 100 * 10**9
"""Pack size in bytes at which the next frames of the index part go to another pack.

S3 accepts at most 10,000 parts in a multipart upload.
"""

_Item = tuple[FramePosition, Future[EncodedJpeg]]
_Frame = tuple[FramePosition, EncodedJpeg]

Entry = TypeVar("Entry")
"""What the index names of a pack."""


class _EndOfFrames(Enum):
    """Marker that follows the last frame in the queue."""

    COMPLETE = auto()
    ABORTED = auto()


class _UploadAborted(Exception):
    """Raised in the upload when the frames were abandoned, so that no pack is stored."""


class PackUpload(ABC, Generic[Entry]):
    """Upload of one kind of JPEG of the frames that are added, in one pack or more."""

    def __init__(self, store: Store, manifest: Manifest, part: str, encoders: EncoderPool) -> None:
        self._store = store
        self._manifest = manifest
        self._part = part
        self._encoders = encoders
        self._queue: Queue[_Item | _EndOfFrames] = Queue(_QUEUE_FRAMES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-pack")
        self._upload: Future[list[Entry]] | None = None
        self._is_complete = False
        """True once all packs are stored."""
        self._is_ended = False
        """True if the last frame was added."""
        self._end: _EndOfFrames | None = None
        """End marker, once the upload thread has taken it from the queue."""
        self._packs: list[_Pack] = []

    @abstractmethod
    def _new_key(self) -> str:
        """Return the key of a pack."""

    @abstractmethod
    def _jpeg(self, encoded: EncodedJpeg) -> bytes | None:
        """Return the JPEG that a pack holds of a frame; None if it holds none."""

    @abstractmethod
    def _entry(self, frame: _Frame, *, key: str, offset: int) -> Entry:
        """Return what the index names at an offset of a pack."""

    @abstractmethod
    def _size(self, encoded: EncodedJpeg) -> tuple[int, int]:
        """Return the width and height of the JPEG that a pack holds of a frame."""

    def _on_stored(self, frame_position: FramePosition) -> None:
        """Note that a frame was handed to the upload."""

    def add(self, frame_position: FramePosition, encoded: Future[EncodedJpeg]) -> None:
        """Queue a frame; block while the queue is full."""
        if self._upload is None:
            self._upload = self._thread.submit(self._store_all)
        self._queue.put((frame_position, encoded))

    def end(self) -> None:
        """Mark the last frame as added."""
        if self._upload is not None:
            self._queue.put(_EndOfFrames.COMPLETE)
        self._is_ended = True

    def result(self) -> list[Entry]:
        """Wait until the store has acknowledged all packs, and return what they hold."""
        stored = [] if self._upload is None else self._upload.result()
        self._is_complete = True
        return stored

    def abort(self) -> None:
        """Let no pack be stored unless the last frame was added."""
        if self._upload is not None and not self._is_ended:
            self._queue.put(_EndOfFrames.ABORTED)

    def close(self) -> bool:
        """Wait for the thread; return False if packs may be stored that :meth:`result` lacks."""
        self._thread.shutdown()
        return self._is_complete or not any(pack.is_fully_sent for pack in self._packs)

    def discard(self) -> None:
        """Delete the packs."""
        # If deletion is denied, gc removes the packs later.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self._store.delete([pack.key for pack in self._packs if pack.is_fully_sent])
            self._packs.clear()

    def _store_all(self) -> list[Entry]:
        stored: list[Entry] = []
        try:
            following = self._next_frame()
            while following is not None:
                following = self._store_pack(following, stored)
        except _UploadAborted:
            raise
        except BaseException as error:
            self._encoders.stop(error)
            raise
        finally:
            # Drain the queue, so that `add` does not block on a full one.
            while self._end is None:
                self._next_item()
        return stored

    def _next_item(self) -> _Item | None:
        item = self._queue.get()
        if isinstance(item, _EndOfFrames):
            self._end = item
            return None
        return item

    def _next_frame(self) -> _Frame | None:
        """Return the next frame of which the packs hold a JPEG; None after the last."""
        while (item := self._next_item()) is not None:
            frame_position, future = item
            encoded = future.result()
            if self._jpeg(encoded) is not None:
                return frame_position, encoded
        if self._end is not _EndOfFrames.COMPLETE:
            raise _UploadAborted
        return None

    def _store_pack(self, first: _Frame, stored: list[Entry]) -> _Frame | None:
        """Store one pack of frames, starting with `first`; return the first of the next pack."""
        pack = _Pack(self._new_key())
        self._packs.append(pack)
        try:
            self._store.put_stream(pack.key, self._blocks(pack, first, stored))
        except StoreUnavailable:
            # The response may have been lost; no other program writes this key.
            if not (pack.is_fully_sent and self._is_stored(pack)):
                raise
        return pack.next_frame

    def _blocks(self, pack: "_Pack", first: _Frame, stored: list[Entry]) -> Iterator[bytes]:
        """Yield the tar frame by frame, and append what it holds to `stored`."""
        frame: _Frame | None = first
        while frame is not None and pack.size_bytes < _MAX_PACK_BYTES:
            frame_position, encoded = frame
            jpeg = self._jpeg(encoded)
            assert jpeg is not None
            metadata = _frame_metadata(frame_position, encoded, self._size(encoded))
            offset = pack.size_bytes + HEADER_BYTES
            stored.append(self._entry(frame, key=pack.key, offset=offset))
            members = frame_members(frame_position.sequence, jpeg, metadata)
            pack.size_bytes += len(members)
            yield members
            self._on_stored(frame_position)
            frame = self._next_frame()
        pack.next_frame = frame
        pack.size_bytes += len(END_OF_ARCHIVE)
        pack.is_fully_sent = True
        yield END_OF_ARCHIVE

    def _is_stored(self, pack: "_Pack") -> bool:
        try:
            return self._store.head(pack.key).size_bytes == pack.size_bytes
        except (BlobMissing, StoreUnavailable):
            return False


class FrameUpload(PackUpload[FrameRow]):
    """Upload of the frames themselves."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
        *,
        on_stored: Callable[[FramePosition], None],
    ) -> None:
        super().__init__(store, manifest, part, encoders)
        self._report = on_stored

    def _new_key(self) -> str:
        return keys.pack(
            self._manifest.timeline_id,
            epoch=self._manifest.epoch,
            part=self._part,
            attempt=secrets.token_hex(8),
        )

    def _jpeg(self, encoded: EncodedJpeg) -> bytes:
        return encoded.data

    def _entry(self, frame: _Frame, *, key: str, offset: int) -> FrameRow:
        frame_position, encoded = frame
        return build_row(frame_position, encoded, key=key, offset=offset)

    def _size(self, encoded: EncodedJpeg) -> tuple[int, int]:
        return encoded.width, encoded.height

    def _on_stored(self, frame_position: FramePosition) -> None:
        self._report(frame_position)


class RenditionUpload(PackUpload[tuple[int, Rendition]]):
    """Upload of the renditions of one size; their entries are pairs with the sequence."""

    def __init__(
        self, store: Store, manifest: Manifest, part: str, encoders: EncoderPool, *, max_side: int
    ) -> None:
        super().__init__(store, manifest, part, encoders)
        self._max_side = max_side

    def _new_key(self) -> str:
        return keys.rendition_pack(
            self._manifest.timeline_id,
            epoch=self._manifest.epoch,
            max_side=self._max_side,
            part=self._part,
            attempt=secrets.token_hex(8),
        )

    def _jpeg(self, encoded: EncodedJpeg) -> bytes | None:
        rendition = encoded.rendition(self._max_side)
        return None if rendition is None else rendition.data

    def _entry(self, frame: _Frame, *, key: str, offset: int) -> tuple[int, Rendition]:
        frame_position, encoded = frame
        rendition = encoded.rendition(self._max_side)
        assert rendition is not None
        return frame_position.sequence, rendition.located(key=key, offset=offset)

    def _size(self, encoded: EncodedJpeg) -> tuple[int, int]:
        return limit_size(encoded.width, encoded.height, max_side=self._max_side)


@dataclass(slots=True)
class _Pack:
    """Pack that is being uploaded."""

    key: str
    size_bytes: int = 0
    """Size of the data produced so far."""
    next_frame: _Frame | None = None
    """First frame of the next pack, or None."""
    is_fully_sent: bool = False
    """True if all data was handed to the store."""


def close_all(uploads: Sequence[FrameUpload | RenditionUpload], *, is_given_up: bool) -> None:
    """End uploads; delete their packs if the frames will not be committed."""
    for upload in uploads:
        upload.abort()
    are_complete = [upload.close() for upload in uploads]
    if is_given_up or not all(are_complete):
        for upload in uploads:
            upload.discard()


def _frame_metadata(
    frame_position: FramePosition, encoded: EncodedJpeg, size: tuple[int, int]
) -> dict[str, Any]:
    """Return the metadata of a frame for readers that have only the pack."""
    width, height = size
    return {
        "sequence": frame_position.sequence,
        "chunk_id": frame_position.chunk_id,
        "timestamp": frame_position.timestamp,
        "duration": frame_position.duration,
        "width": width,
        "height": height,
        "perceptual_hash": encoded.perceptual_hash,
    }
