"""Pictures over HTTP: the stored bytes, validators, ranges, thumbnails."""

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import clips
import numpy as np
import pytest
from PIL import Image
from served import Service, problem_of, serving, uncached

from framecache import FrameCache
from framecache.model import Layout
from framecache.server import Limits, ServiceSettings
from outside import frames_of, jpeg_by_pillow, mean_error, outside, pixels_by_pillow
from signing import sign_pictures
from tars import jpegs_in, packs_of

PICTURE = "api/v1/timelines/t/frames/7.jpg"
FRAMES = 15
FOLDERS: Final[dict[Layout, str]] = {"objects": "frames", "packs": "packs"}
IN_BOTH_LAYOUTS: Final = pytest.mark.parametrize("layout", ["objects", "packs"])


@pytest.fixture
def layout() -> Layout:
    """Location of the frames of ``t``, unless a test overrides it."""
    return "objects"


@pytest.fixture
def cache(served_url: str, layout: Layout) -> FrameCache:
    cache = FrameCache(served_url)
    cache.timeline("t").extract(clips.clip(), every=3, layout=layout)
    return cache


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, uncached()) as service:
        yield service


def stored(url: str, layout: Layout) -> dict[int, bytes]:
    """Return the frames of ``t`` as other programs read them, by sequence."""
    if layout == "packs":
        return jpegs_in(packs_of(outside(url), "t"))
    as_objects = frames_of(outside(url), "t")
    return {int(name.removesuffix(".jpg")): data for name, data in as_objects.items()}


@IN_BOTH_LAYOUTS
@pytest.mark.every_store
def test_frame_image_is_the_stored_bytes(service: Service, served_url: str, layout: Layout) -> None:
    jpegs = stored(served_url, layout)
    assert sorted(jpegs) == list(range(FRAMES))
    for sequence in (0, 7, FRAMES - 1):
        answer = service.get(f"api/v1/timelines/t/frames/{sequence}.jpg")
        assert answer.content == jpegs[sequence]
        assert answer.headers["content-type"] == "image/jpeg"


@IN_BOTH_LAYOUTS
def test_image_at_time_is_that_of_the_frame_on_screen(service: Service) -> None:
    at, frame = service.get("api/v1/timelines/t/at/0.9.jpg"), service.get(PICTURE)
    assert at.content == frame.content
    assert at.headers["etag"] == frame.headers["etag"]


@IN_BOTH_LAYOUTS
@pytest.mark.parametrize("query", ["", "?width=32"])
def test_matching_etag_is_not_modified(service: Service, query: str) -> None:
    etag = service.get(PICTURE + query).headers["etag"]
    assert etag.startswith('"')
    for held in (etag, f'"other", {etag}', "*"):
        answer = service.get(PICTURE + query, headers={"If-None-Match": held})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert service.get(PICTURE + query, headers={"If-None-Match": '"other"'}).status_code == 200


@IN_BOTH_LAYOUTS
def test_different_images_have_different_etags(service: Service) -> None:
    paths = [
        f"api/v1/timelines/t/frames/{one}.jpg{width}"
        for one in (1, 2)
        for width in ("", "?width=32", "?width=33")
    ]
    assert len({service.get(path).headers["etag"] for path in paths}) == len(paths)


@IN_BOTH_LAYOUTS
@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-100", slice(-100, None)),
        ("bytes=10-99999999", slice(10, None)),
        ("bytes=0-0", slice(0, 1)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
@pytest.mark.every_store
def test_byte_range_returns_that_part(
    service: Service, served_url: str, layout: Layout, wanted: str, part: slice
) -> None:
    whole = stored(served_url, layout)[7]
    answer = service.get(PICTURE, headers={"Range": wanted})
    start, stop, _ = part.indices(len(whole))
    assert answer.status_code == 206
    assert answer.content == whole[part]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-4", "bytes=-0"])
def test_unsatisfiable_range_is_refused_with_length(service: Service, wanted: str) -> None:
    answer = service.get(PICTURE, headers={"Range": wanted})
    assert problem_of(answer) == (416, "no_such_range")
    size = len(service.get(PICTURE).content)
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "frames=0-1", "bytes=a-b", "bytes=-"])
def test_unsupported_ranges_are_ignored(service: Service, wanted: str) -> None:
    answer = service.get(PICTURE, headers={"Range": wanted})
    assert answer.status_code == 200


