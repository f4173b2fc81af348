"""Operations on one timeline of a cache: fill it, read it, clear it."""

import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from framecache import _ingest as ingest
from framecache import _overlays as overlays
from framecache._core import keys
from framecache._core.manifest import Settings
from framecache._core.numeric import require_int
from framecache._core.sampling import EveryFrame, Rate
from framecache._core.times import Seconds
from framecache._estimate import ExtractPlan, Footprint, plan_extraction, timeline_footprint
from framecache._index import Index
from framecache._ingest import deletion
from framecache._ingest.deletion import DeletionSummary
from framecache._ingest.extract_arguments import (
    ChunkLike,
    as_chunks,
    complete_settings,
    settings_changer,
    settings_resolver,
)
from framecache._interop import translation, vlm
from framecache._interop.tool_numbers import Tool
from framecache._interop.translation import FrameTranslation
from framecache._interop.vlm import VlmClip, VlmTiming
from framecache._maintain import renditions as rendition_adding
from framecache._maintain import repack as repacking
from framecache._maintain import verify as verification
from framecache._maintain.renditions import RenditionsReport
from framecache._maintain.repack import RepackReport
from framecache._maintain.verify import FindingCallback, VerifyReport
from framecache._media import video
from framecache._overlays import Overlays, StageCounts
from framecache._read import (
    DecodeOptions,
    as_sequences,
    read_batch,
    read_frame,
    read_jpeg,
    read_jpegs,
)
from framecache._read.asynchronous import iterate_async, run_async
from framecache._read.disk_cache import DiskCache
from framecache._read.follow import parse_follow, read_selection
from framecache._read.info import TimelineInfo, describe_extent, timeline_info
from framecache._read.notebook import timeline_html
from framecache._read.scenes import CUT_CHANGE, MIN_SCENE_SECONDS, find_scenes
from framecache._read.selection import parse_selection, require_missing
from framecache._read.snapshot_cache import SnapshotCache
from framecache._sprites import Sprites
from framecache.errors import InvalidValue, NotCached
from framecache.model import (
    UNINDEXED_LAYOUT,
    Aspect,
    Chroma,
    Color,
    ExtractReport,
    FolderFormat,
    Follow,
    Frame,
    Image,
    JpegSettings,
    Layout,
    Missing,
    OnConflict,
    ProgressCallback,
    Scene,
    SecondsRange,
    SequenceRange,
    WriteReport,
    as_layout,
    require_layout,
    require_on_conflict,
    require_renditions,
)
from framecache.store import Store

if TYPE_CHECKING:
    from framecache._exchange.exporting import ExportReport
    from framecache._exchange.importing import ImportReport


