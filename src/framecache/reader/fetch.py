"""Fetching one stored JPEG, and refusing it unless it is the one that was committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import google_crc32c

from framecache.errors import CorruptFrame, FrameCacheError
from framecache.index import FrameRow, Snapshot, ensure_current, find, stored_jpeg
from framecache.reader.local import LocalFrames
from framecache.reader.ranges import ranges_of
from framecache.store import BlobMissing, Store

_ATTEMPTS: Final = 2
_MOST_CHANGES: Final = 100
"""How often a frame may be replaced or moved while it is read."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching a frame, to be told when it is its turn."""

    row: FrameRow
    """That the bytes are of: a later one if the frame was replaced or moved meanwhile."""
    outcome: bytes | FrameCacheError

    def jpeg(self) -> bytes:
        """The stored bytes, or the error that came instead."""
        if isinstance(self.outcome, FrameCacheError):
            raise self.outcome
        return self.outcome


class FrameSource:
    """The JPEGs of a timeline as it was at one moment. Safe to share between threads."""

    def __init__(self, store: Store, snapshot: Snapshot, local: LocalFrames | None = None) -> None:
        self.store = store
        self.snapshot = snapshot
        self._local = local
        """Where frames are looked for before, and kept after, they are fetched."""
        self._later: Snapshot | None = None
        """As it was when a frame was found to have been stored again elsewhere."""

    @property
    def is_outdated(self) -> bool:
        """Whether a frame turned out to have been replaced or moved since the snapshot."""
        return self._later is not None

    def jpeg(self, row: FrameRow) -> bytes:
        """The stored bytes of a frame whose status is ``"ok"``; one request, or from local disk.

        Raises:
            Cleared: the timeline is no longer the one this source reads.
            CorruptFrame: the frame is gone, or its bytes are not those that were committed, in
                two attempts.
        """
        return self.fetch_one(row).jpeg()

    def fetch_one(self, row: FrameRow) -> Fetched:
        """The stored bytes of a frame, and the row they are of. Raises what :meth:`jpeg` raises."""
        row = self._as_known_later(row)
        for _ in range(_MOST_CHANGES):
            try:
                return Fetched(row, self._checked_jpeg(row))
            except CorruptFrame:
                latest = self._latest_row(row)
                if latest == row:
                    raise
                row = latest
        return Fetched(row, self._checked_jpeg(row))

    def prefetch_copies(self, rows: Sequence[FrameRow]) -> bool:
        """Whether local disk seems to have all of these frames, which it begins to read."""
        local = self._local
        return local is not None and all(local.prefetch(self._as_known_later(row)) for row in rows)

    def fetch(self, rows: Sequence[FrameRow]) -> list[Fetched]:
        """The stored bytes of frames that one range holds, or of one frame: in their order.

        One request in the ordinary case. A frame that does not come out right is asked for alone;
        those of which nothing came share the error of the first that cannot be had.
        """
        if len(rows) == 1:
            return [self._fetched(rows[0])]
        if self._later is not None:
            rows = [self._as_known_later(row) for row in rows]
        distinct = {row.sequence: row for row in rows}.values()
        local = {row.sequence: one for row in distinct if (one := self._locally(row)) is not None}
        missing = (row for row in distinct if row.sequence not in local)
        fetched = chain.from_iterable(map(self._fetched_together, ranges_of(missing)))
        outcomes = local | {one.row.sequence: one for one in fetched}
        return [outcomes[row.sequence] for row in rows]

    def _locally(self, row: FrameRow) -> Fetched | None:
        try:
            data = self._local.get(row) if self._local is not None else None
        except FrameCacheError as error:
            return Fetched(row, error)
        return None if data is None else Fetched(row, data)

    def _fetched(self, row: FrameRow) -> Fetched:
        try:
            return self.fetch_one(row)
        except FrameCacheError as error:
            return Fetched(row, error)

    def _fetched_together(self, rows: Sequence[FrameRow]) -> list[Fetched]:
        try:
            pieces = self._pieces(rows)
        except FrameCacheError as error:
            return [Fetched(row, error) for row in rows]
        fetched: list[Fetched] = []
        failure: FrameCacheError | None = None
        for row, piece in zip(rows, pieces, strict=True):
            if failure is not None and not piece:
                fetched.append(Fetched(row, failure))
                continue
            one = self._fetched(row) if self._difference(piece, row) else self._kept(row, piece)
            if isinstance(one.outcome, FrameCacheError):
                failure = one.outcome
            fetched.append(one)
        return fetched

    def _kept(self, row: FrameRow, data: bytes) -> Fetched:
        if self._local is not None:
            self._local.put(row, data)
        return Fetched(row, data)

    def _pieces(self, rows: Sequence[FrameRow]) -> list[bytes]:
        start, end = rows[0].offset, rows[-1].offset + rows[-1].size
        try:
            data = self.store.get_range(rows[0].key, start=start, length=end - start)
        except BlobMissing:
            data = b""  # each frame finds out what that means
        return [data[row.offset - start : row.offset - start + row.size] for row in rows]

    def _as_known_later(self, row: FrameRow) -> FrameRow:
        return row if self._later is None else _row_in(self._later, row)

    def _latest_row(self, row: FrameRow) -> FrameRow:
        """The row as it is committed now: the frame may have been repaired or moved since."""
        described = self.snapshot.description
        if described is None:
            return row
        ensure_current(self.store, described)
        latest = find(self.store, described.timeline_id)
        if latest.description is None or latest.description.epoch != described.epoch:
            ensure_current(self.store, described)
            return row
        self._later = latest
        return _row_in(latest, row)

    def _checked_jpeg(self, row: FrameRow) -> bytes:
        if self._local is None:
            return self._fetched_jpeg(row)
        data = self._local.get(row)
        if data is None:
            data = self._fetched_jpeg(row)
            self._local.put(row, data)
        return data

    def _fetched_jpeg(self, row: FrameRow) -> bytes:
        difference = ""
        for _ in range(_ATTEMPTS):
            try:
                data = stored_jpeg(self.store, row)
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


def _row_in(snapshot: Snapshot, row: FrameRow) -> FrameRow:
    """What a snapshot says of a frame, if it has a picture of it."""
    position = snapshot.index.position(row.sequence)
    found = row if position is None else snapshot.index.row(position)
    return found if found.status == "ok" else row
