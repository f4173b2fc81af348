"""Objects of a store as files, whose next bytes are fetched ahead and are of one version."""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeAlias

from framecache.errors import StoreUnavailable
from framecache.store.base import BlobMissing, UnexpectedResponse
from framecache.store.blob_file import BlobFile, BlobIdentity, changed_during_read
from framecache.store.buckets import BucketStore
from framecache.store.fetched_bytes import BlobBytes
from framecache.store.memory import MemoryStore

Bucket: TypeAlias = BucketStore | MemoryStore

_BLOCK_SIZE_BYTES: Final = 4 << 20
"""Maximum size of a request."""
_FIRST_BLOCK_SHARE: Final = 4
"""Part of a block, as a divisor, that the first request takes of a larger object.

The beginning of an MP4 with sample tables is all that is needed to open it.
"""
_FIRST_STEP_BYTES: Final = 64 << 10
_NEXT_STEP_BYTES: Final = 512 << 10
_LAST_STEP_BYTES: Final = 1 << 20
"""Sizes of requests for bytes that were not announced: after a jump, the next, and the largest."""
_ETAG_CHECKS: Final = 3
# Enough for a demuxer that alternates between two positions, each with a block read ahead.
_MAX_CACHED_BLOCKS: Final = 4
_CONCURRENT_REQUESTS: Final = 8
_MAX_PIECES_AHEAD: Final = 16
_MAX_BYTES_AHEAD: Final = 6 * _BLOCK_SIZE_BYTES
"""Limits on the announced pieces, of a block at most, that are requested before their use."""

_Range: TypeAlias = tuple[int, int]


