"""Layout ``packs``: the frames of an index part in one tar, uploaded while they are encoded.

A pack is an uncompressed tar that is a WebDataset shard. Each frame has two members,
``{sequence}.jpg`` and ``{sequence}.json``. Readers of the cache use the offsets in the index, and
need neither the tar's headers nor the JSON.
"""

import json
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from queue import Queue
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index
from framecache._layouts.base import FrameLayout
from framecache._layouts.encoding import (
    EncodedJpeg,
    EncoderPool,
    FramePosition,
    build_row,
    identity,
)
from framecache._layouts.storage_stats import (
    JpegRange,
    Sizes,
    StorageStats,
    count_puts,
    count_ranges,
)
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.model import Layout
from framecache.store import BlobMissing, Store

_BLOCK_BYTES: Final = tarfile.BLOCKSIZE

HEADER_BYTES: Final = _BLOCK_BYTES
"""Number of bytes in a pack before the first JPEG."""

END_OF_ARCHIVE: Final = bytes(2 * _BLOCK_BYTES)
"""The last bytes of a tar."""

_QUEUE_FRAMES: Final = 32
"""Maximum number of JPEGs, encoded or queued for encoding, that wait for the upload."""

_MAX_PACK_BYTES: Final = 100 * 10**9
"""Pack size in bytes at which the next frames of the index part go to another pack.

S3 accepts at most 10,000 parts in a multipart upload.
"""

_Item = tuple[FramePosition, Future[EncodedJpeg]]


class _EndOfFrames(Enum):
    """Marker that follows the last frame in the queue."""

    COMPLETE = auto()
    ABORTED = auto()


class _UploadAborted(Exception):
    """Raised in the upload when the frames were abandoned, so that no pack is stored."""


class Packs(FrameLayout):
    """Layout ``packs``."""

    name: ClassVar[Layout] = "packs"
    has_public_keys: ClassVar[bool] = False

    def create_storage(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
        *,
        on_stored: Callable[[FramePosition], None] = lambda _: None,
        put: Callable[[str, bytes], None] | None = None,  # noqa: ARG002 -- no frame has a public key
    ) -> "PackStorage":
        """See `FrameLayout`."""
        return PackStorage(store, manifest, part, encoders, on_stored=on_stored)

    def create_private_storage(
        self, store: Store, manifest: Manifest, encoders: EncoderPool
    ) -> "PackStorage":
        """See `FrameLayout`."""
        return PackStorage(store, manifest, keys.WRITTEN, encoders)

    def upload_threads(self, store: Store) -> int:  # noqa: ARG002 -- each pack has one of its own
        """See `FrameLayout`."""
        return 0

    def estimate(self, sizes: Sizes) -> StorageStats:
        """See `FrameLayout`."""
        if not len(sizes):
            return StorageStats()
        lengths = members_bytes(sizes)
        offset = HEADER_BYTES + np.cumsum(lengths) - lengths
        stored_bytes = int(lengths.sum()) + len(END_OF_ARCHIVE)
        gets, read_bytes = count_ranges(
            map(partial(JpegRange, ""), offset.tolist(), sizes.tolist())
        )
        return StorageStats(
            frame_count=len(sizes),
            blobs=1,
            stored_bytes=stored_bytes,
            puts=count_puts(stored_bytes),
            gets=gets,
            read_bytes=read_bytes,
        )

    def holds_all(self, index: Index) -> bool:
        """See `FrameLayout`."""
        return bool((index.offset[index.is_ok] > 0).all())


def pack_end(offset: Sizes, size: Sizes) -> Sizes:
    """Return the sizes in bytes of packs in which these frames are the last."""
    return offset - HEADER_BYTES + members_bytes(size) + len(END_OF_ARCHIVE)


