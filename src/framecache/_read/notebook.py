"""HTML of a timeline for notebooks: its metadata, above a few of its frames."""

import base64
from html import escape
from typing import Final

import numpy as np

from framecache._index import Index
from framecache._media import jpeg
from framecache._read import DecodeOptions, FrameSource, read_frames
from framecache._read.info import TimelineInfo, timeline_info
from framecache._read.snapshot_cache import SnapshotCache
from framecache.errors import FrameCacheError
from framecache.model import Frame

_MAX_FRAMES: Final = 6
_MAX_WIDTH: Final = 240
"""Maximum width of a shown frame in pixels, if the JPEG decoder can scale down that far."""
_QUALITY: Final = 80


def timeline_html(timeline_id: str, store_url: str, snapshots: SnapshotCache) -> str:
    """Return the timeline's current state as HTML; errors are shown in it, not raised."""
    title = f"<b>{escape(timeline_id)}</b> in <code>{escape(store_url)}</code>"
    try:
        snapshot = snapshots.reload()
    except FrameCacheError as error:
        return _page(title, escape(str(error)), "")
    facts = escape(_facts(timeline_info(timeline_id, store_url, snapshot)))
    try:
        return _page(title, facts, _frames(snapshots, snapshots.source()))
    except FrameCacheError as error:
        return _page(title, facts, escape(str(error)))


def _page(title: str, facts: str, frames: str) -> str:
    return f"<div><div>{title}</div><div>{facts}</div><div>{frames}</div></div>"


def _facts(info: TimelineInfo) -> str:
    if not info.exists:
        return "Nothing is cached."
    facts = [
        f"{info.frame_count:,} frames",
        f"{info.duration_seconds:.3f} s",
        *([f"{info.width}×{info.height}"] if info.width else []),
        _size(info.size_bytes),
        *([str(info.settings)] if info.settings else []),
    ]
    if info.chunks:
        facts.append(f"{info.chunks_cached} of {len(info.chunks)} chunks")
    if info.frames_undecodable:
        facts.append(f"{info.frames_undecodable:,} undecodable")
    return ", ".join(facts)


def _size(size_bytes: int) -> str:
    is_small = size_bytes < 10**6
    return f"{size_bytes / 1e3:,.1f} kB" if is_small else f"{size_bytes / 1e6:,.1f} MB"


def _frames(snapshots: SnapshotCache, source: FrameSource) -> str:
    index = source.snapshot.index
    with_picture = np.flatnonzero(index.is_ok)
    count = min(_MAX_FRAMES, len(with_picture))
    chosen = with_picture[np.linspace(0, len(with_picture) - 1, count).astype(np.int64)]
    decoding = DecodeOptions(scale=_scale(index))
    return "".join(
        map(_frame, snapshots.track_results(source, read_frames(source, chosen, decoding)))
    )


def _scale(index: Index) -> float:
    """Return the largest scale at which frames are narrow enough, else the smallest scale."""
    widest = int(index.width.max(initial=0))
    return next((scale for scale in jpeg.SCALES if widest * scale <= _MAX_WIDTH), jpeg.SCALES[-1])


def _frame(frame: Frame) -> str:
    data = base64.b64encode(jpeg.encode_rgb(frame.image, quality=_QUALITY)).decode("ascii")
    label = f"frame {frame.sequence}, {frame.timestamp:.3f} s"
    return f'<img src="data:image/jpeg;base64,{data}" alt="{label}" title="{label}">'