def test_range_with_other_if_range_etag_returns_whole_image(service: Service) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert service.get(PICTURE, headers=headers).status_code == 200
    headers["If-Range"] = service.get(PICTURE).headers["etag"]
    assert service.get(PICTURE, headers=headers).status_code == 206


def test_image_with_version_is_immutable(service: Service) -> None:
    version = service.json("api/v1/timelines/t")["version"]
    kept = service.get(PICTURE, params={"v": version}).headers["cache-control"]
    assert kept == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("query", [{}, {"v": "other"}])
def test_image_with_other_version_is_revalidated(service: Service, query: dict[str, str]) -> None:
    assert service.get(PICTURE, params=query).headers["cache-control"] == "private, no-cache"


def test_image_of_unindexed_prefix_is_revalidated(local_url: str) -> None:
    outside(local_url).put("cache/timelines/plain/frames/0.jpg", jpeg_by_pillow(1))
    with serving(FrameCache(local_url), uncached()) as service:
        version = service.json("api/v1/timelines/plain")["version"]
        for path in ("frames/0.jpg", "frames/0.jpg?width=16", "sprites/0.jpg"):
            mark = "&" if "?" in path else "?"
            answer = service.get(f"api/v1/timelines/plain/{path}{mark}v={version}")
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "private, no-cache"


def test_timelines_with_different_missing_chunks_have_different_versions(local_url: str) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.chunks())
    index = Path(local_url) / "cache/timelines/t/index"
    for compaction in index.glob("*/_timeline-*"):
        compaction.unlink()
    parts = sorted(index.glob("*/*.parquet"))
    assert len(parts) == 3
    versions = set()
    for part in parts:
        aside = part.rename(part.with_suffix(".aside"))
        with serving(FrameCache(local_url)) as service:
            detail = service.json("api/v1/timelines/t")
        aside.rename(part)
        assert detail["chunks_cached"] == 2
        versions.add(detail["version"])
    assert len(versions) == 3


@IN_BOTH_LAYOUTS
@pytest.mark.parametrize("query", ["", "&width=32"])
def test_repaired_image_has_a_new_etag_and_is_revalidated(
    memory_url: str, layout: Layout, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.clip(), every=3, layout=layout)
    (lost, *others) = outside(memory_url).list(f"cache/timelines/t/{FOLDERS[layout]}/")
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        version = service.json("api/v1/timelines/t")["version"]
        path = f"api/v1/timelines/t/frames/0.jpg?v={version}{query}"
        before = service.get(path)
        outside(memory_url).remove(lost)
        sign_pictures(monkeypatch)
        # With a pack all its frames are lost.
        assert cache.timeline("t").verify(repair=True).repaired == FRAMES - len(others)
        after = service.get(path)
        assert (after.content == before.content) == bool(query)
        assert after.headers["etag"] != before.headers["etag"]
        assert "immutable" in before.headers["cache-control"]
        assert after.headers["cache-control"] == "private, no-cache"
        part = {"Range": "bytes=0-9", "If-Range": before.headers["etag"]}
        assert service.get(path, headers=part).status_code == 200
        held = {"If-None-Match": after.headers["etag"]}
        assert service.get(path, headers=held).status_code == 304


def test_thumbnail_etag_depends_on_library_versions() -> None:
    def etags(of: str) -> list[str]:
        code = f"""
import importlib.metadata
known = importlib.metadata.version
importlib.metadata.version = lambda name: "0" if name == {of!r} else known(name)
from framecache.server.image_responses import etag_of
print(etag_of(1, 2, width=None), etag_of(1, 2, width=32))
"""
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return run.stdout.decode().split()

    now, other = etags("none"), etags("simplejpeg")
    assert now == etags("none")
    assert now[0] == other[0]
    assert now[1] != other[1]


@pytest.mark.parametrize("width", [16, 24, 48, 50, 95])
def test_thumbnail_has_requested_width(service: Service, width: int) -> None:
    answer = service.get(PICTURE, params={"width": width})
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "JPEG"
        assert image.width == width
        assert image.height == round(clips.HEIGHT * width / clips.WIDTH)


