"""Videos with non-square pixels: the ratio is reported, and corrected on request."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from framecache import FrameCache, InvalidValue, SettingsConflict
from framecache.model import Image
from media import ffmpeg, made, make_clip


def clip(ratio: str = "16/15", *, turned: bool = False) -> Path:
    """Make a clip of 3 frames of 180x144 pixels with an aspect ratio, as in PAL."""
    name = f"sar-{ratio.replace('/', '-')}.mp4"
    flat = made(
        name,
        lambda one: make_clip(
            one, size=(180, 144), frames=3, filters=f"setsar={ratio}", extra=("-color_range", "tv")
        ),
    )
    if not turned:
        return flat
    rotated = ("-i", str(flat), "-c", "copy", "-metadata:s:v:0", "rotate=90")
    return made(f"turned-{name}", lambda one: ffmpeg(*rotated, str(one)))


def square_by_ffmpeg(path: Path, shape: tuple[int, int]) -> Image:
    """The luma of the first frame."""
    raw = ffmpeg(
        *("-i", str(path), "-vf", "scale=iw*sar:ih:flags=bicubic,setsar=1", "-frames:v", "1"),
        *("-f", "rawvideo", "-pix_fmt", "gray", "-"),
    )
    return np.frombuffer(raw, np.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("ratio", "turned", "shape"),
    [
        ("16/15", False, (144, 192)),
        ("8/9", False, (144, 160)),
        ("32/27", False, (144, 213)),
        ("64/45", False, (144, 256)),
        ("16/15", True, (180, 135)),
    ],
)
def test_square_frames_equal_those_scaled_by_ffmpeg(
    ratio: str, *, turned: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    path = clip(ratio, turned=turned)
    truth = square_by_ffmpeg(path, shape)
    match = FrameCache(str(tmp_path)).timeline("t")
    match.extract([path], aspect="square", quality=100)
    shown = match.frame(0).image
    assert shown.shape[:2] == shape
    luma = shown @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - truth).mean() < 3
    assert match.info().pixel_aspect_ratio == 1


def test_frames_keep_stored_pixels_by_default(tmp_path: Path) -> None:
    match = FrameCache(str(tmp_path)).timeline("t")
    match.extract([clip()])
    assert match.frame(0).image.shape == (144, 180, 3)
    info = match.info()
    assert str(info.pixel_aspect_ratio) == "16/15"
    assert str(info.chunks[0].sample_aspect_ratio) == "16/15"


def test_different_aspect_conflicts_until_timeline_is_rebuilt(tmp_path: Path) -> None:
    match = FrameCache(str(tmp_path)).timeline("t")
    match.extract([clip()])
    with pytest.raises(SettingsConflict, match="square pixels"):
        match.extract([clip()], aspect="square")
    match.rebuild(aspect="square")
    assert match.frame(0).image.shape == (144, 192, 3)
    match.rebuild(quality=70)
    assert match.frame(0).image.shape == (144, 192, 3)
    assert match.verify(deep=True).ok


def test_unknown_aspect_is_rejected(tmp_path: Path) -> None:
    match = FrameCache(str(tmp_path)).timeline("t")
    with pytest.raises(InvalidValue, match='"stored" or "square"'):
        match.extract([clip()], aspect="wide")  # type: ignore[arg-type]


def test_index_part_records_sample_aspect_ratio_of_its_chunk(tmp_path: Path) -> None:
    match = FrameCache(str(tmp_path)).timeline("t")
    match.extract([clip()])
    parts = [pq.read_schema(path).metadata for path in tmp_path.rglob("*.parquet")]
    assert any(b"16/15" in b"".join(one.values()) for one in parts)
