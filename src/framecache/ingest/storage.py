"""Where the frames of one index part go: to blobs of their own, or into a pack."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from framecache import keys
from framecache.index import FrameRow
from framecache.ingest.encode import EncodedFrame
from framecache.ingest.encoders import EncoderPool
from framecache.ingest.pack_storage import PackStorage
from framecache.ingest.slot import Slot, row_of
from framecache.manifest import Description
from framecache.store import Store


class FrameStorage(Protocol):
    """Takes the frames of one part, in the order of time, and stores them."""

    def add(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> None:
        """Have a frame encoded and stored; blocks while too many wait.

        Raises what made an earlier frame fail.
        """
        ...

    def finish(self) -> list[FrameRow]:
        """The rows of the frames, once the store has acknowledged them all."""
        ...

    def discard(self) -> None:
        """Remove what was stored, if it has a name of its own: it will never be committed."""
        ...


def storage_of(
    store: Store,
    description: Description,
    part: str,
    encoders: EncoderPool,
    *,
    on_stored: Callable[[Slot], None] = lambda _: None,
) -> AbstractContextManager[FrameStorage]:
    """Where a timeline's layout has the frames of a part.

    Left by an error, it keeps nothing that has a name of its own: what is stored in it is committed
    after it was left.

    Args:
        store: where the timeline lies.
        description: what it is.
        part: the name of the index part, or what stands for it.
        encoders: encode the frames.
        on_stored: told of each frame that is stored, or on its way; on several threads.
    """
    if description.settings.layout == "packs":
        return PackStorage(store, description, part, encoders, on_stored=on_stored)

    def put(slot: Slot, encoded: EncodedFrame) -> None:
        store.put(keys.frame(description.timeline_id, slot.sequence), encoded.data)
        on_stored(slot)

    return ObjectStorage(description.timeline_id, encoders, put)


class ObjectStorage(AbstractContextManager["ObjectStorage", None]):
    """Stores each frame as a blob of its own, as layout ``objects`` has it."""

    def __init__(
        self,
        timeline_id: str,
        encoders: EncoderPool,
        put: Callable[[Slot, EncodedFrame], None],
    ) -> None:
        """Prepare.

        Args:
            timeline_id: whose frames they are.
            encoders: encode the frames.
            put: stores one; called on several threads.
        """
        self._timeline_id = timeline_id
        self._encoders = encoders
        self._put = put
        self._stored: deque[Future[FrameRow]] = deque()
        self._rows: list[FrameRow] = []

    def add(self, slot: Slot, encode: Callable[[], EncodedFrame]) -> None:
        """See `FrameStorage`."""
        self._stored.append(self._encoders.submit(encode, partial(self._store, slot)))
        while self._stored and self._stored[0].done():
            self._rows.append(self._stored.popleft().result())

    def finish(self) -> list[FrameRow]:
        """See `FrameStorage`."""
        self._rows += [future.result() for future in self._stored]
        self._stored.clear()
        return self._rows

    def discard(self) -> None:
        """Leave what is stored: it may be another's by now."""

    def __exit__(self, *_: object) -> None:
        """Wait for frames on their way: nothing may be stored once their part is given up."""
        wait(self._stored)

    def _store(self, slot: Slot, encoded: EncodedFrame) -> FrameRow:
        self._put(slot, encoded)
        return row_of(slot, encoded, key=keys.frame(self._timeline_id, slot.sequence), offset=0)
