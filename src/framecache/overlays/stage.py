"""The overlays that one stage of one job drew: stored, loaded, listed and compared."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final, TypeVar

from framecache import keys
from framecache.errors import InvalidValue
from framecache.index import Index
from framecache.opened import Opened
from framecache.overlays.compare import differences
from framecache.overlays.listing import Drawn, OverlayListing, list_stage
from framecache.overlays.picture import Overlay, Png, as_png
from framecache.overlays.png import HEADER_BYTES, BadPng, announced_size
from framecache.overlays.staleness import frames_since
from framecache.reader import as_sequences, ordered
from framecache.store import BlobInfo, BlobMissing, Store

_CONCURRENT_REQUESTS: Final = 16
_LOADED_BYTES: Final = 64 * 2**20
"""Of overlays that are under way or wait for the consumer."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overlays:
    """The overlays that one stage of one job drew. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        timeline_id: str,
        *,
        job_id: str,
        stage: str,
        opened: Opened | None = None,
    ) -> None:
        """Name a stage; no request is made.

        Args:
            store: where the timeline lies.
            timeline_id: whose frames were drawn on.
            job_id: the run of a pipeline.
            stage: the step of it.
            opened: what is known of the timeline; None: it is looked up when it is needed.
        """
        self._store = store
        self.timeline_id = keys.check_id(timeline_id, what="timeline_id")
        self.job_id = keys.check_id(job_id, what="job_id")
        self.stage = keys.check_id(stage, what="stage")
        self._opened = opened or Opened(store, self.timeline_id, None)

    def __repr__(self) -> str:
        return f"<Overlays of {self.timeline_id}, job {self.job_id}, stage {self.stage}>"

    def save(self, sequence: int, overlays: Mapping[str, Overlay]) -> None:
        """Store the overlays of one frame, by name: see :meth:`save_many`."""
        self.save_many({keys.check_sequence(sequence): overlays})

    def save_many(self, frames: Mapping[int, Mapping[str, Overlay]]) -> None:
        """Store overlays, ``{sequence: {name: overlay}}``; those of the same names are replaced.

        Bytes given are the bytes loaded; arrays (uint8, uint16, bool) and Pillow images are encoded
        as PNGs of the very same values. An overlay has at most 64 MiB and at most 2**26 pixels. Its
        frame need not be cached, and may have another size: see :meth:`listing`. Everything is
        checked before anything is stored; then several are stored at once.

        Raises:
            InvalidId: a name that cannot be part of a key.
            InvalidValue: not a PNG, a damaged one, an array or image whose values no PNG holds, or
                one that is too large.
            StoreDenied, StoreUnavailable: the store's. Some may have been stored: save again.
        """
        numbered = [(keys.check_sequence(sequence), named) for sequence, named in frames.items()]
        given = {
            (sequence, keys.check_id(name, what="overlay name")): overlay
            for sequence, named in numbered
            for name, overlay in named.items()
        }
        pngs = dict(zip(given, _at_once(_as_png, list(given.items())), strict=True))
        _at_once(lambda one: self._store.put(self._key(*one[0]), one[1].data), list(pngs.items()))

    def load(self, sequence: int) -> dict[str, bytes]:
        """The overlays of one frame as PNG bytes, by name; empty when it has none."""
        return self.load_named(sequence, self.sizes(sequence))

    def sizes(self, sequence: int) -> dict[str, int]:
        """The bytes of each overlay of one frame, by name; one LIST, no picture."""
        wanted = keys.check_sequence(sequence)
        listed = sorted(self._list().items())
        return {name: blob.size_bytes for (number, name), blob in listed if number == wanted}

    def load_named(self, sequence: int, names: Iterable[str]) -> dict[str, bytes]:
        """Those of some names that one frame has, as PNG bytes; a request each."""
        names = list(names)
        bodies = _at_once(lambda name: self._get(sequence, name), names)
        pairs = zip(names, bodies, strict=True)
        return {name: body for name, body in pairs if body is not None}

    def load_one(self, sequence: int, name: str) -> bytes | None:
        """One overlay of one frame as PNG bytes, None when there is none; one request."""
        return self._get(sequence, name)

    def load_many(self, sequences: Iterable[int]) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Each sequence and its overlays, ``{name: PNG bytes}``, in the order given, prefetched.

        A frame without any has an empty dict. Memory is bounded: besides those of one frame, about
        64 MiB of overlays exist that were not taken. One LIST, and a request an overlay.
        """
        wanted = as_sequences(sequences).tolist()
        return self._loaded(wanted) if wanted else iter(())

    def frames(self) -> list[int]:
        """The sequences that have an overlay, ascending."""
        return sorted({sequence for sequence, _ in self._list()})

    def listing(self, *, sizes: bool = False) -> OverlayListing:
        """Frames, names of their overlays, and whether these are stale; two LISTs, no picture.

        Where a program wrote frames more than once, the index is read as well.

        Args:
            sizes: also tell which overlays have another size than their frame. That takes a small
                request an overlay, many at once, and the index.
        """
        listed = self._list()
        since = frames_since(self._store, self.timeline_id, self._index)
        fits = self._misfits(listed) if sizes else None
        return OverlayListing.of(listed, since, fits)

    def misfits(self) -> dict[int, tuple[str, ...]]:
        """Overlays that do not have the size of their frame: ``{sequence: names}``, ascending.

        Viewers scale them. Frames that are not cached, or whose size is not known, have none. See
        :meth:`listing` for what it takes.
        """
        names: dict[int, tuple[str, ...]] = {}
        for sequence, name in sorted(self._misfits(self._list())):
            names[sequence] = (*names.get(sequence, ()), name)
        return names

    def stale(self) -> list[int]:
        """The sequences with an overlay older than the frames, ascending: see :meth:`listing`.

        The timeline was cleared or rebuilt since it was drawn, or the picture replaced. Repairing,
        repacking and appending leave overlays as they were.
        """
        listing = self.listing()
        return [
            sequence
            for sequence, is_stale in zip(listing.sequence, listing.stale, strict=True)
            if is_stale
        ]

    def compare(self, other: "Overlays") -> dict[int, tuple[str, ...]]:
        """Where two stages differ: ``{sequence: names that differ}``, ascending.

        The other may be of another job or timeline, in any store. An overlay that one of them lacks
        differs. Two PNGs of the same pixels are equal, however they are encoded. Of one S3 or GCS
        store, what has the same ETag is not read. At most 256 MiB of PNGs and two pairs of decoded
        pictures are held at a time.
        """
        if not isinstance(other, Overlays):
            raise InvalidValue(f"overlays are compared with others, not {type(other).__name__}")
        others = other._store, other._list()  # noqa: SLF001 -- of its own class
        return differences(self._store, self._list(), *others)

    def remove(self, sequence: int) -> int:
        """Remove the overlays of one frame; returns how many."""
        wanted = keys.check_sequence(sequence)
        found = self._list().items()
        return self._store.delete([blob.key for (number, _), blob in found if number == wanted])

    def remove_one(self, sequence: int, name: str) -> None:
        """Remove one overlay of one frame; none is fine."""
        self._store.delete([self._key(sequence, name)])

    def clear(self) -> int:
        """Remove all overlays of this job and stage; returns how many."""
        return self._store.delete([blob.key for blob in self._list().values()])

    def _key(self, sequence: int, name: str) -> str:
        return keys.overlay(self.timeline_id, self.job_id, self.stage, sequence, name)

    def _get(self, sequence: int, name: str) -> bytes | None:
        try:
            return self._store.get(self._key(sequence, name))
        except BlobMissing:
            return None

    def _list(self) -> dict[Drawn, BlobInfo]:
        return list_stage(self._store, self.timeline_id, self.job_id, self.stage)

    def _index(self) -> Index:
        return self._opened.latest_source().snapshot.index

    def _misfits(self, listed: Mapping[Drawn, BlobInfo]) -> set[Drawn]:
        index = self._index()
        drawn = [*listed]
        positions = index.positions([sequence for sequence, _ in drawn]).tolist()
        known = [
            (one, (int(index.width[position]), int(index.height[position])))
            for one, position in zip(drawn, positions, strict=True)
            if position >= 0 and index.width[position]
        ]
        sizes = ordered(
            lambda one: self._announced_size(listed[one[0]].key),
            known,
            threads=_CONCURRENT_REQUESTS,
            ahead=2 * _CONCURRENT_REQUESTS,
        )
        pairs = zip(known, sizes, strict=True)
        return {one for (one, expected), size in pairs if size not in (None, expected)}

    def _announced_size(self, key: str) -> tuple[int, int] | None:
        """Width and height of a stored overlay; None where it is gone, or no PNG."""
        try:
            return announced_size(self._store.get_range(key, start=0, length=HEADER_BYTES))
        except (BlobMissing, BadPng):
            return None

    def _loaded(self, wanted: Sequence[int]) -> Iterator[tuple[int, dict[str, bytes]]]:
        names: dict[int, list[str]] = {sequence: [] for sequence in wanted}
        largest = 1
        for (sequence, name), blob in sorted(self._list().items()):
            if sequence in names:
                names[sequence].append(name)
                largest = max(largest, blob.size_bytes)
        ahead = max(2, min(2 * _CONCURRENT_REQUESTS, _LOADED_BYTES // largest))
        tasks = ((sequence, name) for sequence in wanted for name in names[sequence])
        threads = min(_CONCURRENT_REQUESTS, ahead)
        bodies = ordered(lambda task: self._get(*task), tasks, threads=threads, ahead=ahead)
        with closing(bodies):
            for sequence in wanted:
                found = {name: next(bodies) for name in names[sequence]}
                yield sequence, {name: body for name, body in found.items() if body is not None}


def _as_png(one: tuple[Drawn, Overlay]) -> Png:
    (_, name), overlay = one
    return as_png(overlay, name=name)


def _at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    if len(items) < 2:  # noqa: PLR2004 -- a pool for one request costs more than the request
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(items))) as pool:
        return list(pool.map(work, items))
