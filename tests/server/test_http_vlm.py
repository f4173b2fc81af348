"""Clips for vision-language models over HTTP: the stored bytes, at the times of the chunks."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import clips
import numpy as np
import pytest
from PIL import Image as Pillow
from served import Service, problem_of, serving, uncached

from framecache import Frame, FrameCache
from outside import frame, outside

CLIP = "api/v1/timelines/t/vlm"


@pytest.fixture
def service(local_url: str) -> Iterator[Service]:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.chunks())
    with serving(cache, uncached()) as service:
        yield service


def stored(url: str, sequence: int) -> bytes:
    return outside(url).read(f"cache/timelines/t/frames/{sequence}.jpg")


def data_of(part: dict[str, Any]) -> list[bytes]:
    kind = part["type"]
    _, _, data = part[kind]["url"].partition(";base64,")
    return [base64.b64decode(one) for one in data.split(",")]


def test_images_are_the_stored_bytes_after_their_times(service: Service, local_url: str) -> None:
    made = service.json(CLIP, params={"start_seconds": "0:00.4", "stop_seconds": 0.8})
    assert made["sequences"] == list(range(10, 20))
    assert made["timestamps"] == pytest.approx([number / 25 for number in range(10, 20)])
    texts, images = made["content"][::2], made["content"][1::2]
    assert [one["text"] for one in texts] == [f"{number / 25:.3f} s" for number in range(10, 20)]
    assert [data_of(one) for one in images] == [[stored(local_url, n)] for n in range(10, 20)]


def test_video_has_the_stored_bytes_and_indices_of_their_times(
    service: Service, local_url: str
) -> None:
    made = service.json(CLIP, params={"max_frames": 8, "parts": "video"})
    (part,) = made["content"]
    assert data_of(part) == [stored(local_url, number) for number in made["sequences"]]
    video = made["media_io_kwargs"]["video"]
    assert video["num_frames"] == 8
    computed = [index / video["fps"] for index in video["frames_indices"]]
    assert computed == pytest.approx([number / 25 for number in made["sequences"]], abs=0.001)


@pytest.mark.parametrize("size", [{"scale": "0.5"}, {"max_side": clips.WIDTH // 2}], ids=str)
def test_scaled_frames_have_the_scaled_size(service: Service, size: dict[str, Any]) -> None:
    made = service.json(CLIP, params={"max_frames": 2, **size})
    [first] = data_of(made["content"][1])
    with Pillow.open(io.BytesIO(first)) as picture:
        assert picture.size == (clips.WIDTH // 2, clips.HEIGHT // 2)


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"start_seconds": "soon"}, 422, "invalid_value"),
        ({"start_seconds": 90}, 404, "not_cached"),
        ({"max_frames": 0}, 422, "invalid_value"),
        ({"max_frames": 251}, 422, "invalid_value"),
        ({"scale": "0.3"}, 422, "invalid_value"),
        ({"max_side": 0}, 422, "invalid_value"),
        ({"max_side": 65501}, 422, "invalid_value"),
        ({"scale": "0.5", "max_side": 64}, 422, "invalid_value"),
        ({"timing": "guess"}, 422, "invalid_value"),
    ],
)
def test_invalid_request_is_refused(
    service: Service, given: dict[str, Any], status: int, code: str
) -> None:
    assert problem_of(service.get(CLIP, params=given)) == (status, code)


def test_unknown_timeline_is_not_cached(service: Service) -> None:
    assert problem_of(service.get("api/v1/timelines/other/vlm")) == (404, "not_cached")


def test_frames_without_common_rate_are_refused_for_rate_timing(
    local_url: str,
) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").write([frame(number, timestamp=number**2 / 25) for number in range(6)])
    with serving(cache, uncached()) as service:
        assert len(service.json(CLIP)["sequences"]) == 6
        answer = service.get(CLIP, params={"timing": "rate"})
        assert problem_of(answer) == (422, "invalid_value")


def test_frames_beyond_16_mib_are_refused(local_url: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), np.uint8)
    cache = FrameCache(local_url)
    cache.timeline("t").write(
        [Frame(number, 0, number / 25, noise) for number in range(12)], quality=95
    )
    sizes = [len(stored(local_url, number)) for number in range(12)]
    assert sum(sizes) > 16 * 2**20 > sum(sizes[:4])
    with serving(cache, uncached()) as service:
        answer = service.get(CLIP)
        assert problem_of(answer) == (422, "invalid_value")
        assert "16 MiB" in answer.json()["detail"]
        assert len(service.json(CLIP, params={"max_frames": 4})["sequences"]) == 4


def test_frames_of_different_sizes_are_refused_as_video(local_url: str) -> None:
    cache = FrameCache(local_url)
    sizes = [(16, 16, 3), (16, 24, 3)]
    cache.timeline("t").write(
        [
            Frame(number, 0, number / 25, np.zeros(size, np.uint8))
            for number, size in enumerate(sizes)
        ]
    )
    with serving(cache, uncached()) as service:
        assert len(service.json(CLIP)["content"]) == 4
        answer = service.get(CLIP, params={"parts": "video"})
        assert problem_of(answer) == (422, "invalid_value")
        assert "differ in size" in answer.json()["detail"]
