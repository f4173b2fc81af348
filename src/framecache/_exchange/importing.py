"""Import of frames and overlays from a folder to a timeline."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

from framecache import _ingest as ingest
from framecache._core import keys, sampling
from framecache._core.manifest import Settings
from framecache._core.numeric import as_index, format_value
from framecache._core.sampling import AtRate, EveryFrame, Rate
from framecache._core.times import require_duration
from framecache._exchange.base import (
    ExchangedFrame,
    ExchangedOverlay,
    FrameFolder,
)
from framecache._exchange.formats import format_named, format_of
from framecache._exchange.local_files import as_folder
from framecache._ingest import JpegFrame
from framecache._overlays import Overlays
from framecache._overlays.conversion import as_png
from framecache.errors import InvalidValue
from framecache.model import (
    DEFAULT_LAYOUT,
    QUALITIES,
    FolderFormat,
    JpegSettings,
    Layout,
    OnConflict,
    Progress,
    ProgressCallback,
)
from framecache.store import Store

_OVERLAYS_AT_ONCE: Final = 64
_OVERLAY_BYTES_AT_ONCE: Final = 32 * 2**20

_OverlayName = tuple[int, str, str, str]
"""Sequence, job, stage and name of an overlay."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import."""

    timeline_id: str
    format: FolderFormat
    folder: str
    frames_imported: int
    """Frames of the folder: those stored, replaced, kept and unchanged."""
    frames_stored: int
    """Frames that were not cached before."""
    frames_replaced: int
    """Frames that replaced cached ones, in picture or in metadata."""
    frames_kept: int
    """Frames whose cached version was kept (``on_conflict="keep"``)."""
    overlays_imported: int
    seconds: float
    """Wall time of the call."""


def import_frames(
    store: Store,
    timeline_id: str,
    folder: str | bytes | os.PathLike[Any],
    *,
    format_name: FolderFormat | None,
    fps: Rate | None,
    on_conflict: OnConflict,
    layout: Layout | None,
    workers: int,
    progress: ProgressCallback | None,
) -> ImportReport:
    """Import the frames of a folder: see :meth:`framecache.Timeline.import_frames`."""
    began = time.monotonic()
    rate = sampling.from_arguments(fps=fps)
    chosen = format_named(format_name) if format_name is not None else None
    path = as_folder(folder)
    if not path.is_dir():
        what = f"{path} is a file" if path.exists() else f"there is no folder {path}"
        raise InvalidValue(f"{what}: give the folder of an export")
    chosen = chosen or format_of(path)
    chosen.require_packages()
    opened = chosen.open(path)
    source = _Source(opened, path, rate.rate if isinstance(rate, AtRate) else None, progress)
    overlays = source.check_overlays()
    report = ingest.write(
        store,
        timeline_id,
        source.frames(),
        resolve_settings=partial(_resolve_settings, layout),
        on_conflict=on_conflict,
        workers=workers,
    )
    if overlays:
        _save_overlays(store, timeline_id, opened.overlays())
    return ImportReport(
        timeline_id=timeline_id,
        format=chosen.name,
        folder=str(path),
        frames_imported=int(report),
        frames_stored=report.stored,
        frames_replaced=report.replaced,
        frames_kept=report.kept,
        overlays_imported=len(overlays),
        seconds=time.monotonic() - began,
    )


