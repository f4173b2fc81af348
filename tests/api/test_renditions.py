"""Renditions: smaller copies of frames, stored with them and read instead of them.

The reference is an exact area resize of a frame that ffmpeg decoded and zscale converted, or of the
stored frame, encoded by Pillow with the same settings.
"""

import io
from pathlib import Path
from typing import Any, Final

import clips
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow
from test_max_side import clip, layers, whole_frames

from framecache import Frame, FrameCache, InvalidValue, SettingsConflict, Timeline
from framecache.model import Chroma, Layout
from framecache.testing import HookedStore
from media import ffmpeg, made, make_clip, real_clip
from outside import frame, outside

LAYOUTS: Final[list[Layout]] = ["objects", "packs"]
PREFIX: Final = "cache/timelines/t/"
MAX_ERROR: Final = 1.5
"""Mean error of a rendition's pixels, of 255."""
SIDES: Final = (48, 20)


@pytest.fixture
def match(tmp_path: Path) -> Timeline:
    return FrameCache(str(tmp_path / "store")).timeline("t")


def pixels(jpeg: bytes) -> npt.NDArray[np.float64]:
    with Pillow.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def area_weights(before: int, after: int) -> npt.NDArray[np.float64]:
    """Return the share of each pixel of a side in each pixel of the scaled side."""
    edges = np.arange(after + 1) * before / after
    starts, stops = edges[:-1, None], edges[1:, None]
    overlap = np.minimum(stops, np.arange(1, before + 1)) - np.maximum(starts, np.arange(before))
    return np.asarray(np.clip(overlap, 0, None) * after / before, np.float64)


