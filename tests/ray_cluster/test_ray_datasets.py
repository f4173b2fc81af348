"""Frames as a dataset of Ray Data, read by tasks of a cluster of two nodes."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import clips
import numpy as np
import numpy.typing as npt
import pytest
import ray.data
from PIL import Image
from ray.data.expressions import col

from framecache import (
    Frame,
    FrameCache,
    InvalidValue,
    NotCached,
    TimelineCleared,
    UndecodableFrame,
)
from framecache.model import Layout
from framecache.ray import read_frames
from ray_cluster.logged_store import LoggedStore, cache_in

pytestmark = pytest.mark.usefixtures("cluster", "quiet_data")

FRAMES = 45
LAYOUTS: tuple[Layout, ...] = ("objects", "packs")


@pytest.fixture(params=LAYOUTS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> FrameCache:
    """A cache with three chunks of 20, 10 and 15 frames as ``a``, whose requests are logged."""
    FrameCache(tmp_path / "store").timeline("a").extract(clips.chunks(), layout=request.param)
    return cache_in(tmp_path)


def gets(cache: FrameCache) -> int:
    """Requests so far for frames."""
    assert isinstance(cache.store, LoggedStore)
    return sum(
        one.action == "get" and one.key.endswith((".jpg", ".tar")) for one in cache.store.requests()
    )


def decoded(jpeg: bytes) -> npt.NDArray[np.int64]:
    """A JPEG as Pillow decodes it."""
    with Image.open(BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"), np.int64)


def by_sequence(dataset: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- Ray's
    return sorted(dataset.take_all(), key=lambda row: int(row["sequence"]))


def flat(sequence: int, size: tuple[int, int] = (16, 16)) -> Frame:
    return Frame(sequence, 0, float(sequence), np.full((*size, 3), sequence, np.uint8))


def test_the_rows_are_the_frames_of_the_timeline(cache: FrameCache) -> None:
    rows = by_sequence(read_frames("a", cache=cache))
    shown = clips.timeline_of(clips.chunks())
    assert [row["sequence"] for row in rows] == [*range(FRAMES)]
    assert [row["chunk_id"] for row in rows] == [one.chunk_id for one in shown]
    assert [row["timestamp"] for row in rows] == pytest.approx([float(one.start) for one in shown])
    assert {row["timeline_id"] for row in rows} == {"a"}
    timeline = cache.timeline("a")
    for row in rows[::11]:
        picture = decoded(timeline.jpeg(row["sequence"]))
        assert row["image"].dtype == np.uint8
        assert np.abs(row["image"] - picture).max() <= 2  # decoders round differently
        assert row["perceptual_hash"] == timeline.index.perceptual_hash[row["sequence"]]


def test_stored_bytes_are_read_without_decoding(cache: FrameCache) -> None:
    rows = by_sequence(read_frames(["a"], cache=cache, columns=("sequence", "jpeg", "height")))
    assert [*rows[0]] == ["sequence", "jpeg", "height"]
    assert [row["jpeg"] for row in rows] == [*cache.timeline("a").jpegs(range(FRAMES))]
    assert {row["height"] for row in rows} == {clips.HEIGHT}


def test_scale_max_side_and_color_change_the_image(cache: FrameCache) -> None:
    half = read_frames("a", cache=cache, columns="image", scale=0.5, color="gray")
    assert half.schema().types[0].shape == (clips.HEIGHT // 2, clips.WIDTH // 2)
    small = read_frames("a", cache=cache, columns="image", max_side=clips.WIDTH // 4)
    assert small.schema().types[0].shape == (clips.HEIGHT // 4, clips.WIDTH // 4, 3)
    assert {row["image"].shape for row in small.take_all()} == {small.schema().types[0].shape}
    bgr = by_sequence(read_frames("a", cache=cache, color="bgr", stop=1))[0]["image"]
    rgb = by_sequence(read_frames("a", cache=cache, stop=1))[0]["image"]
    np.testing.assert_array_equal(bgr[:, :, ::-1], rgb)


def test_image_and_stored_bytes_are_read_by_one_request(cache: FrameCache) -> None:
    dataset = read_frames({"a": [7]}, cache=cache, columns=("jpeg", "image"))
    (row,) = dataset.take_all()
    assert np.abs(row["image"] - decoded(row["jpeg"])).max() <= 2
    assert gets(cache) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"start": 10, "stop": 20, "step": 3}, [10, 13, 16, 19]),
        ({"start_seconds": 1, "stop_seconds": "1.2"}, [25, 26, 27, 28, 29]),
        ({"start": 43}, [43, 44]),
    ],
)
def test_a_range_is_read(cache: FrameCache, given: dict[str, Any], expected: list[int]) -> None:
    dataset = read_frames("a", cache=cache, columns=["sequence"], **given)
    assert [row["sequence"] for row in by_sequence(dataset)] == expected


def test_columns_of_the_index_take_no_request_for_frames(cache: FrameCache) -> None:
    dataset = read_frames("a", cache=cache)
    assert dataset.select_columns(["sequence", "timestamp"]).take_all()[3]["sequence"] == 3
    assert dataset.count() == FRAMES
    assert gets(cache) == 0
    assert isinstance(cache.store, LoggedStore)
    assert len(cache.store.requests()) <= 4  # three to open it, and the time of its use


def test_a_condition_on_the_index_limits_what_is_fetched(cache: FrameCache) -> None:
    in_packs = bool(cache.timeline("a").index.offset.any())
    dataset = read_frames("a", cache=cache)
    within = (col("timestamp") >= 0.4) & (col("timestamp") < 0.6)
    rows = by_sequence(dataset.filter(expr=within).select_columns(["sequence", "image"]))
    assert [row["sequence"] for row in rows] == [10, 11, 12, 13, 14]
    assert gets(cache) == (1 if in_packs else 5)


def test_a_condition_on_pictures_filters_the_rows(cache: FrameCache) -> None:
    dataset = read_frames("a", cache=cache, columns=["sequence", "jpeg"])
    chosen = dataset.filter(expr=col("jpeg").is_not_null() & (col("sequence") < 2))
    assert [row["sequence"] for row in by_sequence(chosen)] == [0, 1]


def test_a_condition_that_no_frame_meets_gives_an_empty_dataset(cache: FrameCache) -> None:
    dataset = read_frames("a", cache=cache).filter(expr=col("sequence") < 0)
    assert dataset.take_all() == []
    assert gets(cache) == 0


def test_a_limit_bounds_what_is_fetched(cache: FrameCache) -> None:
    named = read_frames("a", cache=cache).map(lambda row: {"width": row["image"].shape[1]})
    assert named.limit(2).take_all() == [{"width": clips.WIDTH}] * 2
    assert gets(cache) <= 2


def test_one_percent_of_the_frames_takes_two_percent_of_the_requests(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    frames = [Frame(n, 0, float(n), np.full((8, 8, 3), n % 250, np.uint8)) for n in range(400)]
    cache.timeline("long").write(frames)
    assert isinstance(cache.store, LoggedStore)
    before = len(cache.store.requests())
    assert read_frames("long", cache=cache).materialize().count() == 400
    whole = len(cache.store.requests()) - before
    rows = read_frames("long", cache=cache, start=100, stop=104).take_all()
    part = len(cache.store.requests()) - before - whole
    assert len(rows) == 4
    assert part <= 0.02 * whole + 3


def test_scattered_frames_take_at_most_one_request_each(cache: FrameCache) -> None:
    wanted = [44, 0, 21, 9]
    dataset = read_frames({"a": wanted}, cache=cache)
    assert [row["sequence"] for row in dataset.take_all()] == wanted
    assert gets(cache) <= len(wanted)


def test_neighbors_in_a_pack_share_a_request(tmp_path: Path) -> None:
    FrameCache(tmp_path / "store").timeline("a").extract(clips.chunks(), layout="packs")
    cache = cache_in(tmp_path)
    read_frames("a", cache=cache).take_all()
    assert gets(cache) == len(clips.chunks())


def test_frames_of_several_sizes_keep_their_size(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    sizes = [(16, 16), (16, 16), (24, 8), (16, 16)]
    cache.timeline("mixed").write([flat(number, size) for number, size in enumerate(sizes)])
    dataset = read_frames("mixed", cache=cache)
    assert [row["image"].shape for row in by_sequence(dataset)] == [(*size, 3) for size in sizes]
    batches = [*dataset.iter_batches(batch_size=None)]
    assert sum(len(batch["image"]) for batch in batches) == len(sizes)


def test_frames_that_another_program_stored_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "cache/timelines/foreign/frames"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (20 + number, 10), (number, 0, 0)).save(folder / f"{number}.jpg")
    rows = by_sequence(read_frames("foreign", cache=FrameCache(tmp_path)))
    assert [row["image"].shape for row in rows] == [(10, 20, 3), (10, 21, 3), (10, 22, 3)]


def test_frames_without_a_picture_are_left_out(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    timeline = cache.timeline("damaged")
    timeline.extract(clips.ends_in_garbage())
    rows = by_sequence(read_frames("damaged", cache=cache))
    assert 0 < len(rows) < len(timeline)
    assert [row["sequence"] for row in rows] == timeline.sequences()
    (missing, *_) = {*range(len(timeline))} - {*timeline.sequences()}
    with pytest.raises(UndecodableFrame):
        read_frames({"damaged": [missing]}, cache=cache)


@pytest.mark.parametrize(
    "change",
    [
        lambda timeline: timeline.clear(),
        lambda timeline: timeline.rebuild(quality=30),
        lambda timeline: timeline.delete(),
    ],
    ids=["clear", "rebuild", "delete"],
)
def test_a_timeline_that_changed_since_is_a_typed_error(
    cache: FrameCache, change: Callable[[Any], object]
) -> None:
    dataset = read_frames("a", cache=cache)
    change(cache.timeline("a"))
    with pytest.raises(TimelineCleared, match="was cleared, rebuilt or deleted"):
        dataset.take_all()


def test_frames_that_are_appended_later_are_not_read(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    first, second, _ = clips.chunks()
    cache.timeline("a").extract(first)
    dataset = read_frames("a", cache=cache)
    cache.timeline("a").append(second)
    assert len(dataset.take_all()) == 20


def test_more_frames_than_fit_into_memory_are_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "target_max_block_size", 8 * 2**20)
    cache = cache_in(tmp_path)
    side, count = 1200, 100
    image = np.zeros((side, side, 3), np.uint8)
    cache.timeline("large").write(Frame(n, 0, float(n), image) for n in range(count))
    most, consumed = 0, 0
    for batch in read_frames("large", cache=cache).iter_batches(batch_size=2):
        consumed += len(batch["image"])
        most = max(most, gets(cache) - consumed)
    assert consumed == count
    store_bytes = ray.cluster_resources()["object_store_memory"]
    assert most * image.nbytes < store_bytes < count * image.nbytes


@pytest.mark.parametrize(
    ("timelines", "given", "error", "message"),
    [
        ([], {}, InvalidValue, "at least one timeline"),
        (None, {}, InvalidValue, "at least one timeline"),
        ("none", {}, NotCached, "has no cached frame"),
        ({"a": [0, 99]}, {}, NotCached, "has no frame 99"),
        ({"a": [0]}, {"start": 1}, InvalidValue, "not both"),
        ("a", {"start": 99}, InvalidValue, "none of them is in the range"),
        ("a", {"start_seconds": 9}, InvalidValue, "none of them is in the range"),
        ("a", {"columns": []}, InvalidValue, "but none was given"),
        ("a", {"columns": ["pixels"]}, InvalidValue, "but 'pixels' was given"),
        ("a", {"scale": 0.3}, InvalidValue, "scale must be"),
        ("a", {"max_side": 0}, InvalidValue, "max_side must be"),
        ("a", {"step": 0}, InvalidValue, "step must be"),
        ("a", {"cache": FrameCache("memory://ray")}, InvalidValue, "memory of this program"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    tmp_path: Path,
    timelines: list[str],
    given: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    cache = FrameCache(tmp_path)
    cache.timeline("a").write([flat(0), flat(1)])
    with pytest.raises(error, match=message):
        read_frames(timelines, **({"cache": cache} | given))
