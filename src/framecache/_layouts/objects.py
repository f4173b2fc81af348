"""Layout ``objects``: each frame is a blob under its public key."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from functools import partial
from typing import ClassVar, Final

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, Rendition
from framecache._layouts.base import FrameLayout
from framecache._layouts.encoding import (
    EncodedJpeg,
    EncodedRendition,
    EncoderPool,
    FramePosition,
    build_row,
)
from framecache._layouts.packs import Packs, PackStorage, RenditionPacks
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
        return ObjectStorage(manifest, encoders, put=put or store.put, on_stored=on_stored)

    def create_rendition_storage(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
    ) -> "RenditionObjects | RenditionPacks":
        """See `FrameLayout`."""
        # Programs that write the same frames at the same time would share the renditions' keys.
        if part == keys.WRITTEN or keys.is_written_part(part):
            return RenditionPacks(store, manifest, part, encoders)
        return RenditionObjects(store, manifest, encoders)

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

    def estimate_renditions(self, sizes: Sizes, *, are_written: bool) -> StorageStats:
        """See `FrameLayout`."""
        if are_written:
            return Packs().estimate_renditions(sizes, are_written=True)
        return super().estimate_renditions(sizes, are_written=False)

    def holds_all(self, index: Index) -> bool:
        """See `FrameLayout`."""
        is_elsewhere = (index.offset > 0) | index.is_decoded_on_demand
        return not bool(is_elsewhere[index.is_ok].any())


class ObjectStorage(AbstractContextManager["ObjectStorage", None]):
    """Storage with one blob per frame, for layout ``objects``."""

    def __init__(
        self,
        manifest: Manifest,
        encoders: EncoderPool,
        *,
        put: Callable[[str, bytes], None],
        on_stored: Callable[[FramePosition], None],
    ) -> None:
        """Initialize without storing anything.

        Args:
            manifest: the manifest of the timeline.
            encoders: the pool that encodes the frames.
            put: stores a JPEG under a key; called on several threads.
            on_stored: called after that.
        """
        self._manifest = manifest
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
        sequence = frame_position.sequence
        renditions = store_renditions(self._manifest, sequence, encoded.renditions, put=self._put)
        key = keys.frame(self._manifest.timeline_id, sequence)
        self._put(key, encoded.data)
        self._on_stored(frame_position)
        return build_row(frame_position, encoded, key=key, offset=0, renditions=renditions)


class RenditionObjects(AbstractContextManager["RenditionObjects", None]):
    """Storage of renditions with one blob each, without their frames, for layout ``objects``."""

    def __init__(self, store: Store, manifest: Manifest, encoders: EncoderPool) -> None:
        """Initialize without storing anything."""
        self._store = store
        self._manifest = manifest
        self._encoders = encoders
        self._stored: deque[Future[tuple[int, tuple[Rendition, ...]]]] = deque()

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """See `RenditionStorage`."""
        self._stored.append(
            self._encoders.submit(encode, partial(self._store_all, frame_position.sequence))
        )

    def finish(self) -> Mapping[int, tuple[Rendition, ...]]:
        """See `RenditionStorage`."""
        return dict(future.result() for future in self._stored)

    def discard(self) -> None:
        """Do nothing: the next attempt stores the same blobs, and gc deletes others."""

    def __exit__(self, *_: object) -> None:
        """Wait for pending renditions."""
        wait(self._stored)

    def _store_all(self, sequence: int, encoded: EncodedJpeg) -> tuple[int, tuple[Rendition, ...]]:
        return sequence, store_renditions(
            self._manifest, sequence, encoded.renditions, put=self._store.put
        )


def store_renditions(
    manifest: Manifest,
    sequence: int,
    renditions: Iterable[EncodedRendition],
    *,
    put: Callable[[str, bytes], None],
) -> tuple[Rendition, ...]:
    """Store renditions of a frame under their own keys; return them as the index names them."""
    stored: list[Rendition] = []
    for one in renditions:
        key = keys.rendition(
            manifest.timeline_id,
            epoch=manifest.epoch,
            max_side=one.max_side,
            sequence=sequence,
        )
        put(key, one.data)
        stored.append(one.located(key=key, offset=0))
    return tuple(stored)