class Timeline:
    """One timeline of a cache: fill it, read it, clear it. Safe to share between threads.

    Frames are read through a snapshot of the index. It is loaded at the first read, and again when
    a requested frame or time is not in it. :attr:`exists`, :attr:`complete` and :meth:`info` always
    query the store; :meth:`frames` and :meth:`sequences` check that the snapshot is the latest.
    """

    def __init__(
        self, store: Store, timeline_id: str, *, disk_cache: DiskCache | None = None
    ) -> None:
        self.timeline_id = keys.check_id(timeline_id, what="timeline_id")
        self._store = store
        self._snapshot_cache = SnapshotCache(store, self.timeline_id, disk_cache)

    def __repr__(self) -> str:
        return f"<Timeline {self.timeline_id} in {self._store.url}>"

    def _repr_html_(self) -> str:
        """Return HTML that shows the timeline's metadata and a few frames in a notebook."""
        return timeline_html(self.timeline_id, self._store.url, self._snapshot_cache)

    @property
    def snapshot_cache(self) -> SnapshotCache:
        """Cached snapshot of the timeline, for programs that control when it is reloaded."""
        return self._snapshot_cache

    def extract(
        self,
        chunks: ChunkLike | Iterable[ChunkLike],
        *,
        fps: Rate | None = None,
        every: int | None = None,
        keyframes: bool = False,
        quality: int = 85,
        aspect: Aspect = "stored",
        max_side: int | None = None,
        chroma: Chroma = "420",
        renditions: Iterable[int] | None = None,
        layout: Layout | None = None,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Cache the frames of a timeline's chunks; frames that are already cached stay as they are.

        Args:
            chunks: the timeline's videos, in time order.
            fps: take the frame on screen at each k / fps seconds.
            every: take every n-th frame.
            keyframes: take keyframes only.
            quality: JPEG quality, 1 to 100.
            aspect: ``"square"`` scales the width of frames whose pixels are not square in the
                video; ``"stored"`` keeps the pixels as they are.
            max_side: maximum width and height of frames in pixels, up to 65,500. Larger ones are
                scaled down to it by area, each by itself, before they are encoded. None: frames
                keep their size.
            chroma: ``"444"`` keeps the color of each pixel, so that small text and thin colored
                lines stay sharp; the JPEGs are larger. ``"420"`` halves its resolution.
            renditions: sizes of smaller copies of each frame to store with it, largest first: the
                maximum width and height of each, up to 65,500. Reading with ``max_side`` takes the
                smallest that suffices. A frame that is not larger has none of that size. None:
                those of the cached timeline, else none.
            layout: ``"objects"``, one blob per frame; ``"packs"``, one tar per segment of a chunk,
                which takes far fewer requests; or ``"video"``, nothing: frames are decoded from the
                chunks, which must stay, when they are read. None: the layout of the cached
                timeline, else ``"objects"``.
            workers: threads that decode and encode; None: one per core. The frames do not depend
                on it.
            progress: called after each frame and while waiting for other programs, by one thread
                at a time.

        Raises:
            MissingPackage: a package of the extra ``extract`` is not installed.
            SettingsConflict: the timeline is cached, or being extracted by another program, with
                other settings or chunks. If nothing is committed yet, the other program's lease is
                watched for up to 20 s; if that program is dead, this one takes over.
            UnreadableChunk: a chunk is missing or not a video.
            ChunkChanged: a chunk is not the one the manifest names.
            StorePermissionDenied, StoreUnavailable: the store, or that of a chunk, failed.
            TimelineCleared: another program cleared the timeline meanwhile.
        """
        video.require_packages("extraction")
        resolve_settings = settings_resolver(
            fps=fps,
            every=every,
            keyframes=keyframes,
            quality=quality,
            aspect=aspect,
            max_side=max_side,
            chroma=chroma,
            renditions=renditions,
            layout=layout,
        )
        wanted = as_chunks(chunks, timeline_id=self.timeline_id)
        self._snapshot_cache.invalidate()
        return ingest.extract(
            self._store,
            self.timeline_id,
            wanted,
            resolve_settings=resolve_settings,
            workers=_worker_count(workers),
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
        max_side: int | None = None,
        chroma: Chroma = "420",
        renditions: Iterable[int] | None = None,
        layout: Layout | None = None,
        workers: int | None = None,
    ) -> ExtractPlan:
        """Return what :meth:`extract` would do now; changes nothing in the store.

        The chunks are scanned, and a few keyframes of each are encoded to estimate the size of its
        JPEGs. Arguments and errors are those of :meth:`extract`.
        """
        video.require_packages("extraction")
        resolve_settings = settings_resolver(
            fps=fps,
            every=every,
            keyframes=keyframes,
            quality=quality,
            aspect=aspect,
            max_side=max_side,
            chroma=chroma,
            renditions=renditions,
            layout=layout,
        )
        foreseen = ingest.forecast_extraction(
            self._store,
            self.timeline_id,
            as_chunks(chunks, timeline_id=self.timeline_id),
            resolve_settings=resolve_settings,
            workers=_worker_count(workers),
        )
        return plan_extraction(self._store.url, foreseen)

    def plan_append(
        self, chunks: ChunkLike | Iterable[ChunkLike], *, workers: int | None = None
    ) -> ExtractPlan:
        """Return what :meth:`append` would do now: see :meth:`plan_extract`."""
        video.require_packages("extraction")
        foreseen = ingest.forecast_append(
            self._store,
            self.timeline_id,
            as_chunks(chunks, timeline_id=self.timeline_id),
            settings=Settings(),
            workers=_worker_count(workers),
        )
        return plan_extraction(self._store.url, foreseen)

    def append(
        self,
        chunks: ChunkLike | Iterable[ChunkLike],
        *,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Cache more chunks at the end of the timeline, with the timeline's settings.

        Chunks that the timeline already has are skipped, so an append can be repeated after a
        failure. Appending to a timeline that does not exist extracts every frame of the chunks.

        Raises the errors of :meth:`extract`.
        """
        video.require_packages("extraction")
        wanted = as_chunks(chunks, timeline_id=self.timeline_id)
        self._snapshot_cache.invalidate()
        return ingest.append(
            self._store,
            self.timeline_id,
            wanted,
            settings=Settings(),
            workers=_worker_count(workers),
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
        """Cache frames from memory; they become visible together. Returns their number.

        Frames keep their sequence, chunk_id, timestamp and perceptual hash (computed when empty).
        A frame that is already cached unchanged is skipped, so a batch can be written again after
        a failure. If a sequence is cached with another picture, quality, time, hash or chunk_id,
        ``on_conflict`` decides; the report counts these frames.

        Args:
            frames: any number of frames.
            on_conflict: ``"raise"``: raise, and cache nothing of this call. ``"replace"``: the
                given frame replaces the cached one as a whole, at any size and quality; overlays
                stored earlier are stale if the picture changed; if one sequence is given twice,
                the last one counts. ``"keep"``: the cached frame stays. With ``"replace"`` and
                ``"keep"``, frames that another program stored without a manifest are imported
                first (chunk 0, time 0.0).
            quality: JPEG quality, 1 to 100; recorded per frame.
            layout: as for :meth:`extract`.
            workers: threads that encode; None: one per core.

        Raises:
            InvalidValue: an image is not ``(H, W, 3)`` uint8, or a number is not valid for a frame.
            SettingsConflict: with ``"raise"``, a frame is cached with different content, or the
                timeline at another quality; the timeline has another layout; or it was extracted
                from chunks.
        """
        require_on_conflict(on_conflict)
        if isinstance(frames, Frame):
            raise InvalidValue("write takes several frames: give a list, even for one")
        self._snapshot_cache.invalidate()
        choose = partial(complete_settings, EveryFrame(), JpegSettings(quality), as_layout(layout))
        return ingest.write(
            self._store,
            self.timeline_id,
            frames,
            resolve_settings=choose,
            on_conflict=on_conflict,
            workers=_worker_count(workers),
        )

    def rebuild(
        self,
        *,
        fps: Rate | None = None,
        every: int | None = None,
        keyframes: bool = False,
        quality: int | None = None,
        aspect: Aspect | None = None,
        max_side: int | None = None,
        chroma: Chroma | None = None,
        renditions: Iterable[int] | None = None,
        layout: Layout | None = None,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> ExtractReport:
        """Extract the manifest's chunks again; arguments given here replace the cached settings.

        All chunks are checked before anything changes, so a missing chunk leaves the timeline as
        it was. ``max_side=65500``, the largest frame, removes a limit, and ``renditions=()`` all
        renditions.

        Raises:
            MissingPackage: a package of the extra ``extract`` is not installed.
            NotCached: the timeline has no manifest with chunks.
            UnreadableChunk: a chunk is missing or no longer a video.
        """
        video.require_packages("extraction")
        alter = settings_changer(
            fps=fps,
            every=every,
            keyframes=keyframes,
            quality=quality,
            aspect=aspect,
            max_side=max_side,
            chroma=chroma,
            renditions=renditions,
            layout=layout,
        )
        self._snapshot_cache.invalidate()
        return ingest.rebuild(
            self._store,
            self.timeline_id,
            alter=alter,
            workers=_worker_count(workers),
            progress=progress,
        )

    def repack(
        self,
        layout: Layout,
        *,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> RepackReport:
        """Move all cached frames into another layout; the JPEGs stay byte-identical.

        Sequences, times and overlays do not change, and readers of the timeline are not disturbed.

        Args:
            layout: ``"objects"`` or ``"packs"``: see :meth:`extract`. From layout ``"video"`` the
                frames are extracted.
            workers: threads; None: one per core, more for a remote store.
            progress: called after each frame, by one thread at a time.

        Raises:
            NotCached: the timeline has no manifest.
            SettingsConflict: the layout is ``"video"``, which stores no frames: rebuild with it.
            UnreadableChunk: frames are not stored, and their chunk cannot be read or has changed.
            CorruptFrame: a frame is damaged; the timeline stays unchanged. Verify and repair it
                first. Blobs already stored for the new layout are left to ``framecache gc``.
            TimelineCleared: another program cleared the timeline meanwhile.
            StoreUnavailable: another program is working on the timeline.
        """
        self._snapshot_cache.invalidate()
        return repacking.repack(
            self._store,
            self.timeline_id,
            require_layout(layout),
            workers=_worker_count(workers),
            progress=progress,
        )

    def add_renditions(
        self,
        renditions: Iterable[int],
        *,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> RenditionsReport:
        """Store smaller copies of every cached frame that lacks them; the frames do not change.

        They are made from the stored JPEGs, and become visible together, as the frames of a repack
        do. Chunks that are appended later have them too.

        Args:
            renditions: sizes to add to those that the timeline has, largest first: see
                :meth:`extract`.
            workers: threads; None: one per core.
            progress: called after each frame, by one thread at a time.

        Raises:
            MissingPackage: OpenCV, of the extra ``extract``, is not installed.
            NotCached: the timeline has no manifest.
            InvalidValue: a size is not valid, or the layout is ``"video"``, which stores no frames.
            CorruptFrame: a frame is damaged; the timeline stays unchanged.
            TimelineCleared: another program cleared the timeline meanwhile.
            StoreUnavailable: another program is working on the timeline.
        """
        self._snapshot_cache.invalidate()
        return rendition_adding.add_renditions(
            self._store,
            self.timeline_id,
            require_renditions(renditions),
            workers=_worker_count(workers),
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

        Every cached frame is fetched and compared with its index row, and every other blob is
        accounted for. Missing, truncated or corrupt frames can be extracted again from their chunk.

        Args:
            deep: decode every JPEG, and compare some frames of each chunk with the chunk's video.
            repair: extract the damaged frames again, and only those.
            workers: threads that fetch and decode; None: one per core, more for a remote store.
            progress: called after each frame that was compared or decoded again.
            on_finding: called for each problem as it is found; the report keeps the first 1,000.
                With ``repair``, damage is reported after its repair was attempted.

        Raises:
            MissingPackage: ``deep`` or ``repair`` is given, and a package of the extra ``extract``
                is not installed.
            NotCached: the store holds nothing of the timeline.
            StorePermissionDenied, StoreUnavailable: the store, or that of a chunk, failed.
            TimelineCleared: another program cleared the timeline meanwhile.
        """
        if deep or repair:
            video.require_packages("verification with deep or repair")
        self._snapshot_cache.invalidate()
        return verification.verify(
            self._store,
            self.timeline_id,
            deep=deep,
            repair=repair,
            workers=_worker_count(workers),
            progress=progress,
            on_finding=on_finding,
        )

    def clear(self) -> DeletionSummary:
        """Remove all cached frames; chunks, settings and overlays stay, for :meth:`rebuild`."""
        self._snapshot_cache.invalidate()
        return deletion.clear(self._store, self.timeline_id)

    def delete(self) -> DeletionSummary:
        """Remove everything of the timeline, overlays included. Chunks are never touched."""
        self._snapshot_cache.invalidate()
        return deletion.delete(self._store, self.timeline_id)

    @property
    def exists(self) -> bool:
        """True if any frame is cached now."""
        return self._snapshot_cache.reload().exists

    @property
    def complete(self) -> bool:
        """True if any frame is cached, and every chunk of the manifest is."""
        return self._snapshot_cache.reload().is_complete

    @property
    def index(self) -> Index:
        """Index of the cached frames, as columns; empty if there are none."""
        return self._snapshot_cache.source().snapshot.index

    def __len__(self) -> int:
        """Return the number of cached frames, undecodable ones included."""
        return len(self.index)

    def __bool__(self) -> bool:
        """Return True, even for a timeline without frames."""
        return True

    def info(self) -> TimelineInfo:
        """Return the timeline's metadata without reading a frame."""
        return timeline_info(self.timeline_id, self._store.url, self._snapshot_cache.reload())

    def footprint(self, layout: Layout | None = None) -> Footprint:
        """Return the bytes that the cached frames take, and the requests to fill and read them.

        Args:
            layout: None: the timeline's layout. Another: figures as after :meth:`repack`.

        Raises:
            NotCached: no frame is cached; or ``layout`` differs and the timeline has no manifest.
            InvalidValue: ``layout`` differs and no frame is stored, so their sizes are not known.
        """
        chosen = as_layout(layout)
        snapshot = self._snapshot_cache.source().snapshot
        if not snapshot.exists:
            raise NotCached(
                f"timeline {self.timeline_id} in {self._store.display_name} uses no space: "
                f"{describe_extent(snapshot)}"
            )
        if chosen not in (None, UNINDEXED_LAYOUT) and snapshot.manifest is None:
            raise NotCached(
                f"timeline {self.timeline_id} in {self._store.display_name} has no manifest, so "
                "its layout cannot be changed: extract it first"
            )
        return timeline_footprint(snapshot, chosen)

    def frame(
        self,
        sequence: int,
        *,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> Frame:
        """Return the frame with this sequence; takes one request once the index is loaded.

        Args:
            sequence: the frame's number on the timeline.
            scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
            max_side: instead of ``scale``: largest width and height in pixels, 1 to 65500. A larger
                picture is scaled down, so that its longer side is this long and the other one is
                rounded to the nearest pixel. The JPEG decoder scales as far as it can; each pixel
                is then the mean of the area that it covers. Needs OpenCV, of the extra ``extract``.
            color: ``"rgb"``, ``"bgr"`` (OpenCV's order) or ``"gray"``.

        Raises:
            InvalidValue: an argument is out of its range, or both sizes are given.
            NotCached: the timeline has no such frame.
            UndecodableFrame: the frame has no picture.
            TimelineCleared: the timeline was cleared since its index was read.
            CorruptFrame: the stored bytes are not those that were committed.
            UnreadableChunk, MissingPackage: in layout ``video``, the chunk cannot be read or has
                changed, or a package of the extra ``extract`` is not installed.
        """
        decoding = DecodeOptions(color, scale, max_side)
        source, row = self._snapshot_cache.find_row(sequence)
        with self._snapshot_cache.track_read(source):
            return read_frame(source, row, decoding)

    def frame_at(
        self,
        seconds: Seconds,
        *,
        tolerance_seconds: Seconds | None = None,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> Frame:
        """Return the frame shown at a time: the last cached frame that begins at or before it.

        A rounded time still finds its frame: if ``seconds`` lies before the next frame by no more
        than the tolerance and half of the current frame's duration, the next frame is returned.

        Args:
            seconds: number of any type, or a string: ``"62.5"``, ``"62.5s"``, ``"1:02.5"``.
            tolerance_seconds: largest rounding error of ``seconds``. None: zero for an integer
                or a ``Fraction``; 1 µs for a float, or half a unit in the last place of
                ``np.float32``; half a unit of the last digit of a string or ``Decimal``.
            scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
            max_side: instead of ``scale``: largest width and height in pixels: see :meth:`frame`.
            color: ``"rgb"``, ``"bgr"`` (OpenCV's order) or ``"gray"``.

        Raises the errors of :meth:`frame`; NotCached also if no frame is shown at that time.
        """
        decoding = DecodeOptions(color, scale, max_side)
        while True:
            source, position = self._snapshot_cache.find_position_at(
                seconds, tolerance_seconds=tolerance_seconds
            )
            row = source.snapshot.index.row(position)
            with self._snapshot_cache.track_read(source):
                frame = read_frame(source, row, decoding)
            if not source.is_outdated:
                return frame
            # A frame was replaced or moved since the index was read; another may be on screen now.
            self._snapshot_cache.invalidate()

    def sequence_at(self, seconds: Seconds, *, tolerance_seconds: Seconds | None = None) -> int:
        """Return the sequence of the frame shown at a time: see :meth:`frame_at`."""
        source, position = self._snapshot_cache.find_position_at(
            seconds, tolerance_seconds=tolerance_seconds
        )
        return int(source.snapshot.index.sequence[position])

    def translate(
        self, n: int, *, of: Tool, fps: Rate | None = None, chunk_id: int | None = None
    ) -> FrameTranslation:
        """Return the frame that another tool's frame number means; never a guess.

        Args:
            n: number of a frame in a chunk's video, counted from 0.
            of: the tool. ``"opencv"``: calls of ``VideoCapture.read()``. ``"decord"``,
                ``"torchcodec"``: index into the reader. ``"ffmpeg"``: decoded frames, as ``select``
                and ``showinfo`` count; with ``fps``, outputs of the filter ``fps``. ``"browser"``:
                ``currentTime = n / fps`` in Chromium.
            fps: rate of ffmpeg's filter ``fps``, or by which the page of a browser divides. For the
                other tools: rate with which ``n / fps`` must be the time of frame ``n``.
            chunk_id: chunk whose video the tool read; None: the only one.

        Raises:
            AmbiguousFrame: the number may mean several frames, or the manifest does not record
                what decides.
            NotCached: the video has no such frame, or it was not sampled or is not cached.
        """
        return translation.translate(self._snapshot_cache, n, of=of, fps=fps, chunk_id=chunk_id)

    def translate_back(
        self, sequence: int, *, of: Tool, fps: Rate | None = None
    ) -> FrameTranslation:
        """Return another tool's number of a frame, the smallest one: see :meth:`translate`.

        Raises the errors of :meth:`translate`; AmbiguousFrame also if no number means the frame,
        as at a rate below that of the video.
        """
        return translation.translate_back(self._snapshot_cache, sequence, of=of, fps=fps)

    def sequences(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        *,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
        ranges: Iterable[SequenceRange] | None = None,
        ranges_seconds: Iterable[SecondsRange] | None = None,
        reverse: bool = False,
        min_change: int | None = None,
        missing: Missing = "skip",
    ) -> list[int]:
        """Return the sequences of the frames that :meth:`frames` would yield; reads no frame."""
        selection = parse_selection(
            start,
            stop,
            step,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            tolerance_seconds=tolerance_seconds,
            ranges=ranges,
            ranges_seconds=ranges_seconds,
            reverse=reverse,
            min_change=min_change,
            missing=missing,
        )
        source = self._snapshot_cache.latest_source()
        index = source.snapshot.index
        sequences: list[int] = index.sequence[
            self._snapshot_cache.select(source, selection)
        ].tolist()
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
        ranges: Iterable[SequenceRange] | None = None,
        ranges_seconds: Iterable[SecondsRange] | None = None,
        reverse: bool = False,
        min_change: int | None = None,
        missing: Missing = "skip",
        follow: Follow = False,
        timeout_seconds: float | None = None,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> Iterator[Frame]:
        """Yield frames in order, prefetched on threads, in bounded memory; gaps are skipped.

        Args:
            start: first sequence; None: the first cached one.
            stop: one past the last sequence; None: to the end.
            step: take sequences ``start, start + step, …``, in each range.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            tolerance_seconds: largest rounding error of these times: see :meth:`frame_at`.
            ranges: several half-open ranges instead of one: pairs of sequences, or scenes of
                :meth:`scenes`. They are read in the given order; where they overlap, frames are
                yielded more than once.
            ranges_seconds: the same as pairs of times.
            reverse: yield the last of these frames first.
            min_change: yield a frame only if its perceptual hash differs in at least this many
                bits, 1 to 64, from that of the frame yielded before. A frame without a hash of 64
                bits, and the one after it, are yielded too. Other frames are not fetched.
            missing: ``"skip"``: leave out frames that are not cached or undecodable. ``"raise"``:
                raise the error of the first of them, before the first frame; with ``follow``, once
                it is known. An end that is not given is that of the cached frames and of the
                chunks of the manifest.
            follow: ``True``: after the last frame, wait for more, and yield them in order as other
                programs commit them. Iteration ends at ``stop`` or ``stop_seconds``, or by
                ``timeout_seconds``. ``"complete"``: it also ends once every chunk of the timeline
                is cached. The timeline need not exist yet.
            timeout_seconds: with ``follow``, end after this many seconds in which no frame is
                committed. None: no limit. If ``"complete"`` was asked for, the end is NotCached
                instead.
            scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
            max_side: instead of ``scale``: largest width and height in pixels: see :meth:`frame`.
            color: ``"rgb"``, ``"bgr"`` (OpenCV's order) or ``"gray"``.

        Raises:
            InvalidValue: an argument is out of its range, or contradicts another one; raised before
                the first frame.
            NotCached, UndecodableFrame: see ``missing`` and ``timeout_seconds``.
            TimelineCleared, CorruptFrame: raised while iterating.
        """
        return read_selection(
            self._snapshot_cache,
            parse_selection(
                start,
                stop,
                step,
                start_seconds=start_seconds,
                stop_seconds=stop_seconds,
                tolerance_seconds=tolerance_seconds,
                ranges=ranges,
                ranges_seconds=ranges_seconds,
                reverse=reverse,
                min_change=min_change,
                missing=missing,
            ),
            DecodeOptions(color, scale, max_side),
            follow=follow,
            timeout_seconds=timeout_seconds,
        )

    def scenes(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
        min_change: int = CUT_CHANGE,
        min_seconds: float = MIN_SCENE_SECONDS,
    ) -> list[Scene]:
        """Divide the cached frames into scenes, by their perceptual hashes; reads no frame.

        A scene begins at the first frame and at each cut, if the scene before has lasted for
        ``min_seconds``. A cut is a frame whose hash differs from that of the cached frame before it
        in at least ``min_change`` bits, and either in 30 bits or in twice the median of the three
        changes on each side, because fast motion is not a cut. Gradual transitions and changes of
        color alone are not found. Undecodable frames belong to the scene around them.

        Args:
            start: first sequence; None: the first cached one.
            stop: one past the last sequence; None: to the end.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            tolerance_seconds: largest rounding error of these times: see :meth:`frame_at`.
            min_change: least distance of the hashes at a cut in bits, 1 to 64.
            min_seconds: least duration of a scene but the last.

        Raises:
            InvalidValue: an argument is out of its range, or contradicts another one.
        """
        selection = parse_selection(
            start,
            stop,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            tolerance_seconds=tolerance_seconds,
        )
        return find_scenes(
            self._snapshot_cache.latest_source(),
            selection.ranges[0],
            min_change=min_change,
            min_seconds=min_seconds,
        )

    def available(self, sequences: Iterable[int]) -> list[int]:
        """Return those of these sequences whose frames have a picture, in the given order.

        They are the frames that :meth:`batch` and :meth:`jpegs` return with ``missing="skip"``.

        Raises:
            InvalidValue: one of them is not a valid sequence.
        """
        source, positions = self._snapshot_cache.find_positions(sequences, "skip")
        found: list[int] = source.snapshot.index.sequence[positions].tolist()
        return found

    def batch(
        self,
        sequences: Iterable[int],
        *,
        missing: Missing = "raise",
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
        out: Image | None = None,
    ) -> Image:
        """Return the images of these sequences, in the given order, as one uint8 array.

        Its shape is ``(N, H, W, 3)``, or ``(N, H, W)`` for gray.

        Args:
            sequences: one or more sequences; their frames must have the same size.
            missing: ``"raise"``: raise if a frame is not cached or undecodable. ``"skip"``: leave
                it out, so N is smaller; :meth:`available` returns the sequences of the others.
            scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
            max_side: instead of ``scale``: largest width and height in pixels: see :meth:`frame`.
            color: ``"rgb"``, ``"bgr"`` (OpenCV's order) or ``"gray"``.
            out: array to fill and return: C-contiguous uint8 of the result's shape. Reusing memory
                is cheaper than allocating it. After an error it may be partly overwritten. None:
                allocate an array. The process keeps the memory of one batch that is no longer
                referenced, up to 256 MiB, and reuses it for the next batch of that size.

        Raises the errors of :meth:`frame`, NotCached if all frames are missing, and InvalidValue if
        the frames differ in size or ``out`` does not fit.
        """
        decoding, wanted = DecodeOptions(color, scale, max_side), as_sequences(sequences)
        require_missing(missing)
        while True:
            source, positions = self._snapshot_cache.find_positions(wanted, missing)
            if len(wanted) and not len(positions):
                raise self._snapshot_cache.not_cached(source, int(wanted[0]))
            try:
                with self._snapshot_cache.track_read(source):
                    return read_batch(source, positions, decoding, out, missing=missing)
            except InvalidValue:
                # If frames were replaced since the index was read, it may hold outdated sizes.
                if not source.is_outdated:
                    raise
                self._snapshot_cache.invalidate()

    def to_vlm(
        self,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        *,
        max_frames: int = 32,
        scale: float = 1.0,
        max_side: int | None = None,
        timing: VlmTiming = "indices",
    ) -> VlmClip:
        """Return the frames of a range for a vision-language model, with their exact times.

        Args:
            start_seconds: frames that begin at or after this time; None: from the first one.
            stop_seconds: frames that begin before this time; None: to the end.
            max_frames: largest number of frames; more are thinned out evenly.
            scale: 1 sends the stored bytes; 0.5, 0.25 or 0.125 encodes smaller JPEGs.
            max_side: instead of ``scale``: largest width and height in pixels: see :meth:`frame`.
            timing: ``"indices"``: the receiver computes ``index / fps``, as Qwen3-VL, GLM-4V and
                SmolVLM do; times count from the start of the timeline. ``"rate"``: it only uses the
                rate, as Qwen2.5-VL does; times count from the first frame, and frames are taken at
                one stride.

        Raises:
            InvalidValue: the receiver's computation would be off by more than 1 ms, or the frames
                have no times.
            NotCached: no frame begins in the range.
            TimelineCleared, CorruptFrame: as for :meth:`frame`.
        """
        selection = vlm.VlmSelection.parse(
            start_seconds,
            stop_seconds,
            max_frames=max_frames,
            scale=scale,
            max_side=max_side,
            timing=timing,
        )
        source = self._snapshot_cache.latest_source()
        with self._snapshot_cache.track_read(source):
            return vlm.make_clip(source, selection)

    def jpeg(self, sequence: int, *, max_side: int | None = None) -> bytes:
        """Return the stored bytes of a frame, or a smaller JPEG.

        Args:
            sequence: the frame's number on the timeline.
            max_side: largest width and height in pixels: see :meth:`frame`. If the timeline has
                renditions of this size, their stored bytes are returned; else a JPEG is encoded
                again, as the timeline's frames are. None: the stored bytes.

        Raises the errors of :meth:`frame`.
        """
        decoding = DecodeOptions(max_side=max_side)
        source, row = self._snapshot_cache.find_row(sequence)
        with self._snapshot_cache.track_read(source):
            return read_jpeg(source, row, decoding)

    def jpegs(
        self,
        sequences: Iterable[int],
        *,
        max_side: int | None = None,
        missing: Missing = "raise",
    ) -> Iterator[bytes]:
        """Yield the stored bytes of these sequences in the given order, prefetched.

        Args:
            sequences: any number of sequences.
            max_side: largest width and height in pixels: see :meth:`jpeg`.
            missing: ``"raise"`` or ``"skip"``, as for :meth:`batch`.

        Raises the errors of :meth:`frame`: NotCached before the first item, the others while
        iterating.
        """
        decoding = DecodeOptions(max_side=max_side)
        require_missing(missing)
        source, positions = self._snapshot_cache.find_positions(sequences, missing)
        return self._snapshot_cache.track_results(
            source, read_jpegs(source, positions, decoding, missing=missing)
        )

    async def aframe(
        self,
        sequence: int,
        *,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> Frame:
        """Return the frame with this sequence, as :meth:`frame` does, from a thread.

        Up to 32 calls run at once; others wait. A canceled call ends at once.
        """
        return await run_async(self.frame, sequence, scale=scale, max_side=max_side, color=color)

    async def aframe_at(
        self,
        seconds: Seconds,
        *,
        tolerance_seconds: Seconds | None = None,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> Frame:
        """Return the frame shown at a time, as :meth:`frame_at` does: see :meth:`aframe`."""
        return await run_async(
            self.frame_at,
            seconds,
            tolerance_seconds=tolerance_seconds,
            scale=scale,
            max_side=max_side,
            color=color,
        )

    async def ajpeg(self, sequence: int, *, max_side: int | None = None) -> bytes:
        """Return the JPEG of a frame, as :meth:`jpeg` does: see :meth:`aframe`."""
        return await run_async(self.jpeg, sequence, max_side=max_side)

    async def abatch(
        self,
        sequences: Iterable[int],
        *,
        missing: Missing = "raise",
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
        out: Image | None = None,
    ) -> Image:
        """Return images in one array, as :meth:`batch` does: see :meth:`aframe`.

        If the call is canceled, ``out`` may be overwritten afterwards.
        """
        return await run_async(
            self.batch,
            sequences,
            missing=missing,
            scale=scale,
            max_side=max_side,
            color=color,
            out=out,
        )

    def aframes(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        *,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        tolerance_seconds: Seconds | None = None,
        ranges: Iterable[SequenceRange] | None = None,
        ranges_seconds: Iterable[SecondsRange] | None = None,
        reverse: bool = False,
        min_change: int | None = None,
        missing: Missing = "skip",
        follow: Follow = False,
        timeout_seconds: float | None = None,
        scale: float = 1.0,
        max_side: int | None = None,
        color: Color = "rgb",
    ) -> AsyncGenerator[Frame]:
        """Yield frames for ``async for``; arguments, order and prefetching as :meth:`frames`.

        When the loop is left or its task is canceled, reading stops without being waited for.
        """
        selection = parse_selection(
            start,
            stop,
            step,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            tolerance_seconds=tolerance_seconds,
            ranges=ranges,
            ranges_seconds=ranges_seconds,
            reverse=reverse,
            min_change=min_change,
            missing=missing,
        )
        parse_follow(follow, timeout_seconds=timeout_seconds, selection=selection)
        decoding = DecodeOptions(color, scale, max_side)
        return iterate_async(
            lambda stopped: read_selection(
                self._snapshot_cache,
                selection,
                decoding,
                follow=follow,
                timeout_seconds=timeout_seconds,
                stopped=stopped,
            )
        )

    def overlays(self, *, job_id: str, stage: str) -> Overlays:
        """Return the debug overlays of one stage of one job; makes no request."""
        return Overlays(
            self._store,
            self.timeline_id,
            job_id=job_id,
            stage=stage,
            snapshot_cache=self._snapshot_cache,
        )

    def jobs(self) -> dict[str, dict[str, int]]:
        """Count the overlays of each stage of each job: ``{job_id: {stage: count}}``."""
        return overlays.count_jobs(self._store, self.timeline_id)

    def stages(self) -> dict[str, dict[str, StageCounts]]:
        """Count the overlays in detail, ``{job_id: {stage: counts}}``; reads no picture.

        The counts include the frames with overlays, the overlays of each name, and the frames that
        are newer than one of their overlays.
        """
        return overlays.count_stages(self._store, self.timeline_id)

    def sprites(self) -> Sprites:
        """Return sprite sheets (small thumbnails for scrubbing) of the frames in :attr:`index`.

        Makes no request once the index is loaded; a sheet is created when first requested.
        """
        return Sprites(
            self._snapshot_cache.source(), self.timeline_id, self._snapshot_cache.track_read
        )

    def export_frames(
        self,
        folder: str | bytes | os.PathLike[Any],
        *,
        format: FolderFormat,  # noqa: A002 -- the term of the formats themselves
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        start_seconds: Seconds | None = None,
        stop_seconds: Seconds | None = None,
        min_change: int | None = None,
        missing: Missing = "skip",
        overlays: Iterable[Overlays] = (),
        fps: Rate | None = None,
        shard_bytes: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> "ExportReport":
        """Write frames, and the overlays of some stages, to a local folder for other programs.

        JPEGs keep their bytes. The folder becomes visible as a whole: after an error, there is
        none. Overlays that are older than their frames are left out.

        Args:
            folder: local folder that is empty or does not exist.
            format: ``"images"``, ``"mp4"``, ``"webdataset"``, ``"parquet"``, ``"lance"``,
                ``"coco-images"`` or ``"cvat"``: see ``docs/how-to/import-export.md``.
            start: first sequence; None: the first cached one.
            stop: one past the last sequence; None: to the end.
            step: take sequences ``start, start + step, …``.
            start_seconds: instead of ``start``: frames that begin at or after this time.
            stop_seconds: instead of ``stop``: frames that begin before this time.
            min_change: least change of the perceptual hash in bits, 1 to 64: see :meth:`frames`.
            missing: ``"skip"``: leave out frames without a picture. ``"raise"``: raise.
            overlays: stages whose overlays are exported with the frames; not for ``"mp4"`` and
                ``"cvat"``.
            fps: frames per second of the video, for ``"mp4"``; None: the mean rate of the frames.
            shard_bytes: size of a file at which the next frames go to another one, for
                ``"webdataset"`` and ``"parquet"``; None: 1 GiB.
            progress: called after each frame.

        Raises:
            InvalidValue: the folder is not empty, an argument is out of its range or does not apply
                to the format, or the format cannot hold these frames.
            MissingPackage: a package that the format needs is not installed.
            NotCached: no frame is in the range. UndecodableFrame: see ``missing``.
            StoreFull, StoreUnavailable: the folder cannot be written, or the store failed.
            TimelineCleared, CorruptFrame: as for :meth:`frame`.
        """
        from framecache._exchange.exporting import export_frames  # noqa: PLC0415 -- rarely needed

        return export_frames(
            self._snapshot_cache,
            folder,
            format_name=format,
            selection=parse_selection(
                start,
                stop,
                step,
                start_seconds=start_seconds,
                stop_seconds=stop_seconds,
                min_change=min_change,
                missing=missing,
            ),
            overlays=overlays,
            fps=fps,
            shard_bytes=shard_bytes,
            progress=progress,
        )

    def import_frames(
        self,
        folder: str | bytes | os.PathLike[Any],
        *,
        format: FolderFormat | None = None,  # noqa: A002 -- as for export_frames
        fps: Rate | None = None,
        on_conflict: OnConflict = "raise",
        layout: Layout | None = None,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> "ImportReport":
        """Cache the frames and overlays of a local folder; the JPEGs keep their bytes.

        The frames become visible together, after all of them and all overlays were read and
        checked; then the overlays are stored. After a failure, the call can be repeated.

        Args:
            folder: folder that :meth:`export_frames` or another program wrote.
            format: its format, as for :meth:`export_frames`; None: the one that it looks like.
            fps: rate of frames of which the folder has no times: the time of a frame is its
                sequence / fps. Frames without a sequence are numbered in the folder's order.
            on_conflict: action for a sequence that is cached with another picture, time, hash or
                chunk_id: see :meth:`write`.
            layout: as for :meth:`extract`.
            workers: threads that decode each JPEG once; None: one per core.
            progress: called after each frame.

        Raises:
            InvalidValue: the folder is not of the format, or a file is missing, damaged, of
                another kind or outside the folder; frames have the same sequence, or no times; or
                an overlay is of a frame that the folder does not have. Nothing becomes visible.
            InvalidId: the name of a job, stage or overlay cannot be part of a key.
            MissingPackage: a package that the format needs is not installed.
            SettingsConflict: see :meth:`write`.
            TimelineCleared: another program cleared the timeline meanwhile.
            StorePermissionDenied, StoreUnavailable: the store failed, or a file cannot be read.
        """
        from framecache._exchange.importing import import_frames  # noqa: PLC0415 -- rarely needed

        require_on_conflict(on_conflict)
        self._snapshot_cache.invalidate()
        return import_frames(
            self._store,
            self.timeline_id,
            folder,
            format_name=format,
            fps=fps,
            on_conflict=on_conflict,
            layout=as_layout(layout),
            workers=_worker_count(workers),
            progress=progress,
        )


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0))
    return require_int(workers, what="workers", minimum=1)
