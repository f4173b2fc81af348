"""Videos in the body of a request."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clips
import pytest
from served import Service, problem_of, serving, until

from framecache import FrameCache
from framecache._index import lease
from framecache.server import Limits, ServiceSettings

UPLOAD = "api/v1/timelines/t/uploads/a.mp4"
KEY = "uploads/t/a.mp4"
LEASES = "service/receiving/t/a.mp4"


@pytest.fixture
def cache(served_url: str) -> FrameCache:
    return FrameCache(served_url)


@pytest.fixture
def service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache) as service:
        yield service


def upload_headers(length: int) -> bytes:
    """Return the headers of an upload, without its body."""
    lines = [f"PUT /{UPLOAD} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode()


def put(service: Service, content: bytes) -> int:
    return service.client.put(UPLOAD, content=content).status_code


@pytest.mark.every_store
def test_upload_is_stored_byte_identical(service: Service, cache: FrameCache) -> None:
    content = clips.clip().read_bytes()
    answer = service.client.put(UPLOAD, content=content)
    assert answer.status_code == 201
    assert answer.json() == {"chunk": "upload:a.mp4", "size_bytes": len(content)}
    assert cache.store.get(KEY) == content
    assert [blob.key for blob in cache.store.list("service")] == []


def test_upload_is_extracted_as_a_chunk(service: Service) -> None:
    put(service, clips.clip().read_bytes())
    body = {"chunks": ["upload:a.mp4"], "every": 5}
    task = service.task(service.client.post("api/v1/timelines/t/extract", json=body))
    assert (task["state"], task["result"]["frame_count"]) == ("done", 9)
    (chunk,) = service.json("api/v1/timelines/t")["chunks"]
    assert chunk["name"] == "a.mp4"
    rebuilt = service.client.post("api/v1/timelines/t/rebuild")
    assert service.task(rebuilt)["state"] == "done"


def test_upload_of_other_timeline_is_refused_as_chunk(service: Service, cache: FrameCache) -> None:
    put(service, clips.clip().read_bytes())
    for chunk in (f"{cache.url}/{KEY}", "upload:a.mp4"):
        answer = service.client.post("api/v1/timelines/u/extract", json={"chunks": [chunk]})
        if answer.status_code == 202:
            assert service.task(answer)["state"] == "failed"
        else:
            assert problem_of(answer) == (403, "chunk_not_allowed")


@pytest.mark.every_store
def test_upload_with_existing_name_is_refused(service: Service, cache: FrameCache) -> None:
    assert put(service, b"first") == 201
    assert problem_of(service.client.put(UPLOAD, content=b"second")) == (409, "upload_exists")
    assert cache.store.get(KEY) == b"first"


def test_concurrent_upload_of_same_name_is_refused(service: Service, cache: FrameCache) -> None:
    def slow() -> Iterator[bytes]:
        yield b"first"
        until(lambda: next(iter(cache.store.list("service")), None) is not None)
        assert put(service, b"second") == 409

    assert service.client.put(UPLOAD, content=slow()).status_code == 201
    assert cache.store.get(KEY) == b"first"


def test_upload_that_lost_its_lease_stores_nothing(
    service: Service, cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 3600.0)

    def slow() -> Iterator[bytes]:
        yield b"first"
        until(lambda: [*cache.store.list("service")])
        cache.store.delete([f"{LEASES}/video-0.json"])
        cache.store.create(f"{LEASES}/video-1.json", b"of another service")
        monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.0)

    answer = service.client.put(UPLOAD, content=slow())
    assert problem_of(answer) == (409, "upload_exists")
    assert [*cache.store.list("uploads")] == []


def test_upload_survives_clear_delete_and_gc(service: Service, cache: FrameCache) -> None:
    put(service, clips.clip().read_bytes())
    body = {"chunks": ["upload:a.mp4"], "every": 20}
    service.task(service.client.post("api/v1/timelines/t/extract", json=body))
    service.task(service.client.post("api/v1/timelines/t/clear"))
    service.task(service.client.delete("api/v1/timelines/t"))
    cache.plan_gc(grace_seconds=0).execute()
    assert [blob.key for blob in cache.store.list("uploads")] == [KEY]


def test_extract_of_upload_that_is_not_video_fails(service: Service) -> None:
    put(service, b"#EXTM3U\nfile:///etc/passwd\n")
    answer = service.client.post("api/v1/timelines/t/extract", json={"chunks": ["upload:a.mp4"]})
    task = service.task(answer)
    assert task["state"] == "failed"
    assert "not a readable video" in task["problem"]


@pytest.mark.parametrize("send", [b"".join, iter], ids=["announced", "chunked"])
def test_too_large_upload_stores_nothing(
    cache: FrameCache, send: Callable[[list[bytes]], bytes | Iterator[bytes]]
) -> None:
    settings = ServiceSettings(limits=Limits(upload_bytes=10**6))
    blocks = [b"x" * 600_000] * 2
    with serving(cache, settings) as service:
        answer = service.client.put(UPLOAD, content=send(blocks))
    assert problem_of(answer) == (413, "too_large")
    assert list(cache.store.list("uploads")) == []
    assert list(cache.store.list("service")) == []


def test_aborted_upload_stores_nothing(service: Service, cache: FrameCache) -> None:
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(upload_headers(99_999_999))
        connection.sendall(b"x" * 100_000)
        until(lambda: service.inside.upload_limit)
    until(lambda: not service.inside.upload_limit)
    assert list(cache.store.list("uploads")) == []
    assert put(service, b"again") == 201


def test_stalled_upload_times_out(cache: FrameCache) -> None:
    settings = ServiceSettings(limits=Limits(upload_pause_seconds=0.05))
    with serving(cache, settings) as service:
        parts = urlsplit(service.url)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(upload_headers(9))
            assert connection.recv(12) == b"HTTP/1.1 408"
    assert list(cache.store.list("uploads")) == []


def test_uploads_beyond_limit_are_refused(cache: FrameCache) -> None:
    with serving(cache, ServiceSettings(limits=Limits(uploads_at_once=1))) as service:

        def slow() -> Iterator[bytes]:
            yield b"first"
            until(lambda: service.inside.upload_limit)
            other = service.client.put(f"{UPLOAD}.other", content=b"second")
            assert problem_of(other) == (429, "rate_limited")

        assert service.client.put(UPLOAD, content=slow()).status_code == 201


def test_upload_limit_of_zero_disables_uploads(cache: FrameCache) -> None:
    with serving(cache, ServiceSettings(limits=Limits(upload_bytes=0))) as service:
        assert problem_of(service.client.put(UPLOAD, content=b"")) == (403, "no_uploads")
        assert service.json("api/v1/session")["upload"] is False


def test_symlink_among_uploads_is_refused(local_url: str, tmp_path: Path) -> None:
    folder = Path(local_url) / "uploads" / "t"
    folder.mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(clips.clip().read_bytes())
    (folder / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    with serving(FrameCache(local_url)) as service:
        answer = service.client.post(
            "api/v1/timelines/t/extract", json={"chunks": ["upload:a.mp4"]}
        )
    assert problem_of(answer) == (403, "chunk_not_allowed")
