"""Timelines and frames as documents, compared with the library and ffprobe."""

import base64
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import clips
import numpy as np
import pytest
from served import Service, over, problem_of, serving, uncached

from framecache import Frame, FrameCache
from framecache.server import Limits, ServiceSettings
from framecache.testing import HookedStore

FRAMES = 45


@pytest.fixture
def cache(served_url: str) -> FrameCache:
    """A cache with one timeline, ``t``, of three chunks and 45 frames."""
    cache = FrameCache(served_url)
    cache.timeline("t").extract(clips.chunks())
    return cache


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, uncached()) as service:
        yield service


@pytest.mark.every_store
def test_timeline_list_summarizes_each_timeline(service: Service) -> None:
    page = service.json("api/v1/timelines")
    (summary,) = page["timelines"]
    assert page["next"] is None
    assert summary["timeline_id"] == "t"
    assert summary["state"] == "complete"
    assert summary["frame_count"] == summary["cached_count"] == FRAMES
    assert (summary["width"], summary["height"]) == (clips.WIDTH, clips.HEIGHT)
    assert (summary["chunk_count"], summary["chunks_cached"]) == (3, 3)
    assert (summary["segment_count"], summary["segments_cached"]) == (3, 3)
    assert summary["duration_seconds"] == pytest.approx(FRAMES / 25)


def test_timeline_poster_is_an_immutable_jpeg(service: Service) -> None:
    (summary,) = service.json("api/v1/timelines")["timelines"]
    answer = service.get(summary["poster"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]


def test_timeline_list_pages_follow_each_other(local_url: str) -> None:
    cache = FrameCache(local_url)
    names = [f"m{number}" for number in range(5)]
    image = np.zeros((16, 16, 3), np.uint8)
    for name in [*names, "other"]:
        cache.timeline(name).write([Frame(0, 0, 0.0, image)])
    listed: list[str] = []
    after = ""
    with serving(cache) as service:
        while True:
            page = service.json("api/v1/timelines", params={"q": "m", "limit": 2, "after": after})
            listed += [one["timeline_id"] for one in page["timelines"]]
            if page["next"] is None:
                break
            after = page["next"]
    assert listed == names


def test_unreadable_timeline_is_listed_with_its_problem(
    local_url: str,
) -> None:
    cache = FrameCache(local_url)
    image = np.zeros((16, 16, 3), np.uint8)
    for name in ("damaged", "sound"):
        cache.timeline(name).write([Frame(0, 0, 0.0, image)])
    for manifest in Path(local_url).glob("cache/timelines/damaged/timeline/*.json"):
        manifest.write_bytes(b"{}")
    with serving(cache) as service:
        damaged, sound = service.json("api/v1/timelines")["timelines"]
    assert (damaged["state"], sound["state"]) == ("unreadable", "complete")
    assert damaged["problem"]
    assert sound["problem"] is None


def test_timeline_detail_describes_its_chunks(service: Service) -> None:
    detail = service.json("api/v1/timelines/t")
    chunks = detail["chunks"]
    assert [one["name"] for one in chunks] == [path.name for path in clips.chunks()]
    assert [one["frame_count"] for one in chunks] == [20, 10, 15]
    assert [one["first_sequence"] for one in chunks] == [0, 20, 30]
    assert all(one["cached"] for one in chunks)
    assert (detail["first_sequence"], detail["last_sequence"]) == (0, FRAMES - 1)
    assert detail["sampling"] == "every frame"


def test_timeline_version_changes_with_rebuild(service: Service, cache: FrameCache) -> None:
    before = service.json("api/v1/timelines/t")["version"]
    assert service.json("api/v1/timelines/t")["version"] == before
    cache.timeline("t").rebuild(quality=50)
    assert service.json("api/v1/timelines/t")["version"] != before


@pytest.mark.parametrize(
    "path",
    ["", "/frames", "/frames/0", "/frames/0.jpg", "/at/0", "/at/0.jpg", "/overview", "/sprites"],
)
def test_unknown_timeline_is_not_cached(service: Service, path: str) -> None:
    assert problem_of(service.get(f"api/v1/timelines/none{path}")) == (404, "not_cached")


def test_listed_frames_equal_the_index(service: Service, cache: FrameCache) -> None:
    index = cache.timeline("t").index
    frames = service.json("api/v1/timelines/t/frames")["frames"]
    assert [one["sequence"] for one in frames] == index.sequence.tolist()
    assert [one["position"] for one in frames] == list(range(FRAMES))
    assert [one["timestamp"] for one in frames] == index.timestamp.tolist()
    assert [one["size_bytes"] for one in frames] == index.size.tolist()
    assert [one["perceptual_hash"] for one in frames] == index.perceptual_hash.tolist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"start": 10, "stop": 13}, [10, 11, 12]),
        ({"start": 40, "step": 3}, [40, 43]),
        ({"stop": 2}, [0, 1]),
        ({"start": 30, "stop": 20}, []),
        ({"start": 100}, []),
        ({"position": 43, "count": 5}, [43, 44]),
        ({"position": 45}, []),
    ],
)
def test_frame_range_is_half_open(
    service: Service, query: dict[str, int], expected: list[int]
) -> None:
    frames = service.json("api/v1/timelines/t/frames", params=query)["frames"]
    assert [one["sequence"] for one in frames] == expected


