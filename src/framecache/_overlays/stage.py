"""Overlays that one stage of one job drew: store, load, list and compare them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Final, TypeVar

from framecache._core import keys
from framecache._core.numeric import require_int
from framecache._core.optional_imports import require_opencv
from framecache._index import Index
from framecache._overlays.compare import find_differences
from framecache._overlays.conversion import Overlay, Png, as_png
from framecache._overlays.listing import OverlayKey, OverlayListing, list_stage
from framecache._overlays.png import HEADER_BYTES, BadPng, read_header_size
from framecache._overlays.staleness import load_commit_times
from framecache._read import as_sequences, prefetch_map
from framecache._read.snapshot_cache import SnapshotCache
from framecache.errors import InvalidValue
from framecache.store import BlobInfo, BlobMissing, Store

_CONCURRENT_REQUESTS: Final = 16
_MAX_LOADED_BYTES: Final = 64 * 2**20
"""Bytes of overlays that are being fetched or wait for the consumer."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overlays:
    """Overlays that one stage of one job drew. Safe to share between threads."""

    def __init__(
        self,
        store: Store,
        timeline_id: str,
        *,
        job_id: str,
        stage: str,
        snapshot_cache: SnapshotCache | None = None,
    ) -> None:
        """Name a stage; no request is made.

        Args:
            store: the store that holds the timeline.
            timeline_id: the timeline whose frames were drawn on.
            job_id: the run of a pipeline.
            stage: the step of that run.
            snapshot_cache: cached state of the timeline; None: it is loaded when it is needed.
        """
        self._store = store
        self.timeline_id = keys.check_id(timeline_id, what="timeline_id")
        self.job_id = keys.check_id(job_id, what="job_id")
        self.stage = keys.check_id(stage, what="stage")
        self._snapshot_cache = snapshot_cache or SnapshotCache(store, self.timeline_id, None)

    def __repr__(self) -> str:
        return f"<Overlays of {self.timeline_id}, job {self.job_id}, stage {self.stage}>"

    def save(self, sequence: int, overlays: Mapping[str, Overlay]) -> None:
        """Store the overlays of one frame, ``{name: overlay}``: see :meth:`save_many`."""
        self.save_many({keys.check_sequence(sequence): overlays})

    def save_many(self, frames: Mapping[int, Mapping[str, Overlay]]) -> None:
        """Store overlays, ``{sequence: {name: overlay}}``, replacing those of the same names.

        PNG bytes are stored unchanged; arrays (uint8, uint16, bool) and Pillow images are encoded
        as PNGs of exactly the same values. An overlay has at most 64 MiB and at most 2**26 pixels.
        Its frame need not be cached, and may have another size: see :meth:`listing`. Everything is
        checked before anything is stored; then several overlays are stored concurrently.

        Raises:
            InvalidId: a name cannot be part of a key.
            InvalidValue: not a PNG, a damaged one, an array or image whose values PNG cannot hold,
                or one that is too large.
            StorePermissionDenied, StoreUnavailable: the store failed. Some overlays may have been
                stored: save again.
        """
        numbered = [(keys.check_sequence(sequence), named) for sequence, named in frames.items()]
        given = {
            (sequence, keys.check_id(name, what="overlay name")): overlay
            for sequence, named in numbered
            for name, overlay in named.items()
        }
        pngs = dict(zip(given, _map_concurrently(_as_png, list(given.items())), strict=True))
        _map_concurrently(
            lambda one: self._store.put(self._key(*one[0]), one[1].data), list(pngs.items())
        )

    def load(self, sequence: int) -> dict[str, bytes]:
        """Return the overlays of one frame as PNG bytes, by name; empty when it has none."""
        return self.load_named(sequence, self.sizes(sequence))

    def sizes(self, sequence: int) -> dict[str, int]:
        """Return the size in bytes of each overlay of one frame, by name; one LIST, no picture."""
        wanted = keys.check_sequence(sequence)
        listed = sorted(self._list().items())
        return {name: blob.size_bytes for (number, name), blob in listed if number == wanted}

    def load_named(self, sequence: int, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of the named overlays that one frame has, as PNG bytes; one request each."""
        names = list(names)
        get = partial(self._get, sequence)
        bodies = prefetch_map(get, names, threads=_CONCURRENT_REQUESTS, ahead=len(names) + 1)
        pairs = zip(names, bodies, strict=True)
        return {name: body for name, body in pairs if body is not None}

    def load_one(self, sequence: int, name: str, *, most_bytes: int | None = None) -> bytes | None:
        """Return one overlay of one frame as PNG bytes, None when there is none; one request.

        Args:
            sequence: the frame.
            name: the name of the overlay.
            most_bytes: the size limit; for a larger overlay None is returned, and at most one byte
                more than the limit is read.

        Raises:
            InvalidValue: `most_bytes` is not an integer from 0 up.
        """
        if most_bytes is None:
            return self._get(sequence, name)
        most_bytes = require_int(most_bytes, what="most_bytes")
        try:
            data = self._store.get_range(self._key(sequence, name), start=0, length=most_bytes + 1)
        except BlobMissing:
            return None
        return data if len(data) <= most_bytes else None

    def load_many(self, sequences: Iterable[int]) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield each sequence and its overlays, ``{name: PNG bytes}``, in the given order.

        Overlays are prefetched. A frame without any has an empty dict. Memory is bounded: besides
        those of one frame, about 64 MiB of overlays wait for the consumer. Makes one LIST, and one
        request per overlay.
        """
        wanted = as_sequences(sequences).tolist()
        return self._load_in_order(wanted) if wanted else iter(())

    def frames(self) -> list[int]:
        """Return the sequences that have an overlay, ascending."""
        return sorted({sequence for sequence, _ in self._list()})

    def listing(self, *, sizes: bool = False) -> OverlayListing:
        """Return frames, the names of their overlays, and whether these are stale.

        Makes two LISTs and loads no picture. If a program wrote frames more than once, the index is
        read as well.

        Args:
            sizes: also report which overlays differ in size from their frame. Takes a small request
                per overlay, many concurrently, and the index.
        """
        listed = self._list()
        since = load_commit_times(self._store, self.timeline_id, self._index)
        fits = self._find_size_mismatches(listed) if sizes else None
        return OverlayListing.of(listed, since, fits)

    def misfits(self) -> dict[int, tuple[str, ...]]:
        """Return overlays that differ in size from their frame, ``{sequence: names}``, ascending.

        Viewers scale them. Frames that are not cached, or whose size is not known, are left out.
        See :meth:`listing` for the requests this takes.
        """
        names: dict[int, tuple[str, ...]] = {}
        for sequence, name in sorted(self._find_size_mismatches(self._list())):
            names[sequence] = (*names.get(sequence, ()), name)
        return names

    def stale(self) -> list[int]:
        """Return the sequences with a stale overlay, ascending: see :meth:`listing`.

        A stale overlay is older than its frame: since it was drawn, the timeline was cleared or
        rebuilt, or the picture was replaced. Repair, repack and append do not make overlays stale.
        """
        listing = self.listing()
        return [
            sequence
            for sequence, is_stale in zip(listing.sequence, listing.stale, strict=True)
            if is_stale
        ]

    def compare(self, other: "Overlays") -> dict[int, tuple[str, ...]]:
        """Return the overlays in which two stages differ: ``{sequence: names}``, ascending.

        The other stage may belong to another job or timeline, in any store. An overlay that only
        one of them has differs. Two PNGs of the same pixels are equal, however they are encoded.
        Within one S3 or GCS store, overlays of equal ETags are not read. At most 256 MiB of PNGs
        and two pairs of decoded pictures are held at a time.

        Raises:
            MissingPackage: OpenCV, which the extra ``extract`` installs, is missing.
            InvalidValue: `other` is not a stage's overlays.
        """
        if not isinstance(other, Overlays):
            raise InvalidValue(f"overlays are compared with others, not {type(other).__name__}")
        require_opencv(needed_by="comparison of overlays")
        others = other._store, other._list()  # noqa: SLF001 -- of its own class
        return find_differences(self._store, self._list(), *others)

    def remove(self, sequence: int) -> int:
        """Remove the overlays of one frame; return how many."""
        wanted = keys.check_sequence(sequence)
        found = self._list().items()
        return self._store.delete([blob.key for (number, _), blob in found if number == wanted])

    def remove_one(self, sequence: int, name: str) -> None:
        """Remove one overlay of one frame; a missing one is not an error."""
        self._store.delete([self._key(sequence, name)])

    def clear(self) -> int:
        """Remove all overlays of this job and stage; return how many."""
        return self._store.delete([blob.key for blob in self._list().values()])

    def _key(self, sequence: int, name: str) -> str:
        return keys.overlay(self.timeline_id, self.job_id, self.stage, sequence, name)

    def _get(self, sequence: int, name: str) -> bytes | None:
        try:
            return self._store.get(self._key(sequence, name))
        except BlobMissing:
            return None

    def _list(self) -> dict[OverlayKey, BlobInfo]:
        return list_stage(self._store, self.timeline_id, self.job_id, self.stage)

    def _index(self) -> Index:
        return self._snapshot_cache.latest_source().snapshot.index

    def _find_size_mismatches(self, listed: Mapping[OverlayKey, BlobInfo]) -> set[OverlayKey]:
        index = self._index()
        drawn = [*listed]
        positions = index.positions([sequence for sequence, _ in drawn]).tolist()
        known = [
            (one, (int(index.width[position]), int(index.height[position])))
            for one, position in zip(drawn, positions, strict=True)
            if position >= 0 and index.width[position]
        ]
        sizes = prefetch_map(
            lambda one: self._read_header_size(listed[one[0]].key),
            known,
            threads=_CONCURRENT_REQUESTS,
            ahead=2 * _CONCURRENT_REQUESTS,
        )
        pairs = zip(known, sizes, strict=True)
        return {one for (one, expected), size in pairs if size not in (None, expected)}

    def _read_header_size(self, key: str) -> tuple[int, int] | None:
        """Return width and height of a stored overlay; None if it is missing or not a PNG."""
        try:
            return read_header_size(self._store.get_range(key, start=0, length=HEADER_BYTES))
        except (BlobMissing, BadPng):
            return None

    def _load_in_order(self, wanted: Sequence[int]) -> Iterator[tuple[int, dict[str, bytes]]]:
        names: dict[int, list[str]] = {sequence: [] for sequence in wanted}
        largest = 1
        for (sequence, name), blob in sorted(self._list().items()):
            if sequence in names:
                names[sequence].append(name)
                largest = max(largest, blob.size_bytes)
        ahead = max(2, min(2 * _CONCURRENT_REQUESTS, _MAX_LOADED_BYTES // largest))
        tasks = ((sequence, name) for sequence in wanted for name in names[sequence])
        threads = min(_CONCURRENT_REQUESTS, ahead)
        bodies = prefetch_map(lambda task: self._get(*task), tasks, threads=threads, ahead=ahead)
        with closing(bodies):
            for sequence in wanted:
                found = {name: next(bodies) for name in names[sequence]}
                yield sequence, {name: body for name, body in found.items() if body is not None}


def _as_png(one: tuple[OverlayKey, Overlay]) -> Png:
    (_, name), overlay = one
    return as_png(overlay, name=name)


def _map_concurrently(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    if len(items) < 2:  # noqa: PLR2004 -- a pool for one request costs more than the request
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(items))) as pool:
        return list(pool.map(work, items))
