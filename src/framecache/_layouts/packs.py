"""Layout ``packs``: the frames of an index part in one tar, uploaded while they are encoded."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, Self

import numpy as np

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, Rendition
from framecache._layouts.base import FrameLayout
from framecache._layouts.encoding import EncodedJpeg, EncoderPool, FramePosition, identity
from framecache._layouts.pack_format import END_OF_ARCHIVE, HEADER_BYTES, members_bytes
from framecache._layouts.pack_upload import FrameUpload, RenditionUpload, close_all
from framecache._layouts.storage_stats import (
    JpegRange,
    Sizes,
    StorageStats,
    count_puts,
    count_ranges,
)
from framecache.model import Layout
from framecache.store import Store


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

    def create_rendition_storage(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
    ) -> "RenditionPacks":
        """See `FrameLayout`."""
        return RenditionPacks(store, manifest, part, encoders)

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


class PackStorage:
    """Storage of frames in packs whose keys no other program uses; a context manager.

    Frames and each size of their renditions have packs of their own. A separate thread uploads
    each pack as frames are added, in their order. The packs are complete when :meth:`finish`
    returns. They do not exist if :meth:`finish` never returns or the context exits with an error,
    so commit the index part that names them outside the context. Frames that exceed the size of
    one pack go to several.
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
        """Initialize without storing anything; the uploads start with the first frame.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            part: the name of the index part, or a substitute for it in the packs' keys.
            encoders: the pool that encodes the frames.
            on_stored: called for each frame that was handed to the upload.
        """
        self._encoders = encoders
        self._frames = FrameUpload(store, manifest, part, encoders, on_stored=on_stored)
        self._renditions = [
            RenditionUpload(store, manifest, part, encoders, max_side=max_side)
            for max_side in manifest.settings.jpeg.renditions
        ]

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """See `FrameStorage`."""
        encoded = self._encoders.submit(encode, identity)
        for upload in self._uploads:
            upload.add(frame_position, encoded)

    def finish(self) -> list[FrameRow]:
        """See `FrameStorage`."""
        for upload in self._uploads:
            upload.end()
        rows = self._frames.result()
        if not self._renditions:
            return rows
        renditions = _join_renditions(self._renditions)
        return [replace(row, renditions=renditions.get(row.sequence, ())) for row in rows]

    def discard(self) -> None:
        """See `FrameStorage`."""
        for upload in self._uploads:
            upload.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        close_all(self._uploads, is_given_up=error is not None)

    @property
    def _uploads(self) -> list[FrameUpload | RenditionUpload]:
        return [self._frames, *self._renditions]


class RenditionPacks:
    """Storage of renditions in packs, without their frames; a context manager.

    As `PackStorage` otherwise.
    """

    def __init__(self, store: Store, manifest: Manifest, part: str, encoders: EncoderPool) -> None:
        """Initialize without storing anything; see `PackStorage`."""
        self._encoders = encoders
        self._uploads = [
            RenditionUpload(store, manifest, part, encoders, max_side=max_side)
            for max_side in manifest.settings.jpeg.renditions
        ]

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """See `RenditionStorage`."""
        encoded = self._encoders.submit(encode, identity)
        for upload in self._uploads:
            upload.add(frame_position, encoded)

    def finish(self) -> Mapping[int, tuple[Rendition, ...]]:
        """See `RenditionStorage`."""
        for upload in self._uploads:
            upload.end()
        return _join_renditions(self._uploads)

    def discard(self) -> None:
        """See `RenditionStorage`."""
        for upload in self._uploads:
            upload.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        close_all(self._uploads, is_given_up=error is not None)


def _join_renditions(
    uploads: Iterable[RenditionUpload],
) -> Mapping[int, tuple[Rendition, ...]]:
    """Wait for uploads, and return the renditions of each frame."""
    joined: dict[int, tuple[Rendition, ...]] = {}
    for upload in uploads:
        for sequence, rendition in upload.result():
            joined[sequence] = (*joined.get(sequence, ()), rendition)
    return joined
