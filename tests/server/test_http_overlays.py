"""Overlays and sheets of thumbnails over HTTP."""

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import clips
import numpy as np
import pytest
from PIL import Image
from served import Service, problem_of, serving, uncached

from framecache import FrameCache, functional
from framecache.server import Limits, ServiceSettings
from outside import frame, outside

STAGE: Final = "api/v1/timelines/t/overlays/run-7/edges"
FRAMES: Final = 45


def png(shade: int, size: tuple[int, int] = (clips.WIDTH, clips.HEIGHT)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def cache(served_url: str) -> FrameCache:
    cache = FrameCache(served_url)
    cache.timeline("t").extract(clips.chunks())
    return cache


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, uncached()) as service:
        yield service


def save(service: Service, path: str, overlays: dict[str, bytes]) -> None:
    body = {name: encoded(data) for name, data in overlays.items()}
    answer = service.client.put(path, json=body)
    assert answer.status_code == 204, answer.text


@pytest.mark.every_store
def test_overlays_saved_over_http_equal_those_of_functional_api(
    service: Service, cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", cache.url)
    saved = {"a": encoded(png(1)), "b_c": encoded(png(2))}
    assert service.client.put(f"{STAGE}/3", json=saved).status_code == 204
    assert functional.load_overlays("t", "run-7", "edges", 3) == saved
    functional.save_overlays("t", "run-7", "edges", 4, saved)
    assert service.json(f"{STAGE}/4") == saved


def test_overlay_is_served_byte_identical_with_etag(service: Service) -> None:
    answer = service.client.put(
        f"{STAGE}/3/mask.png", content=png(9), headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 204
    answer = service.get(f"{STAGE}/3/mask.png")
    assert answer.content == png(9)
    assert answer.headers["content-type"] == "image/png"
    held = {"If-None-Match": answer.headers["etag"]}
    assert service.get(f"{STAGE}/3/mask.png", headers=held).status_code == 304
    save(service, f"{STAGE}/3", {"mask": png(10)})
    assert service.get(f"{STAGE}/3/mask.png", headers=held).content == png(10)


def test_overlays_are_deleted_by_name_by_frame_and_by_stage(service: Service) -> None:
    for sequence in (1, 2, 3):
        save(service, f"{STAGE}/{sequence}", {"a": png(1), "b": png(2)})
    assert service.client.delete(f"{STAGE}/1/a.png").status_code == 204
    assert list(service.json(f"{STAGE}/1")) == ["b"]
    assert service.client.delete(f"{STAGE}/2").status_code == 204
    assert problem_of(service.get(f"{STAGE}/2")) == (404, "not_cached")
    assert service.client.delete(STAGE).json() == {"removed": 3}
    assert service.json(STAGE)["sequence"] == []


def test_stage_is_listed_in_columns(service: Service) -> None:
    save(service, f"{STAGE}/5", {"b": png(1), "a": png(2)})
    save(service, f"{STAGE}/2", {"a": png(1)})
    assert service.json(STAGE) == {
        "sequence": [2, 5],
        "names": [["a"], ["a", "b"]],
        "stale": [False, False],
    }


def test_overlays_of_other_size_than_their_frame_are_stored_and_listed(
    service: Service,
) -> None:
    save(service, f"{STAGE}/5", {"a": png(1), "b": png(2, (16, 16))})
    save(service, f"{STAGE}/2", {"a": png(1)})
    listed = service.json(f"{STAGE}?sizes=true")
    assert listed["sequence"] == [2, 5]
    assert listed["other_size"] == [False, True]


def test_ids_are_percent_encoded_in_urls(service: Service) -> None:
    name = "2024-01-02T03:04:05+01:00,a=b@c~d"
    stage = f"api/v1/timelines/t/overlays/{quote(name, safe='')}/{quote(name, safe='')}"
    save(service, f"{stage}/5", {name: png(1)})
    assert service.json("api/v1/timelines/t/overlays")[name][name]["names"] == {name: 1}
    answer = service.client.get(f"{stage}/5/{quote(name, safe='')}.png")
    assert answer.content == png(1)


def test_jobs_are_counted_by_frame_and_name(service: Service) -> None:
    save(service, f"{STAGE}/5", {"b": png(1), "a": png(2)})
    save(service, f"{STAGE}/2", {"a": png(1)})
    counted = {"frame_count": 2, "names": {"a": 2, "b": 1}, "stale_count": 0}
    expected = {"run-7": {"edges": counted}}
    assert service.json("api/v1/timelines/t/overlays") == expected
    assert service.json("api/v1/timelines/t")["jobs"] == expected


def test_overlays_older_than_rebuilt_frame_are_stale(local_url: str) -> None:
    cache = FrameCache(local_url)
    cache.timeline("t").extract(clips.clip())
    with serving(cache, uncached()) as service:
        save(service, f"{STAGE}/4", {"a": png(1)})
        file = Path(local_url) / "cache/timelines/t/overlays/run-7/edges/4_a.png"
        os.utime(file, (0, 0))  # the store's clock has whole seconds
        cache.timeline("t").rebuild(every=4)
        assert service.json(STAGE)["stale"] == [True]
        jobs = service.json("api/v1/timelines/t")["jobs"]
    assert jobs["run-7"]["edges"]["stale_count"] == 1


def test_stages_are_compared_by_bytes(service: Service) -> None:
    other = STAGE.replace("run-7", "run-8")
    for sequence, shade in ((1, 1), (2, 2)):
        save(service, f"{STAGE}/{sequence}", {"a": png(1), "b": png(5)})
        save(service, f"{other}/{sequence}", {"a": png(shade), "b": png(5)})
    query = {"job": "run-8", "stage": "edges"}
    differing = service.json(f"{STAGE}/compare", params=query)
    assert differing == {"sequence": [2], "names": [["a"]]}


@pytest.mark.parametrize(
    ("overlays", "status"),
    [
        ({"a": "not base64"}, 422),
        ({"a": encoded(b"not a png")}, 422),
        ({"a": encoded(png(1)[:-9])}, 422),
        ({"../a": encoded(png(1))}, 422),
        ({}, 422),
        ([], 422),
        ({"a": 1}, 422),
    ],
)
def test_invalid_overlays_are_refused_and_not_stored(
    service: Service, cache: FrameCache, overlays: object, status: int
) -> None:
    answer = service.client.put(f"{STAGE}/3", json=overlays)
    assert problem_of(answer)[0] == status
    assert list(cache.store.list("cache/timelines/t/overlays")) == []


@pytest.mark.parametrize(("kind", "status"), [("text/html", 415), ("image/png", 422)])
def test_body_that_is_not_png_is_refused(service: Service, kind: str, status: int) -> None:
    headers = {"Content-Type": kind}
    answer = service.client.put(f"{STAGE}/3/a.png", content=b"<script>", headers=headers)
    assert problem_of(answer)[0] == status


def test_sprite_map_covers_every_frame_once_in_order(service: Service) -> None:
    found = service.json("api/v1/timelines/t/sprites")
    assert found["sheet_count"] == len(found["sheets"])
    covered = [
        position
        for sheet in found["sheets"]
        for position in range(sheet["first_position"], sheet["first_position"] + sheet["count"])
    ]
    assert covered == list(range(FRAMES))
    size = {name: found[name] for name in ("columns", "rows", "tile_width", "tile_height")}
    detail = service.json("api/v1/timelines/t")["sprites"]
    assert detail == size | {"sheet_count": found["sheet_count"]}


def test_sprite_sheet_shows_frame_at_its_mapped_tile(service: Service, cache: FrameCache) -> None:
    found = service.json("api/v1/timelines/t/sprites")
    number = len(found["sheets"]) - 1
    last = found["sheets"][number]
    answer = service.get(f"api/v1/timelines/t/sprites/{number}.jpg")
    width, height = found["tile_width"], found["tile_height"]
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.width == found["columns"] * width
        row, column = divmod(last["count"] - 1, found["columns"])
        box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
        tile = np.asarray(sheet.convert("RGB").crop(box), dtype=np.float64)
    frame = Image.fromarray(cache.timeline("t").frame(FRAMES - 1).image)
    expected = np.asarray(frame.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    assert np.abs(tile - expected).mean() < 12


def test_sprite_sheet_with_version_is_immutable(service: Service) -> None:
    version = service.json("api/v1/timelines/t")["version"]
    answer = service.get("api/v1/timelines/t/sprites/0.jpg", params={"v": version})
    assert "immutable" in answer.headers["cache-control"]
    held = {"If-None-Match": answer.headers["etag"]}
    assert service.get("api/v1/timelines/t/sprites/0.jpg", headers=held).status_code == 304


def test_sprite_sheet_with_damaged_frame_is_not_immutable_until_repaired(
    memory_url: str,
) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").extract(clips.clip(), every=3)
    key = "cache/timelines/t/frames/2.jpg"
    sound = outside(memory_url).read(key)
    outside(memory_url).put(key, b"damaged")
    with serving(cache, uncached()) as service:
        version = service.json("api/v1/timelines/t")["version"]
        damaged = service.get(f"api/v1/timelines/t/sprites/0.jpg?v={version}")
        outside(memory_url).put(key, sound)
        whole = service.get(f"api/v1/timelines/t/sprites/0.jpg?v={version}")
        again = service.get(f"api/v1/timelines/t/sprites/0.jpg?v={version}")
    assert damaged.content != whole.content
    assert damaged.headers["cache-control"] == "private, no-cache"
    assert "immutable" in whole.headers["cache-control"]
    assert (again.content, again.headers["etag"]) == (whole.content, whole.headers["etag"])


def test_sprite_sheet_belongs_to_its_requested_version(memory_url: str) -> None:
    cache = FrameCache(memory_url)
    cache.timeline("t").write([frame(one) for one in range(4)])
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    with serving(cache, settings) as service:
        version = service.json("api/v1/timelines/t")["version"]
        cache.timeline("t").write([frame(one) for one in range(4, 44)])
        # A client that saves overlays of the wrong size refreshes the timeline.
        wrong = png(1, (1, 1))
        service.client.put(f"{STAGE}/0", json={"a": encoded(wrong)})
        shown = service.get(f"api/v1/timelines/t/sprites/0.jpg?v={version}")
        found = service.json("api/v1/timelines/t/sprites")
    assert [sheet["count"] for sheet in found["sheets"]] == [4]
    with Image.open(io.BytesIO(shown.content)) as sheet:
        assert sheet.height == found["tile_height"]


def test_unknown_sprite_sheet_is_not_found(service: Service) -> None:
    assert problem_of(service.get("api/v1/timelines/t/sprites/99.jpg")) == (404, "not_cached")
