"""Plain functions on the cache, for pipelines that already call functions of these names.

They behave like a module that keeps one JPEG per frame: the last write wins. They use
``$FRAMECACHE_URL``, else the bucket ``$S3_BUCKET`` (default ``mpr``).
"""

import base64
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol, TypedDict

from framecache._core import keys
from framecache._ingest.frame_input import as_frames
from framecache._media import jpeg
from framecache._read import fetch_in_order
from framecache.cache import FrameCache
from framecache.model import Frame, JpegSettings
from framecache.timeline import Timeline

_DEFAULT_BUCKET: Final = "mpr"
_STORE_VARIABLES: Final = ("AWS_", "AZURE_", "GOOGLE_", "REQUESTS_CA_BUNDLE", "STORAGE_EMULATOR_")


class FrameLike(Protocol):
    """Frame given by a caller: an object of any class with these attributes."""

    @property
    def sequence(self) -> int:
        """Number on the timeline, from 0."""
        ...

    @property
    def chunk_id(self) -> int:
        """Ordinal of its chunk, from 0."""
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
        """Text of up to 256 characters; if empty or None, the hash is computed."""
        ...


class EncodedFrame(TypedDict):
    """Frame in JSON form."""

    seq: int
    timestamp: float
    """Seconds."""
    jpeg_b64: str


def cache_exists(timeline_id: str) -> bool:
    """Return True if all frames of the timeline are cached.

    That is the case if at least one frame is committed (or was stored by another program), and
    every chunk of the manifest is committed. Frame blobs are not checked.
    """
    snapshot = _timeline(timeline_id).snapshot_cache.reload()
    return bool(snapshot.index.is_ok.any()) and not snapshot.missing_parts


def cache_frames(timeline_id: str, frames: Iterable[FrameLike], quality: int = 85) -> int:
    """Cache frames and return their number. They become visible together.

    A sequence that is already cached is replaced, at any size and quality. If a sequence is given
    twice, the last one is stored and it counts once. Frames that another program stored are
    imported first.

    Args:
        timeline_id: timeline to write to.
        frames: objects of any class with the attributes of `Frame`. Images may be uint8 RGB or
            gray, bool, or Pillow images. A hash that is empty or None is computed.
        quality: JPEG quality, 1 to 100.

    Raises:
        SettingsConflict: the timeline was extracted from chunks.
        InvalidValue: an image does not fit an 8-bit JPEG, or a number is not valid for a frame.
    """
    written = _timeline(timeline_id).write(
        as_frames(frames), on_conflict="replace", quality=quality
    )
    return int(written)


def load_cached_frames(timeline_id: str) -> list[Frame]:
    """Return all cached frames that have a picture, sorted by sequence; ``[]`` if none."""
    return list(_timeline(timeline_id).frames())


def load_cached_frames_b64(timeline_id: str) -> list[EncodedFrame]:
    """Return all cached frames that have a picture, sorted, as stored bytes, never re-encoded."""
    timeline = _timeline(timeline_id)
    index = timeline.index
    source, positions = timeline.snapshot_cache.find_positions(index.sequence[index.is_ok], "skip")
    results = timeline.snapshot_cache.track_results(source, fetch_in_order(source, positions))
    # An error refers to this frame. The threads end here, not when the error is freed.
    with closing(results) as fetched:
        return [
            _encoded_frame(one.row.sequence, one.row.timestamp, one.jpeg())
            for one in fetched
            if one.row.status != "undecodable"
        ]


def save_overlays(
    timeline_id: str, job_id: str, stage: str, seq: int, overlays: Mapping[str, str]
) -> None:
    """Store the overlays of one frame, cached or not: ``{name: base64 PNG}``, of any size.

    The Base64 may be text or bytes, wrapped into lines, URL-safe, unpadded, and prefixed with
    ``data:image/png;base64,``.
    """
    _timeline(timeline_id).overlays(job_id=job_id, stage=stage).save(seq, overlays)


def load_overlays(timeline_id: str, job_id: str, stage: str, seq: int) -> dict[str, str] | None:
    """Return a frame's overlays, ``{name: base64 PNG}``, byte-identical; None if it has none."""
    found = _timeline(timeline_id).overlays(job_id=job_id, stage=stage).load(seq)
    return {name: _base64(data) for name, data in found.items()} or None


def list_overlay_frames(timeline_id: str, job_id: str, stage: str) -> list[int]:
    """Return the sequences that have overlays of a stage, sorted."""
    return _timeline(timeline_id).overlays(job_id=job_id, stage=stage).frames()


def clear_cache(timeline_id: str) -> None:
    """Delete the frame cache of a timeline; its overlays stay."""
    _timeline(timeline_id).clear()


def frames_to_b64(frames: Iterable[FrameLike], quality: int = 75) -> list[EncodedFrame]:
    """Encode frames from memory as the dicts of :func:`load_cached_frames_b64`, sorted.

    The frames may be of any class that :func:`cache_frames` accepts.
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
    """Return one client, with its connections, for all calls in the same environment and folder."""
    return FrameCache(url)


def _encoded_frame(sequence: int, timestamp: float, data: bytes) -> EncodedFrame:
    return {"seq": sequence, "timestamp": timestamp, "jpeg_b64": _base64(data)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