@IN_BOTH_LAYOUTS
def test_thumbnail_resembles_its_frame(service: Service) -> None:
    def pixels(query: dict[str, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        with Image.open(io.BytesIO(service.get(PICTURE, params=query).content)) as image:
            small = image.convert("RGB").resize((24, 16), Image.Resampling.BOX)
            return np.asarray(small, dtype=np.float64)

    difference = np.abs(pixels({}) - pixels({"width": 48})).mean()
    other = np.abs(pixels({}) - 255 + pixels({"width": 48})).mean()
    assert difference < 8 < other


@IN_BOTH_LAYOUTS
def test_sprite_sheet_shows_every_frame_in_its_tile(
    service: Service, served_url: str, layout: Layout
) -> None:
    found = service.json("api/v1/timelines/t/sprites")
    width, height = found["tile_width"], found["tile_height"]
    thumbnails = []
    for _, data in sorted(stored(served_url, layout).items()):
        with Image.open(io.BytesIO(data)) as image:
            thumbnails.append(np.asarray(image.convert("RGB").resize((width, height))))
    assert [sheet["count"] for sheet in found["sheets"]] == [FRAMES]
    sheet = pixels_by_pillow(service.get("api/v1/timelines/t/sprites/0.jpg").content)
    for place in range(FRAMES):
        top, left = (
            at * side
            for at, side in zip(divmod(place, found["columns"]), (height, width), strict=True)
        )
        tile = sheet[top : top + height, left : left + width]
        errors = [mean_error(tile, one) for one in thumbnails]
        assert int(np.argmin(errors)) == place


@IN_BOTH_LAYOUTS
@pytest.mark.parametrize("width", [clips.WIDTH, 5000])
def test_thumbnail_wider_than_frame_returns_stored_bytes(
    service: Service, cache: FrameCache, width: int
) -> None:
    answer = service.get(PICTURE, params={"width": width})
    assert answer.content == cache.timeline("t").jpeg(7)


@pytest.mark.parametrize("width", [0, 15, 65501, -1, "a"])
def test_invalid_thumbnail_width_is_refused(service: Service, width: object) -> None:
    answer = service.get(PICTURE, params={"width": str(width)})
    assert problem_of(answer) == (422, "invalid_value")


@IN_BOTH_LAYOUTS
def test_undecodable_frame_is_reported_with_its_reason(local_url: str, layout: Layout) -> None:
    cache = FrameCache(local_url)
    cache.timeline("bad").extract(clips.ends_in_garbage(), layout=layout)
    index = cache.timeline("bad").index
    lacking = int(index.sequence[~index.is_ok][0])
    with serving(cache) as service:
        answer = service.get(f"api/v1/timelines/bad/frames/{lacking}.jpg")
        row = service.json(f"api/v1/timelines/bad/frames/{lacking}")
    assert problem_of(answer) == (404, "undecodable")
    assert row["status"] == "undecodable"
    assert row["reason"]


@IN_BOTH_LAYOUTS
def test_images_of_rebuilt_timeline_are_the_new_ones(service: Service, cache: FrameCache) -> None:
    before = service.get(PICTURE)
    cache.timeline("t").rebuild(quality=30)
    after = service.get(PICTURE, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.content == cache.timeline("t").jpeg(7)


@IN_BOTH_LAYOUTS
def test_image_cleared_behind_the_cache_is_not_cached(cache: FrameCache) -> None:
    settings = ServiceSettings()
    settings = replace(settings, limits=replace(settings.limits, cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        assert service.get(PICTURE).status_code == 200
        cache.timeline("t").clear()
        assert problem_of(service.get(PICTURE)) == (404, "not_cached")


def test_thumbnails_beyond_limit_are_refused_with_retry_after(
    local_url: str,
) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.clip())
    settings = ServiceSettings(limits=Limits(decodes_at_once=1, decodes_waiting=0))
    with serving(cache, settings) as service:
        with service.inside.work_limits.decodes.slot():
            answer = service.get(PICTURE, params={"width": 32})
            assert problem_of(answer) == (429, "rate_limited")
            assert int(answer.headers["retry-after"]) >= 1
            assert service.get(PICTURE).status_code == 200
        assert service.get(PICTURE, params={"width": 32}).status_code == 200
