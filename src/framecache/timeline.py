"""One timeline of a cache: fill it, read it, clear it."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from framecache import ingest, keys, overlays, sampling, sweep
from framecache import repack as repacking
from framecache import verify as verification
from framecache.errors import InvalidValue, NotCached
from framecache.footprint import ExtractPlan, Footprint, extract_plan, timeline_footprint
from framecache.index import Index
from framecache.info import TimelineInfo, extent, timeline_info
from framecache.instants import Seconds
from framecache.manifest import Settings
from framecache.model import (
    Aspect,
    Chunk,
    Color,
    ExtractReport,
    Frame,
    Image,
    JpegSettings,
    Layout,
    OnConflict,
    ProgressCallback,
    WriteReport,
    as_layout,
    require_layout,
    require_on_conflict,
)
from framecache.numeric import whole
from framecache.opened import Opened
from framecache.overlays import Overlays, StageCounts
from framecache.reader import (
    Decoding,
    FrameSource,
    as_sequences,
    frame_range,
    positions_in_range,
    read_batch,
    read_frame,
    read_frames,
    read_jpegs,
)
from framecache.repack import RepackReport
from framecache.sampling import EveryFrame, Rate, Sampling
from framecache.sprites import Sprites
from framecache.store import Store
from framecache.sweep import Removal
from framecache.tier import FrameTier
from framecache.verify import FindingCallback, VerifyReport

ChunkLike = str | bytes | os.PathLike[Any] | Chunk
"""A local path, the URL of an object in a store, or a `Chunk` with its place in time."""


class Timeline:
    """One timeline of a cache: fill it, read it, clear it. Safe to share between threads.

    Frames are read from a snapshot of the index, taken at the first read and again when a frame
    or time is not in it. :attr:`exists`, :attr:`complete` and :meth:`info` always look at the
    store; :meth:`frames` and :meth:`sequences` make sure that nothing was added since.
    """

    def __init__(self, store: Store, timeline_id: str, *, tier: FrameTier | None = None) -> None:
        self.timeline_id = keys.check_id(timeline_id, what="timeline_id")
        self._store = store
        self._opened = Opened(store, self.timeline_id, tier)

    def __repr__(self) -> str:
        return f"<Timeline {self.timeline_id} in {self._store.url}>"

    @property
    def opened(self) -> Opened:
        """What is known of it, for programs that say themselves when to look again."""
        return self._opened

    def extract(
        self,
        chunks: ChunkLike | Iterable[ChunkLike],
        *,
        fps: Rate | None = None,
        every: int | None = None,
        keyframes: bool = False,
        quality: int = 85,
        aspect: Aspect = "stored",
        layout: Layout | None = None,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Cache the frames of a timeline's chunks; what is cached already is left alone.

        Args:
            chunks: the timeline's videos, in time order.
            fps: take the frame on screen at each k / fps seconds.
            every: take every n-th frame.
            keyframes: take keyframes only.
            quality: JPEG quality, 1 to 100.
            aspect: ``"square"`` scales frames in width where the video's pixels are not square;
                ``"stored"`` keeps the pixels as they are.
            layout: ``"objects"``, one blob a frame, or ``"packs"``, one tar a chunk, which takes
                far fewer requests. None: as it is cached, else ``"objects"``.
            workers: threads that decode and encode; None: one a core. The frames are the same.
            progress: told after each frame, and while it waits for others; one thread at a time.

        Raises:
            SettingsConflict: the timeline is cached, or being extracted by another program, with
                other settings or chunks. While nothing of it is committed, this is found out by
                watching that program for up to 20 s; if it is dead by then, it is replaced.
            BadChunk: a chunk is missing or no video; ChunkChanged: not the one described.
            StoreDenied, StoreUnavailable: the store's, or a chunk's.
            Cleared: another program cleared the timeline meanwhile.
        """
        by = sampling.choose(fps=fps, every=every, keyframes=keyframes)
        wanted = self._some_chunks(chunks)
        self._opened.forget()
        return ingest.extract(
            self._store,
            self.timeline_id,
            wanted,
            choose=partial(_settings, by, JpegSettings(quality, aspect), as_layout(layout)),
            workers=_as_workers(workers),
            progress=progress,
        )

    def plan_extract(
        self,
        chunks: ChunkLike | Iterable[ChunkLike],
        *,
        fps: Rate | None = None,
        every: int | None = None,
        keyframes: bool = False,
        quality: int = 85,
        aspect: Aspect = "stored",
        layout: Layout | None = None,
        workers: int | None = None,
    ) -> ExtractPlan:
        """What :meth:`extract` would do now; makes no request that changes anything.

        The chunks are scanned, and a few keyframes of each are encoded to tell how large its
        JPEGs would be. Arguments and errors are those of :meth:`extract`.
        """
        by = sampling.choose(fps=fps, every=every, keyframes=keyframes)
        foreseen = ingest.foresee_extraction(
            self._store,
            self.timeline_id,
            self._some_chunks(chunks),
            choose=partial(_settings, by, JpegSettings(quality, aspect), as_layout(layout)),
            workers=_as_workers(workers),
        )
        return extract_plan(self._store.url, foreseen)

    def plan_append(
        self, chunks: ChunkLike | Iterable[ChunkLike], *, workers: int | None = None
    ) -> ExtractPlan:
        """What :meth:`append` would do now: see :meth:`plan_extract`."""
        foreseen = ingest.foresee_append(
            self._store,
            self.timeline_id,
            self._some_chunks(chunks),
            settings=Settings(),
            workers=_as_workers(workers),
        )
        return extract_plan(self._store.url, foreseen)

    def append(
        self,
        chunks: ChunkLike | Iterable[ChunkLike],
        *,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Cache more chunks at the end of the timeline, with its own settings.

        A chunk the timeline has already is left alone, so an append can be repeated after a
        failure. Appending to a timeline that does not exist extracts every frame of the chunks.

        Raises what :meth:`extract` raises.
        """
        wanted = self._some_chunks(chunks)
        self._opened.forget()
        return ingest.append(
            self._store,
            self.timeline_id,
            wanted,
            settings=Settings(),
            workers=_as_workers(workers),
            progress=progress,
        )

    def write(
        self,
        frames: Iterable[Frame],
        *,
        on_conflict: OnConflict = "raise",
        quality: int = 85,
        layout: Layout | None = None,
        workers: int | None = None,
    ) -> WriteReport:
        """Cache frames that this program holds; they become visible together. Returns how many.

        Frames keep their sequence, chunk_id, timestamp and perceptual hash (computed when empty).
        A frame that is cached already just so is left alone, so a batch can be written again after
        a failure. What becomes of one whose sequence is cached with another picture, quality,
        time, hash or chunk_id is for ``on_conflict`` to say; the report tells how many there were.

        Args:
            frames: any number of them.
            on_conflict: ``"raise"``: nothing of the call is cached. ``"replace"``: the frame given
                takes the place of the cached one, whole, at any size and quality; overlays stored
                before are stale where the picture changed; of one sequence given twice, the last
                counts. ``"keep"``: the cached frame stays. With both of these, frames that another
                program stored, and nobody described, are taken over first (chunk 0, time 0.0).
            quality: JPEG quality, 1 to 100; kept with each frame.
            layout: as for :meth:`extract`.
            workers: threads that encode; None: one a core.

        Raises:
            InvalidValue: an image that is not ``(H, W, 3)`` uint8, or numbers no frame can have.
            SettingsConflict: a frame is cached otherwise, or the timeline at another quality, and
                conflicts raise; another layout; a timeline that was extracted from chunks.
        """
        require_on_conflict(on_conflict)
        if isinstance(frames, Frame):
            raise InvalidValue("write takes several frames: give a list, even of one")
        self._opened.forget()
        choose = partial(_settings, EveryFrame(), JpegSettings(quality), as_layout(layout))
        return ingest.write(
            self._store,
            self.timeline_id,
            frames,
            choose=choose,
            on_conflict=on_conflict,
            workers=_as_workers(workers),
        )

    def rebuild(
        self,
        *,
        fps: Rate | None = None,
        every: int | None = None,
        keyframes: bool = False,
        quality: int | None = None,
        aspect: Aspect | None = None,
        layout: Layout | None = None,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Extract the described chunks anew; what is given here replaces the cached settings.

        Every chunk is looked at before anything changes, so a missing one costs nothing.

        Raises:
            NotCached: no chunks are described.
            BadChunk: a chunk is missing or no video any more.
        """
        sampling_is_given = fps is not None or every is not None or keyframes
        by = sampling.choose(fps=fps, every=every, keyframes=keyframes)
        chosen = as_layout(layout)

        def alter(cached: Settings) -> Settings:
            return Settings(
                by if sampling_is_given else cached.sampling,
                cached.jpeg.changed(quality=quality, aspect=aspect),
                chosen or cached.layout,
            )

        self._opened.forget()
        return ingest.rebuild(
            self._store,
            self.timeline_id,
            alter=alter,
            workers=_as_workers(workers),
            progress=progress,
        )

    def repack(
        self,
        layout: Layout,
        *,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> RepackReport:
        """Move all cached frames into another layout; the JPEGs stay as they are, to the byte.

        Sequences, times and overlays stay, and so does everything that reads the timeline.

        Args:
            layout: ``"objects"`` or ``"packs"``: see :meth:`extract`.
            workers: threads; None: one a core, more for a remote store.
            progress: told after each frame; one thread at a time.

        Raises:
            NotCached: nothing of the timeline is described.
            CorruptFrame: a frame is damaged, and the timeline as it was: verify and repair first.
                What was stored for the new layout by then is left for ``framecache gc``.
            Cleared: another program cleared the timeline meanwhile.
            StoreUnavailable: another program is at work on it.
        """
        self._opened.forget()
        return repacking.repack(
            self._store,
            self.timeline_id,
            require_layout(layout),
            workers=_as_workers(workers),
            progress=progress,
        )

    def verify(
        self,
        *,
        deep: bool = False,
        repair: bool = False,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
        on_finding: FindingCallback | None = None,
    ) -> VerifyReport:
        """Compare the index with the store and the chunks; changes nothing without ``repair``.

        Every cached frame is fetched and compared with what was committed, and every other blob
        is accounted for. What is missing, truncated or corrupt can be made again from its chunk.

        Args:
            deep: decode every JPEG, and compare some of each chunk with the chunk's own pictures.
            repair: extract again what is bad, and only that.
            workers: threads that fetch and decode; None: one a core, more for a remote store.
            progress: told after each frame that was compared.
            on_finding: told of each thing that is not ok, as it is found; the report keeps the
                first 1,000. With ``repair``, damage is told of once its repair was tried.

        Raises:
            NotCached: nothing of the timeline is there.
            StoreDenied, StoreUnavailable: the store's, or a chunk's.
            Cleared: another program cleared the timeline meanwhile.
        """
        self._opened.forget()
        return verification.verify(
            self._store,
            self.timeline_id,
            deep=deep,
            repair=repair,
            workers=_as_workers(workers),
            progress=progress,
            on_finding=on_finding,
        )

    def clear(self) -> Removal:
        """Remove all cached frames; chunks, settings and overlays stay, for :meth:`rebuild`."""
        self._opened.forget()
        return sweep.clear(self._store, self.timeline_id)

    def delete(self) -> Removal:
        """Remove everything of the timeline, overlays included. Chunks are never touched."""
        self._opened.forget()
        return sweep.delete(self._store, self.timeline_id)

    @property
    def exists(self) -> bool:
        """Whether any frame is cached now."""
        return self._opened.look_up().exists

    @property
    def complete(self) -> bool:
        """Whether something is cached, and every described chunk is."""
        return self._opened.look_up().is_complete

    @property
    def index(self) -> Index:
        """The cached frames, as columns; empty when there is none."""
        return self._opened.source().snapshot.index

    def __len__(self) -> int:
        """Cached frames, undecodable ones included."""
        return len(self.index)

    def __bool__(self) -> bool:
        """Always true: a timeline that has no frames is a timeline too."""
        return True

    def info(self) -> TimelineInfo:
        """What is known of the timeline without reading a frame."""
        return timeline_info(self.timeline_id, self._store.url, self._opened.look_up())

    def footprint(self, layout: Layout | None = None) -> Footprint:
        """What the cached frames take: bytes, and requests to fill and to read the timeline.

        Args:
            layout: None: the one it has. Another: what :meth:`repack` would make of it.

        Raises:
            NotCached: no frame is cached; or another layout is asked for, and nothing is described.
        """
        chosen = as_layout(layout)
        snapshot = self._opened.source().snapshot
        if not snapshot.exists:
            raise NotCached(
                f"timeline {self.timeline_id} in {self._store.url} takes no room: "
                f"{extent(snapshot)}"
            )
        if chosen == "packs" and snapshot.description is None:
            raise NotCached(
                f"timeline {self.timeline_id} in {self._store.url} is not described, so its "
                f"layout cannot be changed: extract it first"
            )
        return timeline_footprint(snapshot, chosen)

    def frame(self, sequence: int, *, scale: float = 1.0, color: Color = "rgb") -> Frame:
        """The frame of a sequence; one request once the index is known.

        Raises:
            NotCached: the timeline has no such frame; UndecodableFrame: it has no picture.
            Cleared: the timeline was cleared since its index was read.
            CorruptFrame: what is stored is not what was committed.
        """
        decoding = Decoding(color, scale)
        source, row = self._opened.find(sequence)
        with self._opened.reading(source):
            return read_frame(source, row, decoding)

    def frame_at(
        self,
        seconds: Seconds,
        *,
        tolerance_seconds: Seconds | None = None,
        scale: float = 1.0,
        color: Color = "rgb",
    ) -> Frame:
        """The frame on screen at a time: of those cached, the last that begins at or before it.

        A time that was rounded gives the frame whose time it was: one that lies no further before
        the next frame than the tolerance, and than half this frame's duration, is the next one's.

        Args:
            seconds: a number of any type, or a text: ``"62.5"``, ``"62.5s"``, ``"1:02.5"``.
            tolerance_seconds: what it may have been rounded by. None: nothing for a whole number
                or a ``Fraction``; 1 µs for a float, or half a unit in the last place of
                ``np.float32``; half a unit of the last digit of a text or ``Decimal``.
            scale: 1, 0.5, 0.25 or 0.125 of the size, done by the JPEG decoder.
            color: ``"rgb"`` or ``"gray"``.

        Raises what :meth:`frame` raises; NotCached also where the timeline shows nothing.
        """
        decoding = Decoding(color, scale)
        while True:
            source, position = self._opened.find_at(seconds, tolerance_seconds=tolerance_seconds)
            row = source.snapshot.index.row(position)
            with self._opened.reading(source):
                frame = read_frame(source, row, decoding)
            if frame.timestamp == row.timestamp:
                return frame
            # It was replaced since the index was read; now another may be on screen.
            self._opened.forget()

    def sequence_at(self, seconds: Seconds, *, tolerance_seconds: Seconds | None = None) -> int:
        """The sequence of the frame on screen at a time: see :meth:`frame_at`."""
        source, position = self._opened.find_at(seconds, tolerance_seconds=tolerance_seconds)
        return int(source.snapshot.index.sequence[position])

    def sequences(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        *,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
    ) -> list[int]:
        """The sequences whose frames :meth:`frames` would give for this range."""
        wanted = frame_range(
            start,
            stop,
            step,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            tolerance_seconds=tolerance_seconds,
        )
        index = self._opened.latest_source().snapshot.index
        chosen = positions_in_range(index, wanted)
        sequences: list[int] = index.sequence[chosen].tolist()
        return sequences

    def frames(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        *,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
        scale: float = 1.0,
        color: Color = "rgb",
    ) -> Iterator[Frame]:
        """Frames in order, prefetched on threads, in bounded memory; gaps are passed over.

        Args:
            start: first sequence; None: the first there is.
            stop: one past the last sequence; None: to the end.
            step: take sequences ``start, start + step, …``.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            tolerance_seconds: what these may have been rounded by: see :meth:`frame_at`.
            scale: 1, 0.5, 0.25 or 0.125 of the size, done by the JPEG decoder.
            color: ``"rgb"`` or ``"gray"``.

        Raises:
            InvalidValue: a range given twice, or out of its range; before the first frame.
            Cleared, CorruptFrame: while iterating.
        """
        decoding = Decoding(color, scale)

        wanted = frame_range(
            start,
            stop,
            step,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            tolerance_seconds=tolerance_seconds,
        )

        def read(source: FrameSource) -> Iterator[Frame]:
            positions = positions_in_range(source.snapshot.index, wanted)
            return read_frames(source, positions, decoding)

        return self._opened.each_of_latest(read)

    def batch(
        self,
        sequences: Iterable[int],
        *,
        scale: float = 1.0,
        color: Color = "rgb",
        out: Image | None = None,
    ) -> Image:
        """The images of these sequences, in the order given: ``(N, H, W, 3)`` or ``(N, H, W)``.

        Args:
            sequences: of frames of one size; at least one.
            scale: 1, 0.5, 0.25 or 0.125 of the size, done by the JPEG decoder.
            color: ``"rgb"`` or ``"gray"``.
            out: where to put the pixels, and what is returned: a C-contiguous uint8 array of the
                result's shape. Memory that is used again costs less than new memory. After an
                error some of it is overwritten. None: an array of its own; the process keeps the
                memory of one batch, of up to 256 MiB, that nobody looks at any more, for the next
                of its size.

        Raises what :meth:`frame` raises; InvalidValue when they differ in size, or ``out`` does
        not fit.
        """
        decoding, wanted = Decoding(color, scale), as_sequences(sequences)
        while True:
            source, positions = self._opened.find_all(wanted)
            try:
                with self._opened.reading(source):
                    return read_batch(source, positions, decoding, out)
            except InvalidValue:
                # Of frames that were replaced since, the index may tell another size.
                if not source.is_outdated:
                    raise
                self._opened.forget()

    def jpeg(self, sequence: int) -> bytes:
        """The stored bytes of a frame. Raises what :meth:`frame` raises."""
        source, row = self._opened.find(sequence)
        with self._opened.reading(source):
            return source.jpeg(row)

    def jpegs(self, sequences: Iterable[int]) -> Iterator[bytes]:
        """The stored bytes of these sequences, in the order given, prefetched.

        Raises what :meth:`frame` raises: NotCached before the first, the others while iterating.
        """
        source, positions = self._opened.find_all(sequences)
        return self._opened.each(source, read_jpegs(source, positions))

    def overlays(self, *, job_id: str, stage: str) -> Overlays:
        """The debug overlays of one stage of one job; makes no request."""
        return Overlays(
            self._store, self.timeline_id, job_id=job_id, stage=stage, opened=self._opened
        )

    def jobs(self) -> dict[str, dict[str, int]]:
        """Count the overlays of each stage of each job: ``{job_id: {stage: count}}``."""
        return overlays.count_jobs(self._store, self.timeline_id)

    def stages(self) -> dict[str, dict[str, StageCounts]]:
        """What each stage of each job has drawn, ``{job_id: {stage: counts}}``; reads no picture.

        Frames, overlays of each name, and frames whose overlays are older than they are.
        """
        return overlays.count_stages(self._store, self.timeline_id)

    def sprites(self) -> Sprites:
        """Sheets of small thumbnails of the frames that :attr:`index` has, for scrubbing.

        Makes no request once the index is known; a sheet is made when it is first asked for.
        """
        return Sprites(self._opened.source(), self.timeline_id, self._opened.reading)

    def _some_chunks(self, chunks: ChunkLike | Iterable[ChunkLike]) -> list[Chunk]:
        wanted = _as_chunks(chunks)
        if not wanted:
            raise InvalidValue(f"no chunk was given for timeline {self.timeline_id}")
        return wanted


def _as_chunks(chunks: ChunkLike | Iterable[ChunkLike]) -> list[Chunk]:
    if isinstance(chunks, str | bytes | os.PathLike | Chunk):
        chunks = [chunks]
    if isinstance(chunks, Mapping | io.IOBase):
        # What these would give one by one is no chunk.
        raise InvalidValue(
            f"chunks are paths, URLs or Chunk objects, or several of them, not "
            f"{type(chunks).__name__}"
        )
    try:
        return [
            replace(chunk, url=os.fsdecode(chunk.url))
            if isinstance(chunk, Chunk)
            else Chunk(os.fsdecode(chunk))
            for chunk in chunks
        ]
    except TypeError as error:
        raise InvalidValue(
            f"chunks are paths, URLs or Chunk objects, or several of them: {error}"
        ) from error


def _settings(
    by: Sampling, jpeg: JpegSettings, layout: Layout | None, cached: Settings | None
) -> Settings:
    return Settings(by, jpeg, layout or (cached.layout if cached else "objects"))


def _as_workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0))
    return whole(workers, what="workers", least=1)
