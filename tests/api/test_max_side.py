"""Frames stored no larger than a limit, and with the color of each pixel. The reference is an area
resize by OpenCV of frames that ffmpeg decoded and zscale converted.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import clips
import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PillowImage

from framecache import (
    FrameCache,
    InvalidValue,
    SettingsConflict,
    Timeline,
)
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import pictures
from framecache.model import Image, Layout
from framecache.testing import HookedStore
from media import ffmpeg, made, real_clip
from outside import outside

INVALID: Final = [0, -1, 65_501, 2**70, True, 640.0, "640", b"1", float("nan"), [640]]
PREFIX: Final = "cache/timelines/t/"
LAYOUTS: Final[list[Layout]] = ["objects", "packs", "video"]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Let no test read what another one decoded."""
    yield
    chunk_pool.value.clear()
    pictures.value.clear()


@pytest.fixture
def match(tmp_path: Path) -> Timeline:
    return FrameCache(str(tmp_path / "store")).timeline("t")


def clip(
    width: int, height: int, *, pixels: str = "yuv420p", turned: int = 0, ratio: str = "1"
) -> Path:
    """Make a clip of 3 soft frames of real footage, with BT.709 colors in limited range."""
    codec = ("-c:v", "libx264", "-qp", "0") if turned else ("-c:v", "ffv1", "-f", "matroska")
    name = f"soft-{width}x{height}-{pixels}-{ratio.replace('/', '-')}-{codec[1]}"
    graph = (
        "zscale=matrixin=170m:rangein=limited:matrix=gbr:range=full,format=gbrp,"
        f"scale={width}:{height}:flags=area,gblur=sigma=1.5,"
        "zscale=matrixin=gbr:rangein=full:matrix=709:range=limited,format=yuv444p,"
        f"scale=flags=area,format={pixels},setsar={ratio}"
    )
    flat = made(
        f"{name}.mp4",
        lambda path: ffmpeg(
            *("-i", str(real_clip("bikes.mp4")), "-frames:v", "3", "-vf", graph),
            *(*codec, "-colorspace", "bt709", "-color_range", "tv", str(path)),
        ),
    )
    if not turned:
        return flat
    options = ("-i", str(flat), "-c", "copy", "-metadata:s:v:0", f"rotate={turned}")
    return made(f"{name}-{turned}.mp4", lambda path: ffmpeg(*options, str(path)))