@pytest.mark.parametrize("embed", [{}, {"embed": "jpeg_b64"}])
def test_frame_pages_follow_each_other(service: Service, embed: dict[str, str]) -> None:
    listed: list[int] = []
    start: int | None = 1
    while start is not None:
        query = {"start": start, "step": 2, "limit": 7} | embed
        page = service.json("api/v1/timelines/t/frames", params=query)
        listed += [one["seq"] if embed else one["sequence"] for one in page["frames"]]
        start = page["next_start"]
    assert listed == list(range(1, FRAMES, 2))


def test_embedded_frames_equal_dicts_of_functional_api(service: Service, cache: FrameCache) -> None:
    timeline = cache.timeline("t")
    query = {"embed": "jpeg_b64", "start": 3, "stop": 6}
    frames = service.json("api/v1/timelines/t/frames", params=query)["frames"]
    assert frames == [
        {
            "seq": sequence,
            "timestamp": timeline.frame(sequence).timestamp,
            "jpeg_b64": base64.b64encode(timeline.jpeg(sequence)).decode(),
        }
        for sequence in (3, 4, 5)
    ]


@pytest.mark.parametrize("count", [3, 20])
def test_embedded_frames_of_rewritten_timeline_are_the_new_ones(
    memory_url: str, count: int
) -> None:
    cache = FrameCache(memory_url)

    def write(sequences: range) -> None:
        cache.timeline("t").write(
            [Frame(one, 0, one / 10, np.full((16, 16, 3), one, np.uint8)) for one in sequences]
        )

    write(range(10))
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        service.json("api/v1/timelines/t")
        cache.timeline("t").clear()
        write(range(100, 100 + count))
        page = service.json("api/v1/timelines/t/frames", params={"embed": "jpeg_b64", "limit": 10})
    expected = list(range(100, 100 + min(count, 10)))
    assert [one["seq"] for one in page["frames"]] == expected
    pictures = [base64.b64decode(one["jpeg_b64"]) for one in page["frames"]]
    assert pictures == list(cache.timeline("t").jpegs(expected))
    assert page["next_start"] == (110 if count > 10 else None)


def test_replaced_frame_has_its_new_time_in_pages_and_by_time(
    memory_url: str,
) -> None:
    cache = FrameCache(memory_url)

    def image(level: int) -> np.ndarray:
        return np.full((16, 16, 3), level, np.uint8)

    cache.timeline("t").write([Frame(n, 0, float(n), image(20 * n)) for n in range(3)])
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        service.json("api/v1/timelines/t")
        cache.timeline("t").write([Frame(1, 0, 1.75, image(200))], on_conflict="replace")
        page = service.json("api/v1/timelines/t/frames", params={"embed": "jpeg_b64"})
        at_time = service.get("api/v1/timelines/t/at/1.5.jpg")
    assert [(one["seq"], one["timestamp"]) for one in page["frames"]] == [
        (0, 0.0),
        (1, 1.75),
        (2, 2.0),
    ]
    assert base64.b64decode(page["frames"][1]["jpeg_b64"]) == cache.timeline("t").jpeg(1)
    assert at_time.content == cache.timeline("t").jpeg(0), "frame 1 is not on screen yet"


