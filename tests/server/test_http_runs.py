"""Pictures of consecutive frames with their overlays, in one response."""

import email
import email.policy
import io
from collections.abc import Iterator

import clips
import httpx
import numpy as np
import pytest
from PIL import Image
from served import Service, over, problem_of, serving, uncached

from framecache import FrameCache
from framecache.server import Limits, ServiceSettings
from framecache.testing import Action, HookedStore
from outside import frame

RUN = "api/v1/timelines/t/run"
FRAMES = 45


def noise(side: int) -> bytes:
    """Return a square PNG that hardly compresses."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def parts_of(answer: httpx.Response) -> dict[str, bytes]:
    """Return the parts of a multipart response by name, as Python's parser reads them."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    parts: dict[str, bytes] = {}
    for part in message.iter_parts():
        assert isinstance(part, email.message.EmailMessage)
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        name = part.get_param("name", header="content-disposition")
        assert name == part.get_filename()
        parts[str(name)] = data
    return parts


@pytest.fixture
def cache(served_url: str) -> FrameCache:
    cache = FrameCache(served_url)
    cache.timeline("t").extract(clips.chunks())
    return cache


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, uncached()) as service:
        yield service


@pytest.mark.every_store
def test_run_returns_stored_frame_bytes_in_order(service: Service, cache: FrameCache) -> None:
    parts = parts_of(service.get(RUN, params={"position": 30, "count": 5}))
    stored = cache.timeline("t").jpegs(range(30, 35))
    assert parts == dict(zip([f"frames/{one}.jpg" for one in range(30, 35)], stored, strict=True))
    assert list(parts) == sorted(parts)


def test_run_returns_requested_overlays_after_their_frame(
    service: Service, cache: FrameCache
) -> None:
    drawn = {one: noise(one) for one in range(8, 12)}
    edges = cache.timeline("t").overlays(job_id="run-7", stage="edges")
    edges.save(3, {"canny": drawn[8], "sobel": drawn[9]})
    edges.save(5, {"canny": drawn[10]})
    cache.timeline("t").overlays(job_id="run-8", stage="boxes").save(3, {"cars": drawn[11]})
    asked = ["run-7/edges/canny", "run-8/boxes/cars"]
    parts = parts_of(service.get(RUN, params={"position": 3, "count": 3, "overlay": asked}))
    assert list(parts) == [
        "frames/3.jpg",
        "overlays/run-7/edges/3/canny.png",
        "overlays/run-8/boxes/3/cars.png",
        "frames/4.jpg",
        "frames/5.jpg",
        "overlays/run-7/edges/5/canny.png",
    ]
    assert parts["overlays/run-7/edges/3/canny.png"] == drawn[8]
    assert parts["overlays/run-8/boxes/3/cars.png"] == drawn[11]
    assert parts["overlays/run-7/edges/5/canny.png"] == drawn[10]


def test_run_ends_at_the_last_frame(service: Service) -> None:
    parts = parts_of(service.get(RUN, params={"position": FRAMES - 2, "count": 50}))
    assert list(parts) == [f"frames/{FRAMES - 2}.jpg", f"frames/{FRAMES - 1}.jpg"]
    assert parts_of(service.get(RUN, params={"position": FRAMES})) == {}


def test_run_skips_undecodable_frames(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.ends_in_garbage())
    with serving(cache, uncached()) as service:
        page = service.json("api/v1/timelines/t/frames")
        sound = [one["sequence"] for one in page["frames"] if one["status"] == "ok"]
        parts = parts_of(service.get(RUN, params={"position": 0, "count": 250}))
    assert 0 < len(sound) < len(page["frames"])
    assert list(parts) == [f"frames/{one}.jpg" for one in sound]


def test_run_ends_at_16_mib_after_a_whole_frame(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.clip())
    edges = cache.timeline("t").overlays(job_id="run-7", stage="edges")
    large = noise(1000)
    assert 2.9e6 < len(large) < 4 * 2**20
    edges.save_many({one: {"a": large, "b": large} for one in range(6)})
    asked = {"position": 0, "count": 6, "overlay": ["run-7/edges/a", "run-7/edges/b"]}
    with serving(cache, uncached()) as service:
        parts = parts_of(service.get(RUN, params=asked))
    assert [one for one in parts if one.startswith("frames/")] == [
        f"frames/{one}.jpg" for one in range(3)
    ]
    assert len(parts) == 9


def test_run_omits_overlay_above_4_mib(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.clip())
    cache.timeline("t").overlays(job_id="run-7", stage="edges").save(0, {"a": noise(1300)})
    with serving(cache, uncached()) as service:
        asked = {"position": 0, "count": 1, "overlay": "run-7/edges/a"}
        assert list(parts_of(service.get(RUN, params=asked))) == ["frames/0.jpg"]
        assert service.get("api/v1/timelines/t/overlays/run-7/edges/0/a.png").status_code == 200


def test_run_ends_after_a_thousand_overlay_lookups(memory_url: str) -> None:
    looked_for: list[str] = []

    def note(_: Action, key: str) -> None:
        if "/overlays/" in key:
            looked_for.append(key)

    cache = FrameCache(memory_url)
    cache.timeline("t").write([frame(sequence) for sequence in range(100)])
    store = HookedStore(cache.store, before=note)
    layers = [f"run-7/edges/{number}" for number in range(16)]
    with serving(over(store), uncached()) as service:
        asked = {"position": 0, "count": 100, "overlay": layers}
        parts = parts_of(service.get(RUN, params=asked))
    assert list(parts) == [f"frames/{sequence}.jpg" for sequence in range(62)]
    assert len(looked_for) == 62 * 16


@pytest.mark.parametrize("overlay", ["run-7/edges", "a/b/c/d", "../edges/x", "run-7//x", 'a/b/c"'])
def test_invalid_overlay_name_is_refused(service: Service, overlay: str) -> None:
    answer = service.get(RUN, params={"position": 0, "overlay": overlay})
    assert answer.status_code == 422


def test_run_of_unknown_timeline_is_not_cached(service: Service) -> None:
    answer = service.get("api/v1/timelines/nothing/run", params={"position": 0})
    assert problem_of(answer) == (404, "not_cached")


def test_runs_beyond_limit_are_refused(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.clip())
    limits = Limits(pages_at_once=1, pages_waiting=0)
    with serving(cache, ServiceSettings(limits=limits)) as service:
        with service.inside.work_limits.pages.slot():
            assert problem_of(service.get(RUN, params={"position": 0})) == (429, "rate_limited")
        assert service.get(RUN, params={"position": 0}).status_code == 200
