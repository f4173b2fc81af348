"""Interface of a layout: the way in which the frames of a timeline are stored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, Rendition
from framecache._layouts.encoding import EncodedJpeg, EncoderPool, FramePosition
from framecache._layouts.storage_stats import Sizes, StorageStats, without_reads
from framecache.model import Layout
from framecache.store import Store


class FrameStorage(AbstractContextManager["FrameStorage", None], Protocol):
    """Storage of the frames of one index part, which are added in time order.

    If its context exits with an error, it deletes the blobs whose keys no other program uses, so
    commit the part after the context exits.
    """

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """Queue a frame for encoding and storage; block while the queue is full.

        Raise the error if an earlier frame failed.
        """
        ...

    def finish(self) -> list[FrameRow]:
        """Wait until the store has acknowledged all frames, and return their rows."""
        ...

    def discard(self) -> None:
        """Delete stored blobs whose keys no other program uses: they will not be committed."""
        ...


class RenditionStorage(AbstractContextManager["RenditionStorage", None], Protocol):
    """Storage of renditions of frames that stay where they are; used as `FrameStorage` is."""

    def add(self, frame_position: FramePosition, encode: Callable[[], EncodedJpeg]) -> None:
        """Queue a frame whose renditions are to be stored; block while the queue is full."""
        ...

    def finish(self) -> Mapping[int, tuple[Rendition, ...]]:
        """Wait until the store has acknowledged all, and return the renditions by sequence."""
        ...

    def discard(self) -> None:
        """Delete stored blobs whose keys no other program uses: they will not be committed."""
        ...


class FrameLayout(ABC):
    """A layout. Its name is public, and recorded in the manifest."""

    name: ClassVar[Layout]
    has_public_keys: ClassVar[bool]
    """True if each frame is a blob under its public key, which any program may overwrite. False if
    the keys are unique to the call that stored the frames."""
    stores_frames: ClassVar[bool] = True
    """False if frames are decoded from their chunks when they are read, and never stored."""

    def create_encoders(self, store: Store, *, workers: int, picture_bytes: int = 0) -> EncoderPool:
        """Return the threads that encode the frames for a store.

        Args:
            store: the store of the timeline.
            workers: number of threads that encode at the same time.
            picture_bytes: size of the largest picture to come; 0 if unknown.
        """
        return EncoderPool(
            workers=workers,
            upload_threads=self.upload_threads(store),
            picture_bytes=picture_bytes,
        )

    @abstractmethod
    def create_storage(
        self,
        store: Store,
        manifest: Manifest,
        part: str,
        encoders: EncoderPool,
        *,
        on_stored: Callable[[FramePosition], None] = lambda _: None,
        put: Callable[[str, bytes], None] | None = None,
    ) -> FrameStorage:
        """Return the storage for the frames of an index part.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            part: the name of the index part, or a substitute for it in the key of a pack.
            encoders: the pool that encodes the frames.
            on_stored: called, on several threads, for each frame that is stored or being uploaded.
            put: stores the JPEG of a frame under its public key; None: the store's own.
        """

    @abstractmethod
    def create_rendition_storage(
        self, store: Store, manifest: Manifest, part: str, encoders: EncoderPool
    ) -> RenditionStorage:
        """Return the storage for renditions of the frames of an index part.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline, whose settings have the sizes.
            part: the name of the index part.
            encoders: the pool that encodes the renditions.
        """

    @abstractmethod
    def create_private_storage(
        self, store: Store, manifest: Manifest, encoders: EncoderPool
    ) -> FrameStorage:
        """Return a storage whose keys no other program uses, for frames that replace others.

        They need not be in time order. `_ingest.relocation` moves them later, if their place in the
        layout is another.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            encoders: the pool that encodes the frames.
        """

    @abstractmethod
    def upload_threads(self, store: Store) -> int:
        """Return the number of threads that upload frames, besides those that encode them."""

    @abstractmethod
    def estimate(self, sizes: Sizes) -> StorageStats:
        """Return the figures of frames that are stored together, given the sizes of the JPEGs."""

    def estimate_renditions(self, sizes: Sizes, *, are_written: bool) -> StorageStats:  # noqa: ARG002 -- for other layouts
        """Return the figures of renditions of one size, without the requests that read them.

        Args:
            sizes: sizes in bytes of the renditions of one index part.
            are_written: True if a program wrote their frames; False if they were extracted.
        """
        return without_reads(self.estimate(sizes))

    @abstractmethod
    def holds_all(self, index: Index) -> bool:
        """Return True if all rows with a picture are stored in this layout."""
