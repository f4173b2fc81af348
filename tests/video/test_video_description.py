"""Kept descriptions of videos, and decoding of single frames by them."""

import json
import os
import random
from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np
import pytest

import media
from framecache._media import video
from framecache._media.video.decoded import Decoded
from framecache._media.video.description import (
    InvalidDescription,
    describe_opening,
    from_document,
    to_document,
)
from framecache._media.video.frame_decoder import FrameDecoder

FRAMES: Final = 240
KINDS: Final = ("mp4", "mkv", "ts", "avi", "mov")


def clip(kind: str) -> Path:
    """Eight GOPs of noise, with B-frames: about 100 kB each."""

    def make(path: Path) -> None:
        media.ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=192x128:rate=30"),
            *("-vf", "noise=c0s=60:c0f=t", "-frames:v", str(FRAMES), "-c:v", "libx264"),
            *("-g", "30", "-bf", "2", "-pix_fmt", "yuv420p", "-crf", "18", str(path)),
        )

    return media.made(f"description-{FRAMES}.{kind}", make)


class CountedFile:
    """File that counts the bytes that are read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.read_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.read_bytes += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def scan_of(path: Path) -> "video.VideoScan":
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


@pytest.mark.parametrize("kind", KINDS)
def test_description_is_read_as_it_was_written(kind: str) -> None:
    scan = scan_of(clip(kind))
    with clip(kind).open("rb") as file:
        described = describe_opening(file, scan=scan, name=kind)
    again = from_document(json.loads(json.dumps(to_document(described))))
    assert again.opening_ranges == described.opening_ranges
    for field in fields(scan):
        one, other = getattr(scan, field.name), getattr(again.scan, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert one.tolist() == other.tolist()
        else:
            assert one == other, field.name


def test_description_of_a_constant_rate_is_short() -> None:
    scan = scan_of(clip("mp4"))
    with clip("mp4").open("rb") as file:
        described = describe_opening(file, scan=scan, name="c")
    assert len(json.dumps(to_document(described))) < 1200


def test_damaged_description_is_refused() -> None:
    scan = scan_of(clip("mp4"))
    with clip("mp4").open("rb") as file:
        document = to_document(describe_opening(file, scan=scan, name="c"))
    chance = random.Random(3)
    for name in document:
        lacking = {other: value for other, value in document.items() if other != name}
        with pytest.raises(InvalidDescription):
            from_document(lacking)
    for name in ("pts", "is_key", "is_random_access", "leading"):
        text = document[name]
        for _ in range(20):
            place = chance.randrange(len(text))
            with pytest.raises(InvalidDescription):
                from_document(document | {name: text[:place]})
    with pytest.raises(InvalidDescription, match="rules"):
        from_document(document | {"scan_rules": 0})


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_any_order_are_those_of_one_decoding(kind: str) -> None:
    scan = scan_of(clip(kind))
    with clip(kind).open("rb") as file:
        whole = video.decode(file, scan, scan.pts, name=kind, threads=2)
        expected = {one.pts: luma(one) for one in whole}
    with clip(kind).open("rb") as file:
        decoder = FrameDecoder(file, scan, name=kind, listed_from="packets")
        for pts in random.Random(5).sample(scan.pts.tolist(), 24):
            decoder.begin([pts])
            (one,) = decoder.read_until(pts)
            assert luma(one) == expected[pts]
        decoder.close()


def luma(one: "video.Decoded | video.Undecodable") -> bytes:
    assert isinstance(one, Decoded)
    return one.to_planes().y.tobytes()


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_one_frame_reads_little_of_the_file(kind: str) -> None:
    scan = scan_of(clip(kind))
    file = CountedFile(clip(kind))
    decoder = FrameDecoder(file, scan, name=kind, listed_from="packets")
    decoder.begin([int(scan.pts[40])])
    assert len([*decoder.read_until(int(scan.pts[40]))]) == 1
    before = file.read_bytes
    decoder.begin([int(scan.pts[-20])])
    assert len([*decoder.read_until(int(scan.pts[-20]))]) == 1
    assert file.read_bytes - before < clip(kind).stat().st_size / 3
    decoder.close()
    file.close()


def test_run_continues_from_where_it_is() -> None:
    scan = scan_of(clip("mp4"))
    times = scan.pts[60:90].tolist()
    with clip("mp4").open("rb") as file:
        decoder = FrameDecoder(file, scan, name="c", listed_from="packets")
        decoder.begin(times)
        assert [one.pts for one in decoder.read_until(times[4])] == times[:5]
        assert decoder.is_ahead(times[5])
        assert not decoder.is_ahead(times[4])
        assert [one.pts for one in decoder.read_until(times[-1])] == times[5:]
        assert not decoder.is_ahead(times[-1])
        decoder.close()
