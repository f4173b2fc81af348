"""Storage of the frames of one index part: one blob per frame, or a pack."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow
from framecache._ingest.encoded_jpeg import EncodedJpeg
from framecache._ingest.encoder_pool import EncoderPool
from framecache._ingest.frame_position import FramePosition, build_row
from framecache._ingest.pack_storage import PackStorage
from framecache.store import Store


class FrameStorage(Protocol):
    """Storage of the frames of one index part, which are added in time order."""

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


def create_storage(
    store: Store,
    manifest: Manifest,
    part: str,
    encoders: EncoderPool,
    *,
    on_stored: Callable[[FramePosition], None] = lambda _: None,
) -> AbstractContextManager[FrameStorage]:
    """Return the storage for the frames of an index part in the timeline's layout.

    If its context exits with an error, it deletes the blobs whose keys no other program uses, so
    commit the part after the context exits.

    Args:
        store: the store of the timeline.
        manifest: the manifest of the timeline.
        part: the name of the index part, or a substitute for it in the pack's key.
        encoders: the pool that encodes the frames.
        on_stored: called, on several threads, for each frame that is stored or being uploaded.
    """
    if manifest.settings.layout == "packs":
        return PackStorage(store, manifest, part, encoders, on_stored=on_stored)

    def put(slot: FramePosition, encoded: EncodedJpeg) -> None:
        store.put(keys.frame(manifest.timeline_id, slot.sequence), encoded.data)
        on_stored(slot)

    return ObjectStorage(manifest.timeline_id, encoders, put)


class ObjectStorage(AbstractContextManager["ObjectStorage", None]):
    """Storage with one blob per frame, for layout ``objects``."""

    def __init__(
        self,
        timeline_id: str,
        encoders: EncoderPool,
        put: Callable[[FramePosition, EncodedJpeg], None],
    ) -> None:
        """Initialize without storing anything.

        Args:
            timeline_id: the timeline of the frames.
            encoders: the pool that encodes the frames.
            put: stores one frame; called on several threads.
        """
        self._timeline_id = timeline_id
        self._encoders = encoders
        self._put = put
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
        self._put(frame_position, encoded)
        return build_row(
            frame_position,
            encoded,
            key=keys.frame(self._timeline_id, frame_position.sequence),
            offset=0,
        )
