"""Layout ``objects``: each frame is a blob under its public key."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from functools import partial
from typing import ClassVar, Final

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index
from framecache._layouts.base import FrameLayout
from framecache._layouts.encoding import EncodedJpeg, EncoderPool, FramePosition, build_row
from framecache._layouts.packs import PackStorage
from framecache._layouts.storage_stats import Sizes, StorageStats, count_puts
from framecache.model import Layout
from framecache.store import Store, is_remote

_CONCURRENT_UPLOADS: Final = 16


class Objects(FrameLayout):
    """Layout ``objects``."""

    name: ClassVar[Layout] = "objects"
    has_public_keys: ClassVar[bool] = True

    def create_storage(
        self,
        store: Store,
        manifest: Manifest,
        part: str,  # noqa: ARG002 -- the keys are the frames' own
        encoders: EncoderPool,
        *,
        on_stored: Callable[[FramePosition], None] = lambda _: None,
        put: Callable[[str, bytes], None] | None = None,
    ) -> "ObjectStorage":
        """See `FrameLayout`."""
        return ObjectStorage(
            manifest.timeline_id, encoders, put=put or store.put, on_stored=on_stored
        )

    def create_private_storage(
        self, store: Store, manifest: Manifest, encoders: EncoderPool
    ) -> PackStorage:
        """See `FrameLayout`."""
        return PackStorage(store, manifest, keys.WRITTEN, encoders)

    def upload_threads(self, store: Store) -> int:
        """See `FrameLayout`."""
        return _CONCURRENT_UPLOADS if is_remote(store) else 0

    def estimate(self, sizes: Sizes) -> StorageStats:
        """See `FrameLayout`."""
        total = int(sizes.sum())
        return StorageStats(
            frame_count=len(sizes),
            blobs=len(sizes),
            stored_bytes=total,
            puts=sum(map(count_puts, sizes.tolist())),
            gets=len(sizes),
            read_bytes=total,
        )

    def holds_all(self, index: Index) -> bool:
        """See `FrameLayout`."""
        is_elsewhere = (index.offset > 0) | index.is_decoded_on_demand
        return not bool(is_elsewhere[index.is_ok].any())


class ObjectStorage(AbstractContextManager["ObjectStorage", None]):
    """Storage with one blob per frame, for layout ``objects``."""

    def __init__(
        self,
        timeline_id: str,
        encoders: EncoderPool,
        *,
        put: Callable[[str, bytes], None],
        on_stored: Callable[[FramePosition], None],
    ) -> None:
        """Initialize without storing anything.

        Args:
            timeline_id: the timeline of the frames.
            encoders: the pool that encodes the frames.
            put: stores a JPEG under a key; called on several threads.
            on_stored: called after that.
        """
        self._timeline_id = timeline_id
        self._encoders = encoders
        self._put = put
        self._on_stored = on_stored
        self._stored: deque[Future[FrameRow]] = deque()
        self._rows: list[FrameRow] = []

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """See `FrameStorage`."""
        self._stored.append(self._encoders.submit(encode, partial(self._store, frame_position)))
        while self._stored and self._stored[0].done():
            self._rows.append(self._stored.popleft().result())

    def finish(self) -> list[FrameRow]:
        """See `FrameStorage`."""
        self._rows += [future.result() for future in self._stored]
        self._stored.clear()
        return self._rows

    def discard(self) -> None:
        """Do nothing: another program may have overwritten the frames already."""

    def __exit__(self, *_: object) -> None:
        """Wait for pending frames: none may be stored after the lease on the part is released."""
        wait(self._stored)

    def _store(self, frame_position: FramePosition, encoded: EncodedJpeg) -> FrameRow:
        key = keys.frame(self._timeline_id, frame_position.sequence)
        self._put(key, encoded.data)
        self._on_stored(frame_position)
        return build_row(frame_position, encoded, key=key, offset=0)
