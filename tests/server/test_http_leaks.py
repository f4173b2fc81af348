"""Responses reveal nothing about the store: no URL, keys, folder or error messages of it."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import clips
import httpx
import numpy as np
import pytest
from PIL import Image
from served import Service, over, problem_of, serving, uncached

from framecache import Frame, FrameCache, StorePermissionDenied, StoreUnavailable
from framecache.server import create_app
from framecache.testing import HookedStore
from network import Proxy, slow_down

SECRET: Final = "s3cret-bucket"
ODD_ID: Final = [
    *["..", "...", "a..b", ".hidden", "-rf", "_t", "a" * 129, "%00", "a%0a", "a%20b", "%c3%a4"],
    *["..%2f..%2fetc", "..%5c", "%2e%2e", "a%2fb", "file:%2f%2f%2fetc", "a%0d%0aX-Evil:1", "a;b"],
]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), 1).save(buffer, "PNG")
    return buffer.getvalue()


def requests(timeline_id: str = "t") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield a request of each operation of the OpenAPI document."""
    paths = create_app(FrameCache("memory://")).openapi()["paths"]
    values = {
        "timeline_id": timeline_id,
        "job_id": "j",
        "stage": "s",
        "sequence": "0",
        "seconds": "0.0",
        "name": "a",
        "number": "0",
        "task_id": "20260101T000000000000-0123456789abcdef",
    }
    bodies: dict[str, dict[str, Any]] = {
        "/extract": {"json": {"chunks": ["upload:a"]}},
        "/uploads/{name}": {"content": b"a"},
        "/{name}.png": {"content": png(), "headers": {"Content-Type": "image/png"}},
        "/{stage}/{sequence}": {"json": {"a": base64.b64encode(png()).decode()}},
        "/session": {"json": {"token": "x" * 20}},
    }
    for path, item in paths.items():
        for method in item:
            if path == "/api/v1/events":
                continue
            ending = next((end for end in bodies if path.endswith(end)), None)
            given = bodies[ending] if ending and method in {"put", "post"} else {}
            query = "?job=j&stage=s" if path.endswith("compare") else ""
            yield method, path.lstrip("/").format(**values) + query, given


def responses_of_all_operations(
    service: Service, timeline_id: str = "t"
) -> Iterator[tuple[str, httpx.Response]]:
    """Return the response of each operation, deletes last."""
    found = sorted(requests(timeline_id), key=lambda one: one[0] == "delete")
    for method, path, given in found:
        yield f"{method} {path}", service.client.request(method, path, **given)
    yield "get api/v1/timelines", service.get("api/v1/timelines")
    for task in service.json("api/v1/tasks")["tasks"]:
        yield f"task {task['kind']}", service.get(f"api/v1/tasks/{task['task_id']}")


def text_of(answer: httpx.Response) -> str:
    return json.dumps(dict(answer.headers)) + answer.text


def filled(url: str) -> FrameCache:
    cache = FrameCache(url)
    cache.timeline("t").write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    return cache


@pytest.mark.parametrize(
    ("kind", "after", "least"),
    [
        (StorePermissionDenied, 1, 20),
        *((StoreUnavailable, *one) for one in enumerate((20, 20, 20, 15, 5, 1))),
    ],
)
def test_store_failure_response_hides_store_location(
    tmp_path: Path, kind: type[Exception], after: int, least: int
) -> None:
    """Each store request after ``after`` fails, and with it at least ``least`` operations."""
    folder = tmp_path / SECRET
    cache = filled(str(folder))
    request_count = 0

    def fail(action: str, key: str) -> None:
        nonlocal request_count
        request_count += 1
        if request_count > after:
            raise kind(f"file://{folder}: cannot {action} {key!r}: <Error>{SECRET}</Error>")

    failed = 0
    with serving(over(HookedStore(cache.store, before=fail)), uncached()) as service:
        for method, path, given in requests():
            service.inside.timelines.invalidate("t")
            request_count = 0
            answer = service.client.request(method, path, **given)
            text = text_of(answer)
            assert SECRET not in text, path
            assert str(tmp_path) not in text, path
            assert "cache/timelines" not in text, path
            if answer.status_code >= 500:
                failed += 1
                assert problem_of(answer)[1] in {"store_denied", "store_unavailable"}
    assert failed >= least


def test_damaged_blob_response_hides_folder_path(tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    filled(str(folder))
    blobs = [path for path in folder.rglob("*") if path.is_file()]
    for broken in blobs:
        sound = broken.read_bytes()
        broken.write_bytes(b"damaged")
        with serving(FrameCache(str(folder)), uncached()) as service:
            for what, answer in [
                (path, service.client.request(method, path, **given))
                for method, path, given in requests()
                if method == "get"
            ]:
                assert SECRET not in text_of(answer), what
                assert str(tmp_path) not in text_of(answer), what
        broken.write_bytes(sound)


def test_object_store_error_response_hides_server_reply(s3_url: str, proxy: Proxy) -> None:
    cache = filled(s3_url)
    bucket = s3_url.removeprefix("s3://")
    with serving(cache, uncached()) as service:
        proxy.always(slow_down)
        answer = service.get("api/v1/timelines/t")
        assert problem_of(answer) == (503, "store_unavailable")
        assert answer.headers["retry-after"]
        for hidden in (bucket, proxy.endpoint, "SlowDown", "<Error>"):
            assert hidden not in text_of(answer)


def test_no_response_contains_store_location(tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    cache = FrameCache(str(folder))
    cache.timeline("t").extract(clips.clip(), every=20)
    with serving(cache, uncached()) as service:
        for what, answer in responses_of_all_operations(service):
            assert SECRET not in text_of(answer), what
            assert str(tmp_path) not in text_of(answer), what
            assert str(clips.clip().parent) not in text_of(answer), what


@pytest.mark.parametrize("odd_id", ODD_ID)
def test_hostile_id_is_refused_before_any_store_request(local_url: str, odd_id: str) -> None:
    store = HookedStore(FrameCache(local_url).store)
    with serving(over(store), uncached()) as service:
        until_resumed = [("list", "service/tasks/")]
        for method, path, given in requests("TIMELINE"):
            if "TIMELINE" not in path:
                continue
            answer = service.client.request(method, path.replace("TIMELINE", odd_id), **given)
            assert answer.status_code in {404, 405, 422}, path
            assert "x-evil" not in answer.headers
    assert [one for one in store.requests if one not in until_resumed] == []


@pytest.mark.parametrize("sequence", ["-1", "1.5", "a", "1e3", "0x1", "9" * 30, "%00", "1_0"])
def test_hostile_sequence_is_refused(local_url: str, sequence: str) -> None:
    with serving(filled(local_url)) as service:
        for path in (f"frames/{sequence}", f"frames/{sequence}.jpg", f"overlays/j/s/{sequence}"):
            assert service.get(f"api/v1/timelines/t/{path}").status_code in {404, 422}