def resized(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the mean of the area of each pixel of the scaled image, exactly."""
    rows, columns = area_weights(image.shape[0], size[1]), area_weights(image.shape[1], size[0])
    scaled = np.einsum("ab,bcd,ec->aed", rows, image, columns, optimize=True)
    return np.asarray(scaled, np.float64)


def encoded(image: npt.NDArray[np.float64], *, chroma: Chroma = "420") -> bytes:
    """Encode an image with Pillow, with the default quality."""
    data = io.BytesIO()
    subsampling = {"420": "4:2:0", "444": "4:4:4"}[chroma]
    Pillow.fromarray(image.round().astype(np.uint8)).save(
        data, "JPEG", quality=85, subsampling=subsampling
    )
    return data.getvalue()


def folder(timeline: Timeline) -> str:
    """Return the folder of a timeline's store."""
    return timeline.snapshot_cache.store.url.removeprefix("file://")


def stored_renditions(timeline: Timeline, side: int) -> list[bytes]:
    """Return the JPEGs that the index names as renditions of a size."""
    rows = timeline.index.to_arrow().to_pylist()
    blobs = outside(folder(timeline))
    found = []
    for row in rows:
        if row[f"size_{side}"]:
            start = row[f"offset_{side}"]
            found.append(blobs.read(row[f"key_{side}"])[start:][: row[f"size_{side}"]])
    return found


def soft_clip() -> Path:
    graph = "scale=96:64:flags=area,gblur=sigma=1.5"
    options = ("-frames:v", "6", "-vf", graph, "-c:v", "libx264", "-qp", "5")
    return made(
        "soft-96x64.mp4",
        lambda path: ffmpeg("-i", str(real_clip("bikes.mp4")), *options, str(path)),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(
    ("size", "samples", "turned", "sizes"),
    [
        ((1280, 720), "yuv420p", 0, {640: (640, 360), 224: (224, 126)}),
        ((641, 401), "yuv444p", 90, {640: (400, 640), 300: (188, 300), 77: (48, 77)}),
    ],
    ids=["halved", "odd and turned"],
)
def test_rendition_is_an_area_resize_of_the_picture(
    match: Timeline,
    layout: Layout,
    chroma: Chroma,
    size: tuple[int, int],
    samples: str,
    turned: int,
    sizes: dict[int, tuple[int, int]],
) -> None:
    path = clip(*size, pixels=samples, turned=turned)
    match.extract(path, renditions=sizes, chroma=chroma, layout=layout)
    whole = whole_frames(path, *(size[::-1] if turned else size))
    assert len(whole) == 3
    for side, wanted in sizes.items():
        for picture, rendition in zip(whole, stored_renditions(match, side), strict=True):
            assert layers(rendition) == layers(match.jpeg(0))
            expected = pixels(encoded(resized(picture, wanted), chroma=chroma))
            assert pixels(rendition).shape == expected.shape
            assert np.abs(pixels(rendition) - expected).mean() <= MAX_ERROR


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_added_rendition_is_an_area_resize_of_the_stored_frame(
    match: Timeline, chroma: Chroma
) -> None:
    match.extract(real_clip("bikes.mp4"), every=60, chroma=chroma)
    match.add_renditions((320, 224))
    for side, wanted in ((320, (320, 136)), (224, (224, 95))):
        renditions = stored_renditions(match, side)
        for jpeg, rendition in zip(match.jpegs(match.sequences()), renditions, strict=True):
            assert layers(rendition) == layers(jpeg)
            expected = pixels(encoded(resized(pixels(jpeg), wanted), chroma=chroma))
            assert np.abs(pixels(rendition) - expected).mean() <= MAX_ERROR


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_are_the_same_with_and_without_renditions(tmp_path: Path, layout: Layout) -> None:
    cache = FrameCache(str(tmp_path))
    plain, rich = cache.timeline("plain"), cache.timeline("rich")
    plain.extract(clips.chunks(), layout=layout)
    rich.extract(clips.chunks(), layout=layout, renditions=SIDES)
    assert [*plain.jpegs(plain.sequences())] == [*rich.jpegs(rich.sequences())]
    for name in ("sequence", "timestamp", "perceptual_hash", "width", "crc32c"):
        assert getattr(plain.index, name).tolist() == getattr(rich.index, name).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("max_side", "side"), [(1, 20), (19, 20), (20, 20), (21, 48), (48, 48), (49, None), (96, None)]
)
def test_reader_fetches_the_smallest_rendition_that_suffices(
    tmp_path: Path, layout: Layout, max_side: int, side: int | None
) -> None:
    store = HookedStore(FrameCache(str(tmp_path)).store)
    match = Timeline(store, "t")
    match.extract(soft_clip(), every=3, renditions=SIDES, layout=layout)
    sequences = match.sequences()
    blobs = stored_blobs(match, side)
    expected = [pixels(blob) for blob in blobs]
    size = (max_side, max(1, round(max_side * 64 / 96)))
    for read in (
        lambda: [match.frame(one, max_side=max_side).image for one in sequences],
        lambda: [one.image for one in match.frames(max_side=max_side)],
        lambda: [*match.batch(sequences, max_side=max_side)],
        lambda: [match.frame_at(i, max_side=max_side).image for i in match.index.timestamp],
    ):
        store.requests.clear()
        images = read()
        folder = (
            f"renditions/{epoch(match)}/{side}/"
            if side
            else {"objects": "frames/", "packs": "packs/"}[layout]
        )
        read_keys = [key for action, key in store.requests if action in ("get", "get_range")]
        pictures = [key for key in read_keys if key.endswith((".jpg", ".tar"))]
        assert pictures
        assert all(folder in key for key in pictures)
        for image, picture in zip(images, expected, strict=True):
            assert image.shape == (size[1], size[0], 3)
            assert np.abs(image - resized(picture, size)).mean() <= MAX_ERROR


def epoch(timeline: Timeline) -> str:
    key = next(key for key in timeline.index.to_arrow()["key_20"].to_pylist() if key)
    return str(key.split("/")[4])


def stored_blobs(timeline: Timeline, side: int | None) -> list[bytes]:
    if side is None:
        return [*timeline.jpegs(timeline.sequences())]
    return stored_renditions(timeline, side)


def test_whole_frames_and_scaled_ones_are_read_from_the_frame(match: Timeline) -> None:
    match.extract(clips.chunks()[0], every=3, renditions=SIDES)
    assert match.frame(0).image.shape == (64, 96, 3)
    jpeg = Pillow.open(io.BytesIO(match.jpeg(0)))
    jpeg.draft("RGB", (48, 32))
    half = match.frame(0, scale=0.5).image.astype(float)
    assert np.abs(half - np.asarray(jpeg.convert("RGB"))).mean() <= 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frame_that_is_not_larger_is_stored_once(match: Timeline, layout: Layout) -> None:
    """The second clip is larger than the first, whose frames have no rendition of 96."""
    large = made("large-192x108.mp4", lambda path: make_clip(path, size=(192, 108), frames=5))
    match.extract([clips.chunks()[0], large], renditions=(500, 96, 50), layout=layout)
    index = match.index
    is_large = index.width == 192
    assert index.rendition_sides == (96, 50)
    assert index.has_rendition(96).tolist() == is_large.tolist()
    assert index.has_rendition(50).all()
    for max_side, size in ((500, None), (96, None), (60, (60, 40))):
        image = match.frame(0, max_side=max_side).image
        assert image.shape[:2] == ((64, 96) if size is None else size[::-1])
    assert [one.image.shape[1] for one in match.frames(max_side=96)] == [96] * len(index)
    assert match.verify(deep=True).ok
    assert match.info().size_bytes == sum(
        row.size + sum(one.size for one in row.renditions) for row in index.rows(range(len(index)))
    )


BAD: Final = [
    [0],
    [65_501],
    [-1],
    [20, 48],
    [48, 48],
    [48.0],
    ["48"],
    [True],
    "48",
    b"0",
    48,
    [2**70],
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
]


@pytest.mark.parametrize("call", ["extract", "plan_extract", "rebuild", "add_renditions"])
@pytest.mark.parametrize("sides", BAD, ids=repr)
def test_invalid_sizes_are_refused_before_any_request(
    memory_url: str,
    call: str,
    sides: Any,  # noqa: ANN401 -- of any type
) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    arguments = ["missing.mp4"] if "extract" in call else []
    with pytest.raises(InvalidValue, match="renditions"):
        getattr(Timeline(store, "t"), call)(*arguments, renditions=sides)
    assert store.requests == []


def test_layout_without_frames_has_no_renditions(match: Timeline) -> None:
    chunk = clips.chunks()[0]
    for layout in ("video", None):
        with pytest.raises(InvalidValue, match="stores no frames, so it has no renditions"):
            match.extract(chunk, renditions=SIDES, layout=layout or "video")
        match.extract(chunk, layout="video")
    with pytest.raises(InvalidValue, match="has no renditions"):
        match.add_renditions(SIDES)
    match.rebuild(layout="packs", renditions=SIDES)
    assert match.index.rendition_sides == SIDES
    match.rebuild(layout="video")
    assert not match.index.rendition_sides


def test_renditions_not_given_are_those_of_the_timeline(match: Timeline) -> None:
    chunks = clips.chunks()
    match.extract(chunks[:1], renditions=SIDES)
    assert match.extract(chunks[:2]).chunks_cached == 1
    match.append(chunks[2])
    assert match.index.has_rendition(48).all()
    match.rebuild()
    assert match.index.has_rendition(20).all()
    match.rebuild(renditions=())
    assert not match.index.rendition_sides


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((64, 48, 20), "cached with renditions 48 and 20; asked for renditions 64, 48 and 20"),
        ((48,), "asked for renditions 48: .* or rebuild the timeline with the new ones"),
        ((64,), "asked for renditions 64: .* or rebuild the timeline with the new ones"),
        ((), "asked for no renditions"),
    ],
)
def test_other_renditions_conflict_and_the_message_says_what_to_do(
    match: Timeline, asked: tuple[int, ...], words: str
) -> None:
    match.extract(clips.chunks()[0], renditions=SIDES)
    with pytest.raises(SettingsConflict, match=words):
        match.extract(clips.chunks()[0], renditions=asked)
    if len(asked) > len(SIDES):
        with pytest.raises(SettingsConflict, match="framecache renditions t 64"):
            match.plan_extract(clips.chunks()[0], renditions=asked)


