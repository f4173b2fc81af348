"""Fetching one stored JPEG, and refusing it unless it is the one that was committed."""

from dataclasses import dataclass
from typing import Final

import google_crc32c

from framecache.errors import CorruptFrame
from framecache.index import FrameRow, Snapshot, ensure_current
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The JPEGs of a timeline as it was at one moment. Safe to share between threads."""

    store: Store
    snapshot: Snapshot

    def jpeg(self, row: FrameRow) -> bytes:
        """The stored bytes of a frame whose status is ``"ok"``; one request.

        Raises:
            Cleared: the timeline is no longer the one this source reads.
            CorruptFrame: the frame is gone, or its bytes are not those that were committed, in
                two attempts.
        """
        try:
            return self._checked_jpeg(row)
        except CorruptFrame:
            if self.snapshot.description is not None:
                ensure_current(self.store, self.snapshot.description)
            raise

    def _checked_jpeg(self, row: FrameRow) -> bytes:
        difference = ""
        for _ in range(_ATTEMPTS):
            try:
                data = self.store.get(row.key)
            except BlobMissing:
                difference = "it is gone"
                continue
            difference = self._difference(data, row)
            if not difference:
                return data
        raise CorruptFrame(
            f"frame {row.sequence} ({row.key} in {self.store.url}) is not the one that was "
            f"committed: {difference}; rebuild the timeline from its chunks"
        )

    def _difference(self, data: bytes, row: FrameRow) -> str:
        if self.snapshot.index.is_listed:
            return ""  # another program stored it: nobody knows its length or CRC
        if len(data) != row.size:
            return f"it has {len(data)} bytes instead of {row.size}"
        if google_crc32c.value(data) != row.crc32c:
            return "its CRC-32C differs"
        return ""