def test_page_start_by_position_and_sequence_is_refused(service: Service) -> None:
    answer = service.get("api/v1/timelines/t/frames", params={"position": 1, "start": 1})
    assert problem_of(answer) == (422, "invalid_value")


@pytest.mark.parametrize("seconds", [0.0, 0.5, 0.79, 0.81, 1.79])
def test_frame_at_time_is_the_one_ffprobe_shows(service: Service, seconds: float) -> None:
    shown = [one for one in clips.timeline_of(clips.chunks()) if one.start <= seconds]
    frame = service.json(f"api/v1/timelines/t/at/{seconds}")
    assert frame["sequence"] == len(shown) - 1


@pytest.mark.parametrize("text", ["0.8", "0.80s", "0:00.8", "0:00:00.800", "0.8%20s", "8e-1"])
def test_every_time_format_finds_the_frame(service: Service, text: str) -> None:
    assert service.json(f"api/v1/timelines/t/at/{text}")["sequence"] == 20
    pictures = [
        service.get(f"api/v1/timelines/t/{name}.jpg") for name in (f"at/{text}", "frames/20")
    ]
    assert pictures[0].content == pictures[1].content


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001"])
def test_timestamp_from_document_finds_its_frame(cache: FrameCache, rate: str) -> None:
    cache.timeline("ntsc").extract(clips.clip(rate=rate))
    fps = float(Fraction(rate))
    with serving(cache, uncached()) as service:
        listed = service.json("api/v1/timelines/ntsc/frames")["frames"]
        assert len(listed) == 45
        for n, frame in enumerate(listed):
            for text in (frame["timestamp"], n / fps, f"{n / fps:.3f}", f"{n / fps:.2f}"):
                assert service.json(f"api/v1/timelines/ntsc/at/{text}")["sequence"] == n


def test_given_tolerance_widens_the_lookup(service: Service) -> None:
    def at(text: str, tolerance: str) -> int:
        given = {"tolerance_seconds": tolerance}
        found = service.json(f"api/v1/timelines/t/at/{text}", params=given)["sequence"]
        assert isinstance(found, int)
        return found

    assert [at("0.79", tolerance) for tolerance in ("0", "0.01", "0.1s")] == [19, 20, 20]


@pytest.mark.parametrize(
    ("text", "given"),
    [("x", {}), ("1:75", {}), ("nan", {}), ("1", {"tolerance_seconds": "-1"}), ("9" * 81, {})],
)
def test_invalid_time_is_refused(service: Service, text: str, given: dict[str, str]) -> None:
    answer = service.get(f"api/v1/timelines/t/at/{text}", params=given)
    assert problem_of(answer) == (422, "invalid_value")


def test_time_after_end_is_not_cached(service: Service) -> None:
    assert problem_of(service.get("api/v1/timelines/t/at/1.81")) == (404, "not_cached")


def test_overview_counts_every_position_once(service: Service, cache: FrameCache) -> None:
    overview = service.json("api/v1/timelines/t/overview", params={"buckets": 10})
    index = cache.timeline("t").index
    assert (overview["count"], overview["bucket_size"]) == (FRAMES, 5)
    assert overview["first_sequence"] == list(range(0, FRAMES, 5))
    assert overview["chunk_id"] == index.chunk_id[::5].tolist()
    assert overview["undecodable"] == [0] * 9
    assert overview["gap"] == [False] * 9


