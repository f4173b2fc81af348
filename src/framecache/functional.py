"""The cache as plain functions, for pipelines that already call them.

They work on ``$FRAMECACHE_URL``, else on the bucket ``$S3_BUCKET`` (default ``mpr``).
"""

import base64
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, TypedDict

from framecache import jpeg, keys
from framecache.cache import FrameCache
from framecache.model import Frame, JpegSettings
from framecache.timeline import Timeline

_DEFAULT_BUCKET: Final = "mpr"
_STORE_VARIABLES: Final = ("AWS_", "AZURE_", "GOOGLE_")


class EncodedFrame(TypedDict):
    """A frame as JSON carries it."""

    seq: int
    timestamp: float
    """Seconds."""
    jpeg_b64: str


def cache_exists(timeline_id: str) -> bool:
    """Whether the timeline's frames are cached, all of them."""
    return _timeline(timeline_id).complete


def cache_frames(timeline_id: str, frames: Iterable[Frame], quality: int = 85) -> int:
    """Cache frames; returns how many. They become visible together."""
    return int(_timeline(timeline_id).write(frames, on_conflict="replace", quality=quality))


def load_cached_frames(timeline_id: str) -> list[Frame]:
    """All cached frames with a picture, sorted by sequence; ``[]`` when there is none."""
    return list(_timeline(timeline_id).frames())


def load_cached_frames_b64(timeline_id: str) -> list[EncodedFrame]:
    """All cached frames with a picture, sorted, as the stored bytes, never re-encoded."""
    timeline = _timeline(timeline_id)
    index = timeline.index
    sequences = index.sequence[index.is_ok].tolist()
    timestamps = index.timestamp[index.is_ok].tolist()
    stored = timeline.jpegs(sequences)
    return [
        _encoded_frame(sequence, timestamp, data)
        for sequence, timestamp, data in zip(sequences, timestamps, stored, strict=True)
    ]


def save_overlays(
    timeline_id: str, job_id: str, stage: str, seq: int, overlays: Mapping[str, str]
) -> None:
    """Store the overlays of one frame: ``{name: base64 PNG}``."""
    _drawn_on(timeline_id).overlays(job_id=job_id, stage=stage).save(seq, overlays)


def load_overlays(timeline_id: str, job_id: str, stage: str, seq: int) -> dict[str, str] | None:
    """The overlays of one frame, ``{name: base64 PNG}``, byte-identical; None when it has none."""
    found = _timeline(timeline_id).overlays(job_id=job_id, stage=stage).load(seq)
    return {name: _base64(data) for name, data in found.items()} or None


def list_overlay_frames(timeline_id: str, job_id: str, stage: str) -> list[int]:
    """The sequences that have overlays of a stage, sorted."""
    return _timeline(timeline_id).overlays(job_id=job_id, stage=stage).frames()


def clear_cache(timeline_id: str) -> None:
    """Delete the frame cache of a timeline; its overlays stay."""
    _timeline(timeline_id).clear()


def frames_to_b64(frames: Iterable[Frame], quality: int = 75) -> list[EncodedFrame]:
    """Frames in memory as the dicts of :func:`load_cached_frames_b64`, in the order given."""
    settings = JpegSettings(quality)
    return [
        _encoded_frame(
            frame.sequence,
            frame.timestamp,
            jpeg.encode_rgb(frame.image, quality=settings.quality),
        )
        for frame in frames
    ]


def _timeline(timeline_id: str) -> Timeline:
    return _current_cache().timeline(timeline_id)


def _drawn_on(timeline_id: str) -> Timeline:
    """A timeline that stays open from call to call, since an overlay must fit its frame."""
    return _open_timeline(_current_cache(), keys.check_id(timeline_id, what="timeline_id"))


def _current_cache() -> FrameCache:
    url = os.environ.get("FRAMECACHE_URL") or _bucket_url()
    names = sorted(name for name in os.environ if name.startswith(_STORE_VARIABLES))
    settings = tuple((name, os.environ[name]) for name in names)
    return _cache(url, settings, Path.cwd())


def _bucket_url() -> str:
    return f"s3://{os.environ.get('S3_BUCKET') or _DEFAULT_BUCKET}"


@lru_cache(maxsize=8)
def _cache(url: str, _settings: tuple[tuple[str, str], ...], _folder: Path) -> FrameCache:
    """One client, with its connections, for all calls in the same environment and folder."""
    return FrameCache(url)


@lru_cache(maxsize=4)
def _open_timeline(cache: FrameCache, timeline_id: str) -> Timeline:
    return cache.timeline(timeline_id)


def _encoded_frame(sequence: int, timestamp: float, data: bytes) -> EncodedFrame:
    return {"seq": sequence, "timestamp": timestamp, "jpeg_b64": _base64(data)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
