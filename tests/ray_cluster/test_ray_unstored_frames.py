"""Datasets of a timeline of layout video, whose frames are decoded from its chunks."""

from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
from ray.data.expressions import col

import media
from framecache import FrameCache, Timeline
from framecache._media.video.container import Container
from framecache._read import DecodeOptions
from framecache.ray import read_frames
from framecache.ray.read_tasks import ReadFormat, divide
from ray_cluster.decoding_store import CountingStore
from ray_cluster.logged_store import cache_in

pytestmark = pytest.mark.usefixtures("cluster", "quiet_data")

FRAMES = 145
KEYFRAMES = [*range(0, 100, 25), *range(100, 145, 10)]


@pytest.fixture
def cache(tmp_path: Path) -> FrameCache:
    """A cache with two chunks of several keyframes each, as ``stored`` and as ``watched``."""
    cache = FrameCache(tmp_path / "store")
    chunks = [clips.clip(frames=100, keyframe_every=25), clips.clip()]
    cache.timeline("stored").extract(chunks, layout="packs")
    cache.timeline("watched").extract(chunks, layout="video")
    return cache


def rows(cache: FrameCache, timeline_id: str, **given: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- Ray's
    dataset = read_frames(timeline_id, cache=cache, **given)
    return sorted(dataset.take_all(), key=lambda row: int(row["sequence"]))


def growing_clip() -> Path:
    """Return a stream of 20 pictures of 96×64, and then 20 of 64×96."""

    def make(path: Path) -> None:
        parts = []
        for number, size in enumerate([(96, 64), (64, 96)]):
            piece = path.with_name(f"part-{number}-of-{path.name}")
            later = ("-bf", "0", "-output_ts_offset", str(number * 20 / 25))
            parts.append(media.make_clip(piece, size=size, frames=20, extra=later).read_bytes())
            piece.unlink()
        path.write_bytes(b"".join(parts))

    return media.made("ray-growing.ts", make)


@pytest.fixture
def growing(tmp_path: Path) -> FrameCache:
    """A cache with a video whose pictures change their size, as ``stored`` and as ``watched``."""
    cache = FrameCache(tmp_path / "store")
    cache.timeline("stored").extract(growing_clip(), layout="packs")
    cache.timeline("watched").extract(growing_clip(), layout="video")
    return cache


@pytest.mark.parametrize("columns", ["image", "jpeg"])
def test_rows_are_those_of_stored_frames(cache: FrameCache, columns: str) -> None:
    given = {"columns": ("sequence", "timestamp", "perceptual_hash", columns)}
    expected, found = rows(cache, "stored", **given), rows(cache, "watched", **given)
    assert len(found) == len(expected) == FRAMES
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.pop(columns), other.pop(columns))
        assert one == other


def test_tasks_begin_where_decoding_can(cache: FrameCache) -> None:
    timeline: Timeline = cache.timeline("watched")
    snapshot = timeline.snapshot_cache.latest_source().snapshot
    positions = np.arange(7, FRAMES)
    output = ReadFormat(("image",), DecodeOptions())
    tasks = [*divide(timeline, snapshot, positions, output, task_bytes=1)]
    read = [task.snapshot.index.sequence[task.positions].tolist() for task in tasks]
    assert [sequence for task in read for sequence in task] == positions.tolist()
    assert [task[0] for task in read] == [7, *KEYFRAMES[1:]]


@pytest.mark.parametrize("task_bytes", [1, 2**30], ids=["many-tasks", "two-tasks"])
@pytest.mark.parametrize("columns", ["image", "jpeg"])
def test_workers_decode_each_picture_once(
    cache: FrameCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    task_bytes: int,
) -> None:
    monkeypatch.setattr("framecache.ray.frame_source.MIN_TASK_BYTES", task_bytes)
    expected = rows(cache, "stored", columns=("sequence", columns))
    monkeypatch.setattr(Container, "decode", Container.decode)  # restored if Ray copies the store
    counted = cache_in(tmp_path, CountingStore)
    assert isinstance(counted.store, CountingStore)
    found = rows(counted, "watched", columns=("sequence", columns))
    for one, other in zip(expected, found, strict=True):
        assert one["sequence"] == other["sequence"]
        assert np.array_equal(one[columns], other[columns])
    assert FRAMES <= len(counted.store.decoded.read_bytes()) <= 1.1 * FRAMES


def test_condition_on_hashes_is_that_of_the_pictures(cache: FrameCache) -> None:
    wanted = str(cache.timeline("stored").index.perceptual_hash[30])
    found = {
        name: read_frames(name, cache=cache).filter(expr=col("perceptual_hash") == wanted).count()
        for name in ("stored", "watched")
    }
    assert found["watched"] == found["stored"] > 0


@pytest.mark.parametrize("options", [{}, {"max_side": 48}, {"color": "gray"}], ids=str)
def test_pictures_of_a_video_that_changes_its_size_keep_their_size(
    growing: FrameCache, options: dict[str, Any]
) -> None:
    shown = media.ffprobe(growing_clip(), "-show_entries", "frame=width,height")["frames"]
    sizes = [(frame["width"], frame["height"]) for frame in shown]
    assert sizes == [(96, 64)] * 20 + [(64, 96)] * 20
    given = {"columns": ("sequence", "width", "height", "image"), **options}
    expected, found = rows(growing, "stored", **given), rows(growing, "watched", **given)
    assert [(row["width"], row["height"]) for row in found] == sizes
    for one, other in zip(expected, found, strict=True):
        assert one["image"].shape == other["image"].shape
        assert np.array_equal(one.pop("image"), other.pop("image"))
        assert one == other


def test_batches_of_a_video_that_changes_its_size_have_all_frames(growing: FrameCache) -> None:
    for batch_size in (None, 7, 40):
        batches = read_frames("watched", cache=growing).iter_batches(batch_size=batch_size)
        shapes = [image.shape for batch in batches for image in batch["image"]]
        assert sorted(shapes) == [(64, 96, 3)] * 20 + [(96, 64, 3)] * 20


def test_condition_on_sizes_is_that_of_the_pictures(growing: FrameCache) -> None:
    for name in ("stored", "watched"):
        dataset = read_frames(name, cache=growing, columns=("sequence", "width", "image"))
        chosen = dataset.filter(expr=col("width") == 64).take_all()
        assert sorted(row["sequence"] for row in chosen) == [*range(20, 40)]