def test_overview_change_is_the_greatest_hash_distance_in_bucket(
    service: Service, cache: FrameCache
) -> None:
    hashes = [int(one, 16) for one in cache.timeline("t").index.perceptual_hash]
    distances = [(one ^ other).bit_count() / 64 for one, other in pairwise(hashes)]
    overview = service.json("api/v1/timelines/t/overview", params={"buckets": 5})
    starts = range(0, FRAMES, 9)
    assert overview["change"] == [max(distances[max(0, start - 1) : start + 8]) for start in starts]


def test_change_of_hashes_that_are_other_text_is_unknown(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    image = np.zeros((16, 16, 3), np.uint8)
    texts = ["0" * 16, "f" * 15 + "e", "no hexadecimals.", " 0" * 8, "0" * 16, "f" * 16]
    frames = [Frame(n, 0, n / 10, image, text) for n, text in enumerate(texts)]
    cache.timeline("t").write(frames)
    with serving(cache) as service:
        overview = service.json("api/v1/timelines/t/overview")
    assert overview["change"] == [None, 63 / 64, None, None, None, 1]


def test_overview_shows_gaps_and_undecodable_frames(local_url: str) -> None:
    cache = FrameCache(local_url)
    image = np.zeros((16, 16, 3), np.uint8)
    cache.timeline("gap").write([Frame(one, 0, one / 10, image) for one in (1, 2, 5, 6)])
    cache.timeline("bad").extract(clips.ends_in_garbage())
    with serving(cache) as service:
        gap = service.json("api/v1/timelines/gap/overview")
        bad = service.json("api/v1/timelines/bad/overview", params={"buckets": 1})
    assert gap["first_sequence"] == [1, 2, 5, 6]
    assert gap["gap"] == [True, False, True, False]
    undecodable = int((~cache.timeline("bad").index.is_ok).sum())
    assert bad["undecodable"] == [undecodable]
    assert undecodable


@pytest.mark.parametrize("said", ["no-cache", "max-age=0, No-Cache"])
def test_no_cache_request_returns_the_latest_timeline(memory_url: str, said: str) -> None:
    cache = FrameCache(memory_url)
    image = np.zeros((16, 16, 3), np.uint8)
    cache.timeline("t").write([Frame(0, 0, 0.0, image)])
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        assert service.json("api/v1/timelines/t")["frame_count"] == 1
        cache.timeline("t").write([Frame(1, 0, 0.1, image)])
        assert service.json("api/v1/timelines/t")["frame_count"] == 1
        latest = service.json("api/v1/timelines/t", headers={"Cache-Control": said})
        assert latest["frame_count"] == 2
        assert len(service.json("api/v1/timelines/t/frames")["frames"]) == 2


def test_frames_of_unindexed_prefix_are_served(local_url: str, cache: FrameCache) -> None:
    folder = Path(local_url) / "cache/timelines/plain/frames"
    folder.mkdir(parents=True)
    for sequence in (0, 3):
        data = cache.timeline("t").jpeg(sequence)
        (folder / f"{sequence}.jpg").write_bytes(data)
    with serving(FrameCache(local_url)) as service:
        frames = service.json("api/v1/timelines/plain/frames")["frames"]
        answer = service.get("api/v1/timelines/plain/frames/3.jpg")
    assert [one["sequence"] for one in frames] == [0, 3]
    assert answer.content == cache.timeline("t").jpeg(3)


def test_scrubbing_takes_one_store_request_per_frame(local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract(clips.chunks())
    store = HookedStore(FrameCache(local_url).store)
    with serving(over(store)) as service:
        service.get("api/v1/timelines/t/frames/0.jpg")
        store.requests.clear()
        for sequence in range(1, 11):
            assert service.get(f"api/v1/timelines/t/frames/{sequence}.jpg").status_code == 200
    frames = [("get", f"cache/timelines/t/frames/{one}.jpg") for one in range(1, 11)]
    looks = [one for one in store.requests if one not in frames]
    assert [one for one in store.requests if one in frames] == frames
    # If a second has passed since, the service checks for a newer manifest.
    assert all(key.startswith("cache/timelines/t/timeline/") for _, key in looks)
