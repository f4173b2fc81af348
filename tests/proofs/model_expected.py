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
from model_plain import NO_METADATA, Setting, State, Written, WrittenFrames, segments_of
from PIL import Image

import media
from framecache import Frame, FrameCache, Timeline
from framecache._ingest import segments

CHUNKS: Final = {"a": 6, "b": 8, "c": 7}
"""Frames of each chunk."""
SEGMENT: Final = 4
"""Position of the second keyframe of each chunk, where its second segment begins."""
LIMITS: Final = segments.SegmentLimits(Fraction(0), min_frames=2)
"""Limits with which each chunk has two segments, with all frames or every second one."""
PICTURES: Final = range(3)
METADATA: Final = range(2)
SIZE: Final = 32
RATE: Final = 25


@dataclass(frozen=True, slots=True)
class Row:
    """Frame as it is reported and stored."""

    sequence: int
    chunk_id: int
    timestamp: float
    perceptual_hash: str
    jpeg: bytes


Rows = dict[int, Row]


@cache
def clip(chunk: str) -> Path:
    """Return the video of a chunk: with B-frames, two keyframes and its own color."""
    extra = ["-g", str(SEGMENT), "-sc_threshold", "0", "-bf", "1"]
    colour = f"hue=h={120 * sorted(CHUNKS).index(chunk)}"
    pattern = f"testsrc2=size=320x240:rate={RATE},scale={SIZE}:{SIZE},{colour}"
    return media.made(
        f"model-{chunk}.mp4",
        lambda path: media.make_clip(path, frames=CHUNKS[chunk], source=pattern, extra=extra),
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
    return _rows(state.chunks or (), state.setting, state.cached, state.written)


@cache
def _rows(
    chunks: tuple[str, ...],
    setting: Setting | None,
    cached: frozenset[str],
    written: WrittenFrames,
) -> Rows:
    if setting is None:
        return {}
    rows = [
        row
        for segment in segments_of(chunks)
        if segment in cached
        for row in rows_of_segment(chunks, setting, segment)
    ]
    rows += [written_row(frame) for frame in written]
    return {row.sequence: row for row in sorted(rows, key=lambda row: row.sequence)}


def rows_of_segment(chunks: tuple[str, ...], setting: Setting, segment: str) -> list[Row]:
    """The frames that a segment gives, if its chunk is one of several."""
    chunk, number = segment[0], segment[1]
    position = chunks.index(chunk)
    second = bounds(chunks)[position] + Fraction(SEGMENT, RATE)
    return [
        row
        for row in _extracted(chunks, setting)
        if row.chunk_id == position and (row.timestamp >= float(second)) == int(number)
    ]


def bounds(chunks: tuple[str, ...]) -> list[Fraction]:
    """Start of each chunk, and the end of the last one, in seconds."""
    ends = [Fraction(0)]
    for chunk in chunks:
        ends.append(ends[-1] + Fraction(CHUNKS[chunk], RATE))
    return ends


@cache
def _extracted(chunks: tuple[str, ...], setting: Setting) -> list[Row]:
    timeline = _nowhere()
    with mock.patch.object(segments, "LIMITS", segments.SegmentLimits()):
        timeline.extract(
            [clip(chunk) for chunk in chunks], every=setting.every, quality=setting.quality
        )
    rows = _read(timeline)
    _check_by_ffprobe(rows, chunks, setting.every or 1)
    assert len({row.jpeg for row in rows}) == len(rows), "two frames of the clips look the same"
    return rows


def _check_by_ffprobe(rows: list[Row], chunks: tuple[str, ...], every: int) -> None:
    shown = [
        (chunk_id, start + frame.timestamp - frames[0].timestamp)
        for chunk_id, (chunk, start) in enumerate(zip(chunks, bounds(chunks), strict=False))
        for frames in [media.ffprobe_frames(clip(chunk))]
        for frame in frames
    ]
    assert len(shown) == sum(CHUNKS[chunk] for chunk in chunks)
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