class _Source:
    """Frames and overlays of a folder, with checks that one frame alone cannot fail."""

    def __init__(
        self,
        opened: FrameFolder,
        path: Path,
        rate: Fraction | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._opened = opened
        self._path = path
        self._rate = rate
        self._progress = progress
        self._overlays: set[_OverlayName] = set()

    def check_overlays(self) -> set[_OverlayName]:
        """Read all overlays, and return their names.

        Raises:
            InvalidValue, InvalidId: an overlay is damaged, has an invalid name, or is given twice.
        """
        for overlay in self._opened.overlays():
            name = _overlay_name(overlay)
            as_png(overlay.png, name=overlay.name)
            if name in self._overlays:
                raise InvalidValue(
                    f"{self._path} has the overlay {overlay.name} of frame {overlay.sequence} "
                    f"twice in {overlay.job_id}/{overlay.stage}: leave one out"
                )
            self._overlays.add(name)
        return self._overlays

    def frames(self) -> Iterator[JpegFrame]:
        """Yield the frames with numbers and times.

        Raises:
            InvalidValue: a sequence is given twice, only some frames have one, frames have neither
                times nor a rate, both, or an overlay is of a frame that the folder does not have.
        """
        seen: dict[int, str] = {}
        is_numbered: bool | None = None
        with closing(self._opened.frames()) as frames:
            for number, frame in enumerate(frames):
                if is_numbered is None:
                    is_numbered = frame.sequence is not None
                if is_numbered != (frame.sequence is not None):
                    raise InvalidValue(
                        f"{frame.origin} has {'no' if is_numbered else 'a'} sequence, unlike the "
                        f"frames before it in {self._path}: give all frames one, or none"
                    )
                sequence = number if frame.sequence is None else keys.check_sequence(frame.sequence)
                if sequence in seen:
                    raise InvalidValue(
                        f"{frame.origin} and {seen[sequence]} have the same sequence, {sequence}: "
                        "give each frame its own"
                    )
                seen[sequence] = frame.origin
                yield self._timed(frame, sequence)
                if self._progress is not None:
                    self._progress(Progress(number + 1, self._opened.frame_count))
        if not seen:
            raise InvalidValue(f"{self._path} has no frame: give a folder that has")
        for sequence, job_id, stage, name in sorted(self._overlays):
            if sequence not in seen:
                raise InvalidValue(
                    f"{self._path} has the overlay {name} of {job_id}/{stage} for frame "
                    f"{sequence}, but no frame {sequence}: give a complete folder"
                )

    def _timed(self, frame: ExchangedFrame, sequence: int) -> JpegFrame:
        timestamp: float
        if frame.timestamp is None and self._rate is not None:
            timestamp = float(sequence / self._rate)
        elif frame.timestamp is None:
            raise InvalidValue(
                f"{frame.origin} has no timestamp: give fps, so that the time of a frame is its "
                "sequence / fps"
            )
        elif self._rate is not None:
            raise InvalidValue(f"{frame.origin} has a timestamp of its own: give no fps")
        else:
            timestamp = frame.timestamp
        return JpegFrame(
            sequence=sequence,
            chunk_id=frame.chunk_id,
            timestamp=timestamp,
            jpeg=frame.jpeg,
            perceptual_hash=frame.perceptual_hash,
            duration=require_duration(frame.duration, what=f"the duration of {frame.origin}"),
            quality=_quality(frame),
            origin=frame.origin,
        )


def _quality(frame: ExchangedFrame) -> int:
    quality = as_index(frame.quality)
    if quality is None or (quality and quality not in QUALITIES):
        raise InvalidValue(
            f"{frame.origin} has the quality {format_value(frame.quality)}: it must be an integer "
            "from 1 to 100, or 0 if it is unknown"
        )
    return quality


def _resolve_settings(layout: Layout | None, cached: Settings | None) -> Settings:
    if cached is not None:
        # The quality is recorded per frame, so it needs not be that of the timeline.
        return replace(cached, layout=layout or cached.layout)
    return Settings(EveryFrame(), JpegSettings(), layout or DEFAULT_LAYOUT)


def _overlay_name(overlay: ExchangedOverlay) -> _OverlayName:
    return (
        keys.check_sequence(overlay.sequence),
        keys.check_id(overlay.job_id, what="job_id"),
        keys.check_id(overlay.stage, what="stage"),
        keys.check_id(overlay.name, what="overlay name"),
    )


def _save_overlays(store: Store, timeline_id: str, overlays: Iterator[ExchangedOverlay]) -> None:
    """Store overlays, several at a time."""
    batch: list[ExchangedOverlay] = []
    size_bytes = 0
    for overlay in overlays:
        batch.append(overlay)
        size_bytes += len(overlay.png)
        if len(batch) >= _OVERLAYS_AT_ONCE or size_bytes >= _OVERLAY_BYTES_AT_ONCE:
            _save_batch(store, timeline_id, batch)
            batch, size_bytes = [], 0
    _save_batch(store, timeline_id, batch)


def _save_batch(store: Store, timeline_id: str, batch: list[ExchangedOverlay]) -> None:
    stages: dict[tuple[str, str], dict[int, dict[str, bytes]]] = {}
    for one in batch:
        frames = stages.setdefault((one.job_id, one.stage), {})
        frames.setdefault(one.sequence, {})[one.name] = one.png
    for (job_id, stage), frames in stages.items():
        Overlays(store, timeline_id, job_id=job_id, stage=stage).save_many(frames)