class PackStorage:
    """Storage of frames in a pack whose key no other program uses; a context manager.

    A separate thread uploads the pack as frames are added, in their order. The pack is complete
    when :meth:`finish` returns. It does not exist if :meth:`finish` never returns or the context
    exits with an error, so commit the index part that names the pack outside the context. Frames
    that exceed the size of one pack go to several.
    """

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
        *,
        on_stored: Callable[[FramePosition], None] = lambda _: None,
    ) -> None:
        """Initialize without storing anything; the upload starts with the first frame.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            part: the name of the index part, or a substitute for it in the pack's key.
            encoders: the pool that encodes the frames.
            on_stored: called for each frame that was handed to the upload.
        """
        self._store = store
        self._manifest = manifest
        self._part = part
        self._encoders = encoders
        self._on_stored = on_stored
        self._queue: Queue[_Item | _EndOfFrames] = Queue(_QUEUE_FRAMES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-pack")
        self._upload: Future[list[FrameRow]] | None = None
        self._rows: list[FrameRow] | None = None
        """Index rows of the frames, once the pack is stored."""
        self._has_all_frames = False
        """True if the last frame was added."""
        self._end: _EndOfFrames | None = None
        """End marker, once the upload thread has taken it from the queue."""
        self._packs: list[_Pack] = []

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """See `FrameStorage`."""
        encoded = self._encoders.submit(encode, identity)
        if self._upload is None:
            self._upload = self._thread.submit(self._store_all)
        self._queue.put((frame_position, encoded))

    def finish(self) -> list[FrameRow]:
        """See `FrameStorage`."""
        if self._upload is None:
            return []
        self._queue.put(_EndOfFrames.COMPLETE)
        self._has_all_frames = True
        self._rows = self._upload.result()
        return self._rows

    def discard(self) -> None:
        """See `FrameStorage`."""
        # If deletion is denied, gc removes the packs later.
        with suppress(StorePermissionDenied, StoreUnavailable):
            self._store.delete([pack.key for pack in self._packs])
            self._packs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._upload is not None and not self._has_all_frames:
            self._queue.put(_EndOfFrames.ABORTED)
        self._thread.shutdown()
        is_given_up = error is not None or self._rows is None
        if is_given_up and any(pack.is_fully_sent for pack in self._packs):
            self.discard()

    def _store_all(self) -> list[FrameRow]:
        rows: list[FrameRow] = []
        try:
            following = self._next_item()
            while following is not None:
                following = self._store_pack(following, rows)
        except _UploadAborted:
            raise
        except BaseException as error:
            self._encoders.stop(error)
            raise
        finally:
            # Drain the queue, so that `add` does not block on a full one.
            while self._end is None:
                self._next_item()
        return rows

    def _next_item(self) -> _Item | None:
        item = self._queue.get()
        if isinstance(item, _EndOfFrames):
            self._end = item
            return None
        return item

    def _store_pack(self, first: _Item, rows: list[FrameRow]) -> _Item | None:
        """Store one pack of frames, starting with `first`; return the first of the next pack."""
        pack = _Pack(self._new_key())
        self._packs.append(pack)
        try:
            self._store.put_stream(pack.key, self._blocks(pack, first, rows))
        except StoreUnavailable:
            # The response may have been lost; no other program writes this key.
            if not (pack.is_fully_sent and self._is_stored(pack)):
                raise
        return pack.next_item

    def _new_key(self) -> str:
        return keys.pack(
            self._manifest.timeline_id,
            epoch=self._manifest.epoch,
            part=self._part,
            attempt=secrets.token_hex(8),
        )

    def _blocks(self, pack: "_Pack", first: _Item, rows: list[FrameRow]) -> Iterator[bytes]:
        """Yield the tar frame by frame, and append each frame's row to `rows`."""
        item: _Item | None = first
        while item is not None and pack.size_bytes < _MAX_PACK_BYTES:
            frame_position, future = item
            encoded = future.result()
            offset = pack.size_bytes + HEADER_BYTES
            row = build_row(frame_position, encoded, key=pack.key, offset=offset)
            members = frame_members(frame_position.sequence, encoded.data, _frame_metadata(row))
            pack.size_bytes += len(members)
            rows.append(row)
            yield members
            self._on_stored(frame_position)
            item = self._next_item()
        if item is None and self._end is not _EndOfFrames.COMPLETE:
            raise _UploadAborted
        pack.next_item = item
        pack.size_bytes += len(END_OF_ARCHIVE)
        pack.is_fully_sent = True
        yield END_OF_ARCHIVE

    def _is_stored(self, pack: "_Pack") -> bool:
        try:
            return self._store.head(pack.key).size_bytes == pack.size_bytes
        except (BlobMissing, StoreUnavailable):
            return False


@dataclass(slots=True)
class _Pack:
    """Pack that is being uploaded."""

    key: str
    size_bytes: int = 0
    """Size of the data produced so far."""
    next_item: _Item | None = None
    """First frame of the next pack, or None."""
    is_fully_sent: bool = False
    """True if all data was handed to the store."""


def _frame_metadata(row: FrameRow) -> dict[str, Any]:
    """Return the metadata of a frame for readers that have only the pack."""
    return {
        "sequence": row.sequence,
        "chunk_id": row.chunk_id,
        "timestamp": row.timestamp,
        "duration": row.duration,
        "width": row.width,
        "height": row.height,
        "perceptual_hash": row.perceptual_hash,
    }


def frame_members(sequence: int, jpeg: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Return the two tar members of a frame; the JPEG starts at offset ``HEADER_BYTES``.

    The same frame always gives the same bytes: the members record neither time nor author.
    """
    document = json.dumps(metadata, separators=(",", ":")).encode()
    return tar_member(f"{sequence}.jpg", jpeg) + tar_member(f"{sequence}.json", document)


def members_bytes(jpeg_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the total size of each frame's members, given the sizes of the JPEGs.

    The JSON of a frame fits in one tar block.
    """
    return 3 * _BLOCK_BYTES + jpeg_bytes + -jpeg_bytes % _BLOCK_BYTES


def tar_member(name: str, data: bytes) -> bytes:
    """Return a member of a tar, padded to whole blocks; it records neither time nor author."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    padding = bytes(-len(data) % _BLOCK_BYTES)
    return b"".join([header.tobuf(tarfile.USTAR_FORMAT), data, padding])
