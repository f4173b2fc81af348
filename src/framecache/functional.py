"""The cache as plain functions, for pipelines that already call them.

They behave as a module that keeps one JPEG a frame: what is given last is what is there. They work
on ``$FRAMECACHE_URL``, else on the bucket ``$S3_BUCKET`` (default ``mpr``).
"""

import base64
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol, TypedDict

from framecache import jpeg, keys
from framecache.cache import FrameCache
from framecache.given import as_frames
from framecache.model import Frame, JpegSettings
from framecache.timeline import Timeline

_DEFAULT_BUCKET: Final = "mpr"
_STORE_VARIABLES: Final = ("AWS_", "AZURE_", "GOOGLE_")


class FrameLike(Protocol):
    """A frame as callers give it: an object of any class with these attributes."""

    @property
    def sequence(self) -> int:
        """Number on the timeline, from 0."""
        ...

    @property
    def chunk_id(self) -> int:
        """Ordinal of the chunk it came from, from 0."""
        ...

    @property
    def timestamp(self) -> float:
        """Seconds from the start of the timeline."""
        ...

    @property
    def image(self) -> Any:  # noqa: ANN401 -- an array, or Pillow's; Pillow is not needed
        """Pixels."""

    @property
    def perceptual_hash(self) -> str | None:
        """Any text of up to 256 characters; empty or None to have it computed."""
        ...


class EncodedFrame(TypedDict):
    """A frame as JSON carries it."""

    seq: int
    timestamp: float
    """Seconds."""
    jpeg_b64: str


def cache_exists(timeline_id: str) -> bool:
    """Whether the timeline's frames are cached, all of them.

    That is so when a frame is committed (or, of another program's, there), and every chunk that
    the timeline is described with is. No frame is looked at.
    """
    snapshot = _timeline(timeline_id).opened.look_up()
    return bool(snapshot.index.is_ok.any()) and not snapshot.missing_parts


def cache_frames(timeline_id: str, frames: Iterable[FrameLike], quality: int = 85) -> int:
    """Cache frames; returns how many. They become visible together.

    A sequence that is cached is replaced, at any size and quality; of one given twice, the last
    counts, once. Frames that another program stored are taken over first.

    Args:
        timeline_id: whose frames they are.
        frames: objects of any class with the attributes of `Frame`. Images may be uint8 RGB or
            gray, bool, or Pillow's; a hash of None is an empty one, which is computed.
        quality: JPEG quality, 1 to 100.

    Raises:
        SettingsConflict: the timeline was extracted from chunks.
        InvalidValue: an image that no 8-bit JPEG holds, or numbers that no frame has.
    """
    written = _timeline(timeline_id).write(
        as_frames(frames), on_conflict="replace", quality=quality
    )
    return int(written)


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
    """Store the overlays of one frame, cached or not: ``{name: base64 PNG}``, of any size.

    Base64 may be text or bytes, wrapped, URL-safe, without padding, and begin as
    ``data:image/png;base64,``.
    """
    _timeline(timeline_id).overlays(job_id=job_id, stage=stage).save(seq, overlays)


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


def frames_to_b64(frames: Iterable[FrameLike], quality: int = 75) -> list[EncodedFrame]:
    """Frames in memory as the dicts of :func:`load_cached_frames_b64`, sorted.

    The frames may be of any class that :func:`cache_frames` takes.
    """
    settings = JpegSettings(quality)
    encoded = [
        _encoded_frame(
            keys.check_sequence(frame.sequence),
            float(frame.timestamp),
            jpeg.encode_rgb(frame.image, quality=settings.quality),
        )
        for frame in as_frames(frames)
    ]
    return sorted(encoded, key=itemgetter("seq"))


def _timeline(timeline_id: str) -> Timeline:
    return _current_cache().timeline(timeline_id)


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


def _encoded_frame(sequence: int, timestamp: float, data: bytes) -> EncodedFrame:
    return {"seq": sequence, "timestamp": timestamp, "jpeg_b64": _base64(data)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
