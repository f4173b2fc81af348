"""Groups of frames that are decoded from one random-access point."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framecache._core.chunk_entry import ChunkEntry
from framecache._index import FrameRow
from framecache._read.on_demand.open_chunks import OpenChunk, chunk_pool
from framecache._read.on_demand.picture_cache import identity_of, pictures

if TYPE_CHECKING:
    from framecache._media import video

    Item = video.Decoded | video.Undecodable


@dataclass(frozen=True, slots=True, eq=False)
class PictureGroup:
    """Indexed frames of a chunk that come after one random-access point."""

    entry: ChunkEntry
    chunk: OpenChunk
    times: Sequence[int]
    """PTS of the frames, ascending."""

    def __contains__(self, row: FrameRow) -> bool:
        """Return True if a frame is among these."""
        return row.chunk_id == self.entry.chunk_id and self.times[0] <= row.pts <= self.times[-1]

    @property
    def size_bytes(self) -> int:
        """Size of its pictures in 8 bits and 4:2:0; the few videos in others take more."""
        return len(self.times) * self.entry.width * self.entry.height * 3 // 2

    def decode(
        self, wanted: Sequence[int], *, is_last: bool = True, keeps_rest: bool = False
    ) -> "dict[int, Item]":
        """Return the pictures of some frames, by PTS; keep them and those on the way to them.

        Args:
            wanted: PTS of frames of the group, ascending.
            is_last: True if no frame of another group is wanted next, so that decoding may continue
                here.
            keeps_rest: True if the group is likely to be read again, and its pictures can be kept
                until then. At the second time, all of them are.
        """
        # Another thread may be decoding the same pictures.
        with self.chunk.lock_of(wanted[0]):
            identity, kept = identity_of(self.entry), pictures.value
            found = {pts: item for pts in wanted if (item := kept.get(identity, pts)) is not None}
            missing = [pts for pts in wanted if pts not in found]
            if missing:
                is_again = keeps_rest and any(kept.has(identity, pts) for pts in self.times)
                until = self.times[-1] if is_again else missing[-1]
                found |= self._decode_missing(missing, until, is_continued=is_last or keeps_rest)
        return found

    def _decode_missing(
        self, missing: Sequence[int], until: int, *, is_continued: bool
    ) -> "dict[int, Item]":
        identity, kept = identity_of(self.entry), pictures.value
        first, last = self.times.index(missing[0]), self.times.index(until)
        has_neighbor = first > 0 and kept.has(identity, self.times[first - 1])
        are_neighbors = is_continued and (len(missing) > 1 or has_neighbor)
        found = {}
        with chunk_pool.value.decoder(self.chunk, missing[0]) as decoder:
            if not (decoder.is_ahead(missing[0]) and decoder.is_ahead(until)):
                # With a frame beyond it to come, the decoder would hold a frame back to reorder
                # pictures. Only if neighbors are read, the frames after them are likely to be next.
                decoder.begin(self.times if are_neighbors else self.times[: last + 1])
            for item in decoder.read_until(until):
                kept.put(identity, item)
                if item.pts in missing:
                    found[item.pts] = item
        return found


def fit_in_memory(groups: Iterable[PictureGroup]) -> bool:
    """Return True if the pictures of all of these groups can be kept at the same time."""
    return sum(group.size_bytes for group in groups) <= pictures.value.limit_bytes
