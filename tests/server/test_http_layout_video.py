"""The service with a timeline of layout video."""

import base64
import io
from collections.abc import Iterator

import clips
import numpy as np
import pytest
from PIL import Image
from served import Service, problem_of, serving, uncached

from framecache import FrameCache, Timeline
from outside import mean_error, pixels_by_pillow

ROOT = "api/v1/timelines/watched"


@pytest.fixture
def stored(local_url: str) -> Timeline:
    """Frames of two chunks, of which one ends in noise."""
    timeline = FrameCache(local_url).timeline("stored")
    timeline.extract([clips.clip(), clips.ends_in_garbage()])
    return timeline


@pytest.fixture
def service(local_url: str, stored: Timeline) -> Iterator[Service]:
    cache = FrameCache(local_url)
    cache.timeline("watched").extract([chunk.url for chunk in stored.info().chunks], layout="video")
    with serving(cache, uncached()) as service:
        yield service


def test_picture_is_the_one_that_extraction_stores(service: Service, stored: Timeline) -> None:
    answer = service.get(f"{ROOT}/frames/7.jpg")
    assert answer.content == stored.jpeg(7)
    held = service.get(f"{ROOT}/frames/7.jpg", headers={"If-None-Match": answer.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")
    version = service.get(ROOT).json()["version"]
    assert "immutable" in service.get(f"{ROOT}/frames/7.jpg?v={version}").headers["cache-control"]
    small = service.get(f"{ROOT}/frames/7.jpg?width=48").content
    assert Image.open(io.BytesIO(small)).width == 48


def test_undecodable_frame_is_reported_when_it_is_read(service: Service, stored: Timeline) -> None:
    broken = int(stored.index.sequence[~stored.index.is_ok][0])
    assert problem_of(service.get(f"{ROOT}/frames/{broken}.jpg")) == (404, "undecodable")


def test_frames_are_listed_with_what_is_known(service: Service) -> None:
    listed = service.get(f"{ROOT}/frames?limit=3").json()["frames"]
    assert [one["sequence"] for one in listed] == [0, 1, 2]
    for one in listed:
        assert (one["size_bytes"], one["perceptual_hash"]) == (None, "")
        assert (one["status"], one["width"], one["height"]) == ("unknown", 96, 64)


def test_run_and_embedded_frames_leave_out_undecodable_ones(
    service: Service, stored: Timeline
) -> None:
    whole = stored.index.sequence[stored.index.is_ok].tolist()
    run = service.get(f"{ROOT}/run?position=0&count=90").content
    for sequence, jpeg in zip(whole, stored.jpegs(whole), strict=True):
        assert f"frames/{sequence}.jpg".encode() in run
        assert jpeg in run
    assert run.count(b' name="frames/') == len(whole)
    page = service.get(f"{ROOT}/frames?embed=jpeg_b64&limit=200").json()["frames"]
    assert {one["seq"]: base64.b64decode(one["jpeg_b64"]) for one in page} == dict(
        zip(whole, stored.jpegs(whole), strict=True)
    )


def test_thumbnails_show_the_frames(service: Service, stored: Timeline) -> None:
    sheet = FrameCache(stored.info().url).timeline("watched").sprites()
    pictures = np.asarray(Image.open(io.BytesIO(sheet.sheet(0))).convert("RGB"))
    expected = np.asarray(Image.open(io.BytesIO(stored.sprites().sheet(0))).convert("RGB"))
    assert mean_error(pictures, expected) < 3
    assert service.get(f"{ROOT}/frames/0.jpg").status_code == 200
    assert pixels_by_pillow(stored.jpeg(0)).shape == (64, 96, 3)