def whole_frames(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the frames in full size, upright, by zscale."""
    graph = (
        "scale=flags=area,format=yuv444p,"
        "zscale=matrixin=709:rangein=limited:matrix=gbr:range=full:dither=none,format=gbrp"
    )
    raw = ffmpeg("-i", str(path), "-vf", f"{graph},format=rgb24", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def by_area(image: Image, width: int, height: int) -> npt.NDArray[np.float32]:
    resized = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.float32)


def layers(jpeg: bytes) -> list[tuple[int, int]]:
    """Return the sampling factors of a JPEG's components, by Pillow."""
    with PillowImage.open(io.BytesIO(jpeg)) as image:
        return [tuple(layer[1:3]) for layer in image.layer]  # type: ignore[attr-defined]


def jpegs(timeline: Timeline) -> list[bytes]:
    return [*timeline.jpegs(timeline.sequences())]


def manifest_of(url: str) -> dict[str, Any]:
    """Return the newest stored manifest."""
    blobs = outside(url)
    newest = max(key for key in blobs.list(PREFIX) if "/timeline/" in key)
    document: dict[str, Any] = json.loads(blobs.read(newest))
    return document


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(
    ("size", "pixels", "turned", "limit", "stored"),
    [
        ((1280, 720), "yuv420p", 0, 640, (640, 360)),
        ((1280, 720), "yuv420p", 0, 224, (224, 126)),
        ((1280, 720), "yuv420p", 90, 301, (169, 301)),
        ((1279, 721), "yuv420p", 0, 640, (640, 361)),
        ((1279, 721), "yuv444p", 270, 640, (361, 640)),
        ((641, 401), "yuv422p10le", 0, 499, (499, 312)),
        ((640, 360), "yuv420p", 0, 639, (639, 359)),
    ],
)
def test_stored_frame_is_the_area_resize_of_the_whole_frame(
    match: Timeline,
    size: tuple[int, int],
    pixels: str,
    turned: int,
    limit: int,
    stored: tuple[int, int],
    chroma: Any,  # noqa: ANN401 -- a literal of the parametrization
) -> None:
    path = clip(*size, pixels=pixels, turned=turned)
    match.extract(path, max_side=limit, chroma=chroma, quality=100)
    upright = size if turned % 180 == 0 else size[::-1]
    frames = [*match.frames()]
    assert len(frames) == 3
    for frame, whole in zip(frames, whole_frames(path, *upright), strict=True):
        assert frame.image.shape == (stored[1], stored[0], 3)
        assert np.abs(frame.image - by_area(whole, *stored)).mean() <= 1.0
    info = match.info()
    assert (info.width, info.height) == stored
    assert (info.chunks[0].width, info.chunks[0].height) == upright
    assert match.verify(deep=True).ok


def line_clip() -> Path:
    """Make a clip of RGB pictures: thin lines of pure colors on gray."""

    def make(path: Path) -> None:
        image = np.full((64, 96, 3), 128, np.uint8)
        image[8:56, 10:90:6] = (255, 0, 0)
        image[5:60:7, 10:90] = (0, 0, 255)
        size = f"{image.shape[1]}x{image.shape[0]}"
        raw = path.with_suffix(".rgb")
        raw.write_bytes(image.tobytes())
        source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-i", str(raw))
        ffmpeg(*source, "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path))

    return made("thin-lines.mkv", make)


def test_thin_colored_lines_survive_with_chroma_444(match: Timeline) -> None:
    raw = ffmpeg("-i", str(line_clip()), "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    truth = np.frombuffer(raw, np.uint8).reshape(64, 96, 3).astype(int)
    match.extract(line_clip(), chroma="444", quality=95)
    assert layers(match.jpeg(0)) == [(1, 1)] * 3
    assert np.abs(match.frame(0).image - truth).mean() < 3
    match.rebuild(chroma="420")
    assert layers(match.jpeg(0)) == [(2, 2), (1, 1), (1, 1)]
    assert np.abs(match.frame(0).image - truth).mean() > 10


@pytest.mark.parametrize("pixels", ["yuv420p", "nv12", "yuv422p", "yuv444p", "yuv444p10le", "gbrp"])
def test_every_source_can_be_stored_with_chroma_444(match: Timeline, pixels: str) -> None:
    source = clip(320, 180)
    codec = "rawvideo" if pixels == "nv12" else "ffv1"
    path = made(
        f"soft-{pixels}.{'avi' if pixels == 'nv12' else 'mkv'}",
        lambda one: ffmpeg(
            *("-i", str(source), "-vf", "scale=out_color_matrix=bt601:flags=area+accurate_rnd"),
            *("-c:v", codec, "-pix_fmt", pixels, "-colorspace", "smpte170m", str(one)),
        ),
    )
    match.extract(path, chroma="444", quality=100)
    if pixels == "gbrp":
        raw = ffmpeg("-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
        truth = np.frombuffer(raw, np.uint8).reshape(-1, 180, 320, 3)[0]
    else:
        truth = whole_frames(source, 320, 180)[0]
    assert layers(match.jpeg(0)) == [(1, 1)] * 3
    assert np.abs(match.frame(0).image - truth.astype(int)).mean() < 1.5


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("limit", [None, 50, 65_500])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same_jpegs(
    tmp_path: Path,
    layout: Layout,
    limit: int | None,
    chroma: Any,  # noqa: ANN401 -- a literal
) -> None:
    cache = FrameCache(str(tmp_path))
    plain, other = cache.timeline("plain"), cache.timeline("other")
    chunks = [*clips.chunks(), clip(320, 180, pixels="yuv444p")]
    plain.extract(chunks, every=2, max_side=limit, chroma=chroma)
    other.extract(chunks, every=2, max_side=limit, chroma=chroma, layout=layout)
    assert jpegs(other) == jpegs(plain)
    assert [one.perceptual_hash for one in other.frames()] == [
        one.perceptual_hash for one in plain.frames()
    ]
    other.repack("packs")
    assert jpegs(other) == jpegs(plain)
    assert other.index.width.tolist() == plain.index.width.tolist()
    assert other.verify(deep=True).ok


def test_disk_cache_keeps_decoded_frames_of_each_setting_apart(s3_url: str, tmp_path: Path) -> None:
    cache = FrameCache(s3_url, local_cache=tmp_path / "disk")
    small, fine = cache.timeline("small"), cache.timeline("fine")
    small.extract(clips.clip(), every=10, layout="video", max_side=50)
    fine.extract(clips.clip(), every=10, layout="video", chroma="444")
    for _ in range(2):
        pictures.value.clear()
        assert small.frame(0).image.shape[:2] == (33, 50)
        assert fine.frame(0).image.shape[:2] == (64, 96)
        assert layers(fine.jpeg(0)) == [(1, 1)] * 3


def test_limit_that_no_frame_exceeds_changes_no_byte(tmp_path: Path) -> None:
    cache = FrameCache(str(tmp_path))
    plain, limited = cache.timeline("plain"), cache.timeline("limited")
    plain.extract(clips.chunks(), every=4)
    limited.extract(clips.chunks(), every=4, max_side=96)
    assert plain.info().width == 96
    assert jpegs(limited) == jpegs(plain)


def test_frames_of_each_chunk_are_limited_by_themselves(match: Timeline) -> None:
    match.extract([clip(640, 360), clip(120, 90), clip(360, 640)], max_side=300)
    sizes = [frame.image.shape[:2] for frame in match.frames()]
    assert sizes == [(169, 300)] * 3 + [(90, 120)] * 3 + [(300, 169)] * 3
    shapes = [(chunk.width, chunk.height) for chunk in match.info().chunks]
    assert shapes == [(640, 360), (120, 90), (360, 640)]


@pytest.mark.parametrize(
    ("ratio", "limit", "size"),
    [("16/11", 1000, (550, 1000)), ("16/11", 500, (275, 500)), ("8/9", 600, (540, 600))],
)
def test_limit_applies_to_square_pixels(
    match: Timeline, ratio: str, limit: int, size: tuple[int, int]
) -> None:
    path = clip(720, 576, ratio=ratio)
    match.extract(path, aspect="square", max_side=limit, quality=100)
    truth = whole_frames(path, 720, 576)[0].astype(np.float32)
    resized = cv2.resize(truth, (720, size[0]), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_AREA if size[1] < 720 else cv2.INTER_CUBIC
    resized = cv2.resize(resized, size[::-1], interpolation=how)
    image = match.frame(0).image
    assert image.shape[:2] == size
    assert np.abs(image - resized).mean() < 1


def test_hash_is_that_of_the_stored_frame(match: Timeline) -> None:
    match.extract(real_clip("bikes.mp4"), every=40, max_side=160)
    small = [frame.perceptual_hash for frame in match.frames()]
    for frame in match.frames():
        expected = imagehash.phash(PillowImage.fromarray(frame.image))
        assert imagehash.hex_to_hash(frame.perceptual_hash) - expected <= 4
    match.rebuild(max_side=65_500)
    for name, frame in zip(small, match.frames(), strict=True):
        whole = imagehash.hex_to_hash(frame.perceptual_hash)
        assert imagehash.hex_to_hash(name) - whole <= 4


def test_append_and_rebuild_keep_the_settings_and_a_rebuild_changes_them(match: Timeline) -> None:
    first, *others = clips.chunks()
    match.extract(first, every=4, max_side=60, chroma="444")
    match.append(others)
    assert {one.image.shape[:2] for one in match.frames()} == {(40, 60)}
    assert {tuple(layers(one)) for one in jpegs(match)} == {((1, 1),) * 3}
    before = jpegs(match)
    match.rebuild(layout="packs")
    assert jpegs(match) == before
    match.rebuild(max_side=48)
    assert {one.image.shape[:2] for one in match.frames()} == {(32, 48)}
    match.rebuild(max_side=65_500, chroma="420")
    assert {one.image.shape[:2] for one in match.frames()} == {(64, 96)}
    settings = match.info().settings
    assert settings is not None
    assert (settings.jpeg.max_side, settings.jpeg.chroma) == (None, "420")


def test_extraction_with_the_same_settings_continues(match: Timeline) -> None:
    same: Any = np.int64(60)
    match.extract(clips.chunks()[:2], every=4, max_side=60)
    report = match.extract(clips.chunks(), every=4, max_side=same)
    assert (report.chunks_cached, report.chunks_extracted) == (2, 1)


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_repair_restores_the_same_bytes(tmp_path: Path, layout: Layout) -> None:
    url = str(tmp_path)
    match = FrameCache(url).timeline("t")
    match.extract(clips.chunks(), every=4, max_side=60, chroma="444", layout=layout)
    before, blobs = jpegs(match), outside(url)
    lost = [key for key in blobs.list(PREFIX) if key.endswith((".jpg", ".tar"))][1]
    Path(url, lost).unlink()
    assert not match.verify().ok
    assert match.verify(repair=True).ok
    assert jpegs(FrameCache(url).timeline("t")) == before


@pytest.mark.parametrize(
    ("cached", "asked", "words"),
    [
        ({}, {"max_side": 640}, ["sides of any size", "sides of at most 640 pixels"]),
        ({"max_side": 640}, {}, ["sides of at most 640 pixels", "sides of any size"]),
        ({"max_side": 640}, {"max_side": 320}, ["at most 640 pixels", "at most 320 pixels"]),
        ({}, {"chroma": "444"}, ["chroma 420", "chroma 444"]),
        ({"chroma": "444"}, {}, ["chroma 444", "chroma 420"]),
    ],
)
def test_other_settings_conflict_and_the_message_names_both(
    match: Timeline, cached: dict[str, Any], asked: dict[str, Any], words: list[str]
) -> None:
    path = clips.chunks()[0]
    match.extract(path, **cached)
    with pytest.raises(SettingsConflict) as raised:
        match.extract(path, **asked)
    have, wanted = str(raised.value).split("asked for")
    assert words[0] in have
    assert words[1] in wanted
    with pytest.raises(SettingsConflict):
        match.plan_extract(path, **asked)


@pytest.mark.parametrize("call", ["extract", "plan_extract", "rebuild"])
@pytest.mark.parametrize("limit", INVALID, ids=repr)
def test_invalid_limit_is_refused_before_any_request(
    memory_url: str,
    call: str,
    limit: Any,  # noqa: ANN401 -- of any type
) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    arguments = [] if call == "rebuild" else ["missing.mp4"]
    with pytest.raises(InvalidValue, match="max_side must be an integer from 1 to 65500, not "):
        getattr(Timeline(store, "t"), call)(*arguments, max_side=limit)
    assert store.requests == []


@pytest.mark.parametrize("call", ["extract", "plan_extract", "rebuild"])
@pytest.mark.parametrize("chroma", ["422", "4:4:4", "", 444, True], ids=repr)
def test_unknown_chroma_is_refused_before_any_request(
    memory_url: str,
    call: str,
    chroma: Any,  # noqa: ANN401 -- of any type
) -> None:
    store = HookedStore(FrameCache(memory_url).store)
    arguments = [] if call == "rebuild" else ["missing.mp4"]
    with pytest.raises(InvalidValue, match='chroma must be "420" or "444", not '):
        getattr(Timeline(store, "t"), call)(*arguments, chroma=chroma)
    assert store.requests == []


def test_estimate_knows_the_size_of_the_stored_frames(tmp_path: Path) -> None:
    cache = FrameCache(str(tmp_path))
    planned, cached = {}, {}
    given: dict[str, dict[str, Any]] = {"small": {"max_side": 160}, "fine": {"chroma": "444"}}
    for name, options in given.items():
        match = cache.timeline(name)
        plan = match.plan_extract(real_clip("bikes.mp4"), every=10, **options)
        match.extract(real_clip("bikes.mp4"), every=10, **options)
        planned[name], cached[name] = plan.bytes_to_store, match.info().size_bytes
        assert (plan.chunks[0].width, plan.chunks[0].height) == (
            match.info().width,
            match.info().height,
        )
        assert 0.7 < planned[name] / cached[name] < 1.4
    assert planned["small"] * 2 < planned["fine"]


def test_frames_without_a_picture_have_the_stored_size(match: Timeline) -> None:
    match.extract(clips.ends_in_garbage(), max_side=60)
    index = match.index
    assert not index.is_ok.all()
    assert set(index.width.tolist()) == {60}
    assert set(index.height.tolist()) == {40}


def test_manifest_states_the_settings_and_only_then_has_another_format(tmp_path: Path) -> None:
    url = str(tmp_path)
    match = FrameCache(url).timeline("t")
    match.extract(clips.chunks()[0])
    plain = manifest_of(url)
    assert plain["format"] == 1
    assert plain["jpeg"] == {"quality": 85, "subsampling": "4:2:0"}
    match.rebuild(max_side=60)
    small = manifest_of(url)
    assert small["format"] == 2
    assert small["jpeg"] == {"quality": 85, "subsampling": "4:2:0", "max_side": 60}
    assert (small["chunks"][0]["width"], small["chunks"][0]["height"]) == (96, 64)
    match.rebuild(max_side=65_500, chroma="444")
    fine = manifest_of(url)
    assert fine["format"] == 2
    assert fine["jpeg"] == {"quality": 85, "subsampling": "4:4:4"}
    match.rebuild(chroma="420")
    assert manifest_of(url)["format"] == 1


def test_overlays_fit_if_they_have_the_size_of_the_stored_frame(match: Timeline) -> None:
    match.extract(clips.chunks()[0], max_side=60)
    overlays = match.overlays(job_id="job", stage="boxes")
    for name, size in (("stored", (60, 40)), ("video", (96, 64))):
        drawn = io.BytesIO()
        PillowImage.new("RGBA", size).save(drawn, "PNG")
        overlays.save(0, {name: drawn.getvalue()})
    assert overlays.misfits() == {0: ("video",)}