class RemoteFile(BlobFile):
    """An object, read in blocks or in the ranges that were announced.

    While blocks are read in order, a thread fetches the next one. Announced ranges are fetched by
    several threads, in order, ahead of their use. Other bytes are then fetched in small steps.
    Every response must have the ETag and size with which the file was opened.
    """

    def __init__(
        self,
        store: Bucket,
        key: str,
        identity: BlobIdentity,
        before_read: Callable[[], None] | None,
        kept: BlobBytes | None = None,
    ) -> None:
        """Start at the first byte; ``kept`` has bytes that were fetched before."""
        super().__init__(identity, before_read)
        self._store = store
        self._key = key
        self._kept = kept
        # Used only by the reading thread. Ordered from least to most recently used.
        self._blocks: OrderedDict[_Range, Future[bytes]] = OrderedDict()
        self._pieces: deque[tuple[_Range, Future[bytes]]] = deque()
        """Announced pieces that are requested, in order, with the one in use."""
        self._announced: Sequence[_Range] | None = None
        """Announced pieces, ascending and disjoint; None: the file is read in order."""
        self._next_piece = 0
        """Number of the announced piece that is requested next."""
        self._keeps_announced = False
        self._last_block = -1
        self._step_end = -1
        self._step_bytes = _FIRST_STEP_BYTES
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def close(self) -> None:
        """Wait for requests under way, and drop what was fetched."""
        if not self.closed:
            for pool in self._pools.values():
                pool.shutdown(cancel_futures=True)
            self._blocks.clear()
            self._pieces.clear()
        super().close()

    def expect(self, ranges: Sequence[_Range] | None, /, *, keep: bool = False) -> None:
        """See `BlobFile.expect`."""
        self._drop_pieces()
        self._last_block = -1
        self._keeps_announced = keep
        if ranges is None:
            self._announced = None
            return
        self._announced = [piece for begin, end in ranges for piece in self._split(begin, end)]
        self._next_piece = 0
        self._request_announced()

    def _read_at(self, start: int, wanted: int) -> bytes | memoryview:
        if self._announced is None:
            self._read_ahead(start // _BLOCK_SIZE_BYTES)
        found = self._find_fetched(start)
        if found is None and self._kept is not None:
            found = start, self._kept.read(start, wanted)
        if found is None or not found[1]:
            fetch = self._fetch_block if self._announced is None else self._fetch_step
            found = fetch(start)
        begin, data = found
        return memoryview(data)[start - begin : start - begin + wanted]

    def _read_ahead(self, number: int) -> None:
        """Request the block after the one that is read, if that is the next one in order."""
        if number == self._last_block + 1 and number > 0:
            begin = (number + 1) * _BLOCK_SIZE_BYTES
            end = min(begin + _BLOCK_SIZE_BYTES, self.size_bytes)
            is_missing = begin < end and self._gaps(begin, end) == [(begin, end)]
            if is_missing and (begin, end) not in self._blocks:
                self._cache_block((begin, end), self._submit(begin, end, keep=True))
        self._last_block = number

    def _find_fetched(self, position: int) -> tuple[int, bytes] | None:
        """Return what holds a position, with its begin, from the pieces and recent blocks."""
        self._jump_to(position)
        for number, ((begin, end), piece) in enumerate(self._pieces):
            if begin <= position < end:
                # One piece before it stays, for a demuxer that goes back a little.
                for _ in range(number - 1):
                    self._pieces.popleft()
                self._request_announced()
                return begin, piece.result()
        for (begin, end), block in self._blocks.items():
            if begin <= position < end:
                self._blocks.move_to_end((begin, end))
                return begin, block.result()
        return None

    def _jump_to(self, position: int) -> None:
        """Give up the pieces before a position if its piece is not requested yet."""
        if not self._announced:
            return
        number = bisect_right(self._announced, position, key=lambda piece: piece[0]) - 1
        if number >= self._next_piece and position < self._announced[number][1]:
            self._drop_pieces()
            self._next_piece = number
            self._request_announced()

    def _drop_pieces(self) -> None:
        for _, piece in self._pieces:
            piece.cancel()
        self._pieces.clear()

    def _fetch_block(self, position: int) -> tuple[int, bytes]:
        """Fetch the block that holds a position, without what is kept."""
        begin = position // _BLOCK_SIZE_BYTES * _BLOCK_SIZE_BYTES
        end = min(begin + _BLOCK_SIZE_BYTES, self.size_bytes)
        if begin == 0 and self.size_bytes > _BLOCK_SIZE_BYTES:
            first = _BLOCK_SIZE_BYTES // _FIRST_BLOCK_SHARE
            begin, end = (0, first) if position < first else (first, end)
        begin, self._step_end = self._gap_at(position, begin, end)
        return self._fetch_now(begin, self._step_end)

    def _fetch_step(self, position: int) -> tuple[int, bytes]:
        """Fetch bytes that were not announced: few at first, more while they are in order."""
        if position == self._step_end:
            step = max(2 * self._step_bytes, _NEXT_STEP_BYTES)
            self._step_bytes = min(step, _LAST_STEP_BYTES)
        else:
            self._step_bytes = _FIRST_STEP_BYTES
        # The index of an MP4 is often the end of the file.
        rest = self.size_bytes - position
        end = position + (rest if rest <= _BLOCK_SIZE_BYTES else self._step_bytes)
        begin, self._step_end = self._gap_at(position, position, end)
        return self._fetch_now(begin, self._step_end)

    def _gap_at(self, position: int, begin: int, end: int) -> _Range:
        """Return the part of a range that holds a position and is not kept."""
        gaps = self._gaps(begin, end)
        return next((gap for gap in gaps if gap[0] <= position < gap[1]), (position, end))

    def _gaps(self, begin: int, end: int) -> list[_Range]:
        """Return the parts of a range that are not kept."""
        return [(begin, end)] if self._kept is None else self._kept.gaps(begin, end)

    def _fetch_now(self, begin: int, end: int) -> tuple[int, bytes]:
        data = self._fetch(begin, end, keep=True)
        fetched: Future[bytes] = Future()
        fetched.set_result(data)
        self._cache_block((begin, end), fetched)
        return begin, data

    def _cache_block(self, place: _Range, block: Future[bytes]) -> None:
        self._blocks[place] = block
        while len(self._blocks) > _MAX_CACHED_BLOCKS:
            _, dropped = self._blocks.popitem(last=False)
            dropped.cancel()

    def _split(self, begin: int, end: int) -> Iterator[_Range]:
        """Yield the parts of a range that are not kept, in pieces of a block at most."""
        end = min(end, self.size_bytes)
        for first, last in self._gaps(begin, end):
            for start in range(first, last, _BLOCK_SIZE_BYTES):
                yield start, min(start + _BLOCK_SIZE_BYTES, last)

    def _request_announced(self) -> None:
        size_bytes = sum(end - begin for (begin, end), _ in self._pieces)
        while (
            self._announced is not None
            and self._next_piece < len(self._announced)
            and len(self._pieces) < _MAX_PIECES_AHEAD
            and size_bytes < _MAX_BYTES_AHEAD
        ):
            begin, end = self._announced[self._next_piece]
            self._next_piece += 1
            size_bytes += end - begin
            piece = self._submit(begin, end, keep=self._keeps_announced)
            self._pieces.append(((begin, end), piece))

    def _submit(self, begin: int, end: int, *, keep: bool) -> Future[bytes]:
        """Fetch a range on a thread: blocks one by one, announced ones at once."""
        threads = 1 if self._announced is None else _CONCURRENT_REQUESTS
        if threads not in self._pools:
            self._pools[threads] = ThreadPoolExecutor(
                threads, thread_name_prefix="framecache-read-ahead"
            )
        return self._pools[threads].submit(self._fetch, begin, end, keep=keep)

    def _fetch(self, begin: int, end: int, *, keep: bool) -> bytes:
        length = end - begin
        try:
            block = self._store.get_block(self._key, start=begin, length=length)
        except BlobMissing as error:
            raise changed_during_read(self.url) from error
        if (block.etag, block.size_bytes) != (self.etag, self.size_bytes):
            self._require_stable_etags()
            raise changed_during_read(self.url)
        if len(block.data) != length:
            raise StoreUnavailable(
                f"{self.url}: {self._store.display_name} returned {len(block.data)} bytes instead "
                f"of {length}. Try again"
            )
        if keep and self._kept is not None:
            self._kept.add(begin, block.data)
        return block.data

    def _require_stable_etags(self) -> None:
        """Raise `UnexpectedResponse` if the ETag differs at every request.

        This distinguishes a store whose ETags are unstable from an object that has changed.
        """
        with suppress(BlobMissing):
            etags = {self._store.identify(self._key).etag for _ in range(_ETAG_CHECKS)}
            if len(etags) == _ETAG_CHECKS:
                raise UnexpectedResponse(
                    f"{self.url}: {self._store.display_name} gives this object another ETag each "
                    "time, so it cannot be distinguished from one that was replaced. Copy "
                    "the video to another store"
                )
