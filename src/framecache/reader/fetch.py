"""Fetching one stored JPEG, and refusing it unless it is the one that was committed."""

from dataclasses import dataclass
from typing import Final

import google_crc32c

from framecache.errors import CorruptFrame
from framecache.index import FrameRow, Snapshot, ensure_current, find
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
            repaired = self._latest_row(row)
            if repaired == row:
                raise
            return self._checked_jpeg(repaired)

    def _latest_row(self, row: FrameRow) -> FrameRow:
        """The row as it is committed now: the frame may have been repaired since."""
        described = self.snapshot.description
        if described is None:
            return row
        ensure_current(self.store, described)
        latest = find(self.store, described.timeline_id)
        position = latest.index.position(row.sequence)
        if (
            latest.description is None
            or latest.description.epoch != described.epoch
            or position is None
        ):
            return row
        found = latest.index.row(position)
        return found if found.status == "ok" else row

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
            f"committed: {difference}; {self._advice()}"
        )

    def _advice(self) -> str:
        described = self.snapshot.description
        if described is None:
            return "ask the program that stored it"
        if not described.chunks:
            return "write the frame again"
        return f"run: framecache verify {described.timeline_id} --repair"

    def _difference(self, data: bytes, row: FrameRow) -> str:
        if self.snapshot.index.is_listed:
            return ""  # another program stored it: nobody knows its length or CRC
        if len(data) != row.size:
            return f"it has {len(data)} bytes instead of {row.size}"
        if google_crc32c.value(data) != row.crc32c:
            return "its CRC-32C differs"
        return ""
