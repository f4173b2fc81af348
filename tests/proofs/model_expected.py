"""Contents of a timeline without any fault: made once by one program, checked by ffprobe.

Everything is kept for the whole test run, as the same few timelines come up again and again.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final
from unittest import mock
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from chunk_changes import put_chunk
from model_plain import LYING, NO_METADATA, Setting, State, Written, WrittenFrames, segments_of
from PIL import Image

import media
from framecache import Frame, FrameCache, Timeline
from framecache._ingest import chunk_scans, segments
from table_clips import without_picture

CHUNKS: Final = {"a": 6, "b": 8, "c": 7, "l": 7}
"""Frames of each chunk."""
LISTED: Final = {**CHUNKS, "l": 8}
"""Frames in the sample tables of each chunk, each of which lasts a frame."""
_HIDDEN_PACKET: Final = 6
"""Listed sample of ``l`` without a picture: a B-frame, which no other frame needs."""
SEGMENT: Final = 4
"""Position of the second keyframe of each chunk, where its second segment begins."""
LIMITS: Final = segments.SegmentLimits(Fraction(0), min_frames=2)
"""Limits with which each chunk has two segments, with all frames or every second one."""
_HUES: Final = {"a": 0, "b": 120, "c": 240, "l": 60}
PICTURES: Final = range(3)
METADATA: Final = range(2)
SIZE: Final = 32
RENDITION: Final = 16
"""Size of the renditions that a timeline may have."""
RATE: Final = 25


@dataclass(frozen=True, slots=True)
class Row:
    """Frame as it is reported and stored."""

    sequence: int
    chunk_id: int
    timestamp: float
    perceptual_hash: str
    jpeg: bytes


MAX_DISTANCE: Final = 16
"""Mean difference of the luma of a frame and its rendition, both with the losses of a JPEG."""
Rows = dict[int, Row]


@cache
def clip(chunk: str) -> Path:
    """Return the video of a chunk: with B-frames, two keyframes and its own color."""
    if chunk not in LYING:
        return listed_clip(chunk)
    whole = listed_clip(chunk)
    return media.made(
        f"model-{chunk}.mp4",
        lambda path: path.write_bytes(without_picture(whole, _HIDDEN_PACKET)),
    )


@cache
def listed_clip(chunk: str) -> Path:
    """Return a video that has each frame which the sample tables of a chunk list."""
    extra = ["-g", str(SEGMENT), "-sc_threshold", "0", "-bf", "1"]
    colour = f"hue=h={_HUES[chunk]}"
    pattern = f"testsrc2=size=320x240:rate={RATE},scale={SIZE}:{SIZE},{colour}"
    return media.made(
        f"model-listed-{chunk}.mp4" if chunk in LYING else f"model-{chunk}.mp4",
        lambda path: media.make_clip(path, frames=LISTED[chunk], source=pattern, extra=extra),
    )


@cache
def chunk_url(chunk: str) -> str:
    """Return the URL of a chunk in a memory store, where a test may change it."""
    return put_chunk("memory://model", clip(chunk).read_bytes(), clip(chunk).name)


def rows_of(state: State) -> Rows:
    """Return the values that can be read of a timeline in a state."""
    if state.listed:
        # Of another program's frames only the number and the JPEG are known.
        return {
            sequence: Row(sequence, 0, 0.0, "", jpeg) for sequence, jpeg in sorted(state.listed)
        }
    return _rows(state.chunks or (), state.setting, state.cached, state.written, state.wrong)


@cache
def _rows(
    chunks: tuple[str, ...],
    setting: Setting | None,
    cached: frozenset[str],
    written: WrittenFrames,
    wrong: frozenset[str],
) -> Rows:
    if setting is None:
        return {}
    rows = [
        row
        for segment in segments_of(chunks)
        if segment in cached
        for row in rows_of_segment(chunks, setting, segment, wrong)
    ]
    rows += [written_row(frame) for frame in written]
    return {row.sequence: row for row in sorted(rows, key=lambda row: row.sequence)}


def rows_of_segment(
    chunks: tuple[str, ...], setting: Setting, segment: str, wrong: frozenset[str]
) -> list[Row]:
    """The frames that a segment gives, if its chunk is one of several.

    Those in ``wrong`` have the frames that their sample tables list.
    """
    chunk, number = segment[0], segment[1]
    position = chunks.index(chunk)
    second = bounds(chunks)[position] + Fraction(SEGMENT, RATE)
    return [
        row
        for row in _extracted(chunks, setting, wrong)
        if row.chunk_id == position and (row.timestamp >= float(second)) == int(number)
    ]


def bounds(chunks: tuple[str, ...]) -> list[Fraction]:
    """Start of each chunk, and the end of the last one, in seconds."""
    ends = [Fraction(0)]
    for chunk in chunks:
        ends.append(ends[-1] + Fraction(LISTED[chunk], RATE))
    return ends


@cache
def _extracted(chunks: tuple[str, ...], setting: Setting, wrong: frozenset[str]) -> list[Row]:
    timeline = _nowhere()
    clips = [listed_clip(chunk) if chunk in wrong else clip(chunk) for chunk in chunks]
    with (
        mock.patch.object(segments, "LIMITS", segments.SegmentLimits()),
        mock.patch.object(chunk_scans, "_MIN_BYTES_FOR_TABLES", 2**40),
    ):
        timeline.extract(clips, every=setting.every, quality=setting.quality)
    rows = _read(timeline)
    count = sum((LISTED if chunk in wrong else CHUNKS)[chunk] for chunk in chunks)
    _check_by_ffprobe(rows, clips, bounds(chunks), count=count, every=setting.every or 1)
    assert len({row.jpeg for row in rows}) == len(rows), "two frames of the clips look the same"
    return rows


def _check_by_ffprobe(
    rows: list[Row], clips: list[Path], starts: list[Fraction], *, count: int, every: int
) -> None:
    shown = [
        (chunk_id, start + frame.timestamp - frames[0].timestamp)
        for chunk_id, (path, start) in enumerate(zip(clips, starts, strict=False))
        for frames in [media.ffprobe_frames(path)]
        for frame in frames
    ]
    assert len(shown) == count
    wanted = [(sequence, *one) for sequence, one in enumerate(shown[::every])]
    found = [(row.sequence, row.chunk_id, row.timestamp) for row in rows]
    assert found == [(sequence, chunk_id, float(start)) for sequence, chunk_id, start in wanted]


@cache
def written_frame(sequence: int, picture: int, metadata: int) -> Frame:
    """One of a few pictures under a sequence."""
    image = np.random.default_rng(picture).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    if metadata:
        return Frame(sequence, 2, sequence * 0.5 + 0.25, image, f"{metadata:016x}")
    return Frame(sequence, sequence % 2, sequence * 0.5, image)


@cache
def written_row(frame: Written) -> Row:
    if frame.metadata == NO_METADATA:
        # Of another program's frames only the number and the JPEG are known.
        jpeg = written_row(frame._replace(metadata=0)).jpeg
        return Row(frame.sequence, 0, 0.0, "", jpeg)
    timeline = _nowhere()
    given = written_frame(frame.sequence, frame.picture, frame.metadata)
    timeline.write([given], quality=frame.quality)
    return _read(timeline)[0]


@cache
def picture_of(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """A JPEG's picture, by another decoder."""
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB"))


@cache
def is_rendition_of(rendition: bytes, jpeg: bytes) -> bool:
    """Return True if a JPEG shows the same as that of a frame, at half its size."""
    small, whole = (Image.open(BytesIO(data)).convert("L") for data in (rendition, jpeg))
    if small.size != (RENDITION, RENDITION):
        return False
    reduced = np.asarray(whole.reduce(SIZE // RENDITION), np.int16)
    return bool(np.abs(np.asarray(small, np.int16) - reduced).mean() < MAX_DISTANCE)


def _read(timeline: Timeline) -> list[Row]:
    index = timeline.index
    rows = [
        Row(
            sequence,
            index.row(i).chunk_id,
            index.row(i).timestamp,
            index.row(i).perceptual_hash,
            jpeg,
        )
        for i, (sequence, jpeg) in enumerate(
            zip(index.sequence.tolist(), timeline.jpegs(index.sequence.tolist()), strict=True)
        )
    ]
    assert all(picture_of(row.jpeg).shape == (SIZE, SIZE, 3) for row in rows)
    return rows


def _nowhere() -> Timeline:
    return FrameCache(f"memory://{uuid4().hex}").timeline("t")