def test_manifest_states_the_renditions_and_then_has_another_format(match: Timeline) -> None:
    match.extract(clips.chunks()[0], renditions=SIDES)
    blobs = outside(folder(match))
    document = blobs.read(blobs.list(f"{PREFIX}timeline/")[-1])
    assert b'"format": 2' in document
    settings = match.info().settings
    assert settings is not None
    assert settings.jpeg.renditions == SIDES
    assert "renditions 48 and 20" in str(settings)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_written_frames_have_the_renditions_of_the_timeline(
    match: Timeline, layout: Layout
) -> None:
    match.write([frame(n, width=96, height=64) for n in range(3)], layout=layout)
    match.add_renditions(SIDES)
    match.write([frame(n, width=96, height=64) for n in range(3, 6)])
    replaced = Frame(1, 0, 0.0, np.zeros((64, 96, 3), np.uint8))
    match.write([replaced], on_conflict="replace")
    index = match.index
    assert index.has_rendition(48).all()
    for jpeg, rendition in zip(match.jpegs(range(6)), stored_renditions(match, 48), strict=True):
        expected = pixels(encoded(resized(pixels(jpeg), (48, 32))))
        assert np.abs(pixels(rendition) - expected).mean() <= MAX_ERROR
    assert match.frame(1, max_side=48).image.max() < 10
    assert match.verify(deep=True).ok


def test_disk_cache_keeps_renditions_by_themselves(tmp_path: Path) -> None:
    FrameCache(str(tmp_path / "store")).timeline("t").extract(
        clips.chunks()[0], every=3, renditions=SIDES
    )
    cache = FrameCache(
        str(tmp_path / "store"), local_cache=str(tmp_path / "copies"), local_cache_bytes=10**8
    )
    for _ in range(2):
        for max_side in (None, 48, 20):
            images = [one.image for one in cache.timeline("t").frames(max_side=max_side)]
            assert {image.shape[1] for image in images} == {max_side or 96}


def test_table_of_all_frames_has_nulls_where_a_timeline_has_no_renditions(tmp_path: Path) -> None:
    cache = FrameCache(str(tmp_path))
    cache.timeline("plain").extract(clips.chunks()[0], every=9)
    cache.timeline("rich").extract(clips.chunks()[0], every=9, renditions=SIDES)
    table = cache.frames_table().to_pylist()
    assert {row["timeline_id"] for row in table if row["size_48"] is None} == {"plain"}
    assert {row["timeline_id"] for row in table if row["size_48"]} == {"rich"}


def test_report_counts_bytes_of_frames_and_renditions(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    report = cache.timeline("t").extract(clips.chunks(), layout="objects", renditions=(48, 16))
    stored = [
        blob.size_bytes
        for folder in ("frames", "renditions")
        for blob in cache.store.list(f"cache/timelines/t/{folder}/")
    ]
    assert report.bytes_stored == sum(stored)
    moved = cache.timeline("t").repack("packs")
    assert moved.bytes_moved == sum(stored)
