"""Failing networks and servers: typed errors within a time limit, and no wrong result."""

import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Final

import boto3
import numpy as np
import pytest

import network
from framecache import CorruptFrame, FrameCache
from framecache._index.blobs import blob_exists, create_verified
from framecache.errors import StoreUnavailable
from framecache.store import BlobExists, BlobMissing, Store, open_store
from media import made, make_clip
from network import Fault, Proxy

_BODY: Final = bytes(range(256)) * 400
_NEW: Final = b"the new body"
# Sum of the shortened deadlines below, with a large margin for a busy machine.
_LONGEST_SECONDS: Final = 15


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce timeouts from a minute to two seconds: silence, a whole request, and a retry."""
    shortened = {
        "_READ_TIMEOUT": 1.0,
        "_REQUEST_TIMEOUT": 2.0,
        "_RETRY_WINDOW": 1.0,
        "_INITIAL_BACKOFF": 0.01,
    }
    for name, seconds in shortened.items():
        monkeypatch.setattr(f"framecache.store.client_config.{name}", timedelta(seconds=seconds))
    monkeypatch.setattr("framecache.store.client_config._MAX_RETRIES", 3)


@pytest.fixture
def store(proxy: Proxy, s3_url: str, moto_endpoint: str) -> Store:  # noqa: ARG001
    """Return a store behind the proxy, with `_BODY` as ``a/b``."""
    with closing(boto3.client("s3", endpoint_url=moto_endpoint)) as client:
        client.put_object(Bucket=s3_url.removeprefix("s3://"), Key="a/b", Body=_BODY)
    return open_store(s3_url)


@pytest.fixture
def stored(s3_url: str, moto_endpoint: str) -> Callable[[], dict[str, bytes]]:
    """Return the contents of the server, read by another client without the proxy."""
    bucket = s3_url.removeprefix("s3://")

    def ask() -> dict[str, bytes]:
        with closing(boto3.client("s3", endpoint_url=moto_endpoint)) as client:
            listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
            keys = [blob["Key"] for blob in listed]
            return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    return ask


_READS: Final[dict[str, tuple[Callable[[Store], object], object]]] = {
    "get": (lambda store: store.get("a/b"), _BODY),
    "get_range": (lambda store: store.get_range("a/b", start=7, length=5000), _BODY[7:5007]),
    "head": (lambda store: store.head("a/b").size_bytes, len(_BODY)),
    "list": (lambda store: [info.key for info in store.list("")], ["a/b"]),
    "list_folders": (lambda store: store.list_folders(""), ["a"]),
}
_WRITES: Final[dict[str, tuple[Callable[[Store], object], dict[str, bytes]]]] = {
    "put": (lambda store: store.put("a/b", _NEW), {"a/b": _NEW}),
    "create": (lambda store: store.create("a/c", _NEW), {"a/b": _BODY, "a/c": _NEW}),
    "delete": (lambda store: store.delete(["a/b"]), {}),
}
_WITH_BODY: Final = ["get", "get_range", "list", "list_folders"]


def _timed(request: Callable[[], object]) -> object:
    """Return the result of a request, or its error, within the time limit."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(request())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)

    # A daemon, for a request that hangs must not keep the tests from ending.
    Thread(target=run, daemon=True).start()
    return done.result(timeout=_LONGEST_SECONDS)


def _assert_useful(error: StoreUnavailable, url: str) -> None:
    message = str(error)
    server = f"endpoint {os.environ['AWS_ENDPOINT_URL']}, region us-east-1"
    assert message.startswith(f"{url} ({server}): cannot ")
    assert "AWS_ENDPOINT_URL" in message
    for leak in ("<", "RetryError", "of the proxy", "\n"):
        assert leak not in message


_PASSING: Final = [network.slow_down, network.reset_before, network.reset_after]


@pytest.mark.parametrize("fault", _PASSING)
@pytest.mark.parametrize("name", _READS)
def test_read_survives_transient_faults(
    name: str, fault: Fault, store: Store, proxy: Proxy
) -> None:
    proxy.inject(fault, times=2)
    request, expected = _READS[name]
    assert _timed(lambda: request(store)) == expected
    assert proxy.is_done


@pytest.mark.parametrize("name", _WRITES)
def test_write_survives_transient_503_responses(
    name: str, store: Store, proxy: Proxy, stored: Callable[[], dict[str, bytes]]
) -> None:
    proxy.inject(network.slow_down, times=2)
    request, expected = _WRITES[name]
    _timed(lambda: request(store))
    assert proxy.is_done
    assert stored() == expected


@pytest.mark.parametrize("fault", [network.reset_before, network.reset_after])
@pytest.mark.parametrize("name", _WRITES)
def test_write_with_a_lost_response_is_done_or_reported_unknown(
    name: str,
    fault: Fault,
    store: Store,
    proxy: Proxy,
    stored: Callable[[], dict[str, bytes]],
) -> None:
    before = stored()
    proxy.inject(fault, times=1)
    request, expected = _WRITES[name]
    try:
        _timed(lambda: request(store))
    except StoreUnavailable:
        is_done = {fault is network.reset_after}
    except BlobExists:
        assert (name, fault) == ("create", network.reset_after)
        is_done = {True}
    else:
        is_done = {True}
    assert (stored() == expected) in is_done
    assert stored() in (before, expected)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize(
    "fault",
    [
        network.slow_down,
        network.reset_before,
        network.reset_after,
        network.silent,
        network.deaf,
    ],
)
@pytest.mark.parametrize("name", [*_READS, *_WRITES])
def test_permanent_fault_is_reported_in_time(
    name: str, fault: Fault, store: Store, proxy: Proxy, s3_url: str
) -> None:
    proxy.always(fault)
    request = (_READS | _WRITES)[name][0]
    with pytest.raises((StoreUnavailable, BlobExists)) as failure:
        _timed(lambda: request(store))
    if isinstance(failure.value, StoreUnavailable):
        _assert_useful(failure.value, s3_url)
        assert ("the server responded 503" in str(failure.value)) == (fault is network.slow_down)
    else:
        assert (name, fault) == ("create", network.reset_after)


@pytest.mark.parametrize("name", ["get", "get_range"])
def test_second_half_of_a_truncated_blob_is_fetched(name: str, store: Store, proxy: Proxy) -> None:
    proxy.inject(network.truncated, times=1)
    request, expected = _READS[name]
    assert _timed(lambda: request(store)) == expected
    assert proxy.is_done


@pytest.mark.parametrize("name", ["list", "list_folders"])
def test_truncated_listing_is_an_error(name: str, store: Store, proxy: Proxy, s3_url: str) -> None:
    proxy.inject(network.truncated, times=1)
    with pytest.raises(StoreUnavailable) as failure:
        _timed(lambda: _READS[name][0](store))
    _assert_useful(failure.value, s3_url)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize("fault", [network.truncated, network.silent_after_half, network.trickling])
@pytest.mark.parametrize("name", _WITH_BODY)
def test_endless_response_is_reported_in_time(
    name: str, fault: Fault, store: Store, proxy: Proxy, s3_url: str
) -> None:
    proxy.always(fault)
    with pytest.raises(StoreUnavailable) as failure:
        _timed(lambda: _READS[name][0](store))
    _assert_useful(failure.value, s3_url)


@pytest.mark.usefixtures("short_deadlines")
def test_upload_that_the_server_does_not_read_is_given_up(
    store: Store, proxy: Proxy, s3_url: str
) -> None:
    proxy.always(network.deaf)
    with pytest.raises(StoreUnavailable) as failure:
        _timed(lambda: store.put("large", bytes(12 << 20)))
    _assert_useful(failure.value, s3_url)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize(
    "fault", [network.conflict, network.reset_before, network.reset_after, network.silent]
)
@pytest.mark.parametrize("times", [1, 2])
def test_create_verified_survives_a_lost_response_or_a_conflict(
    fault: Fault,
    times: int,
    store: Store,
    proxy: Proxy,
    stored: Callable[[], dict[str, bytes]],
) -> None:
    body = uuid.uuid4().bytes
    proxy.inject(fault, times=times, method="PUT")
    assert _timed(lambda: create_verified(store, "a/c", body))
    # Once it is stored, nothing is sent again.
    assert proxy.is_done or fault is network.reset_after
    assert stored() == {"a/b": _BODY, "a/c": body}


def test_conflict_on_create_means_the_blob_exists_even_if_it_is_missing(
    store: Store, proxy: Proxy
) -> None:
    proxy.inject(network.conflict, times=1, method="PUT")
    with pytest.raises(BlobExists):
        store.create("a/c", _NEW)
    with pytest.raises(BlobMissing):
        store.get("a/c")


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize("fault", [network.conflict, network.reset_before])
def test_create_verified_fails_when_nothing_can_be_created(
    fault: Fault, store: Store, proxy: Proxy, stored: Callable[[], dict[str, bytes]]
) -> None:
    proxy.always(fault, method="PUT")
    with pytest.raises(StoreUnavailable, match="neither creates a/c nor has it"):
        create_verified(store, "a/c", _NEW)
    assert stored() == {"a/b": _BODY}


@pytest.fixture
def timeline_cache(proxy: Proxy, s3_url: str) -> FrameCache:  # noqa: ARG001
    cache = FrameCache(s3_url)
    cache.timeline("t").extract([_clip()])
    return cache


def _clip() -> Path:
    return made("network.mp4", lambda path: make_clip(path, frames=6))


def test_bit_flip_in_one_response_is_corrected_by_a_second_request(
    timeline_cache: FrameCache, proxy: Proxy
) -> None:
    timeline = timeline_cache.timeline("t")
    expected = timeline.frame(3)
    proxy.requests.clear()
    proxy.inject(network.flipped, times=1, within="/frames/3.jpg")
    frame = timeline.frame(3)
    assert proxy.is_done
    assert np.array_equal(frame.image, expected.image)
    assert sum("/frames/3.jpg" in path for _, path in proxy.requests) == 2


def test_bit_flip_in_every_response_raises_corrupt_frame(
    timeline_cache: FrameCache, proxy: Proxy
) -> None:
    timeline = timeline_cache.timeline("t")
    timeline.frame(3)
    proxy.requests.clear()
    proxy.always(network.flipped, within="/frames/3.jpg")
    with pytest.raises(CorruptFrame, match=r"write the frame again|framecache verify") as failure:
        timeline.frame(3)
    assert "cache/timelines/t/frames/3.jpg" in str(failure.value)
    assert "CRC-32C" in str(failure.value)
    assert sum("/frames/3.jpg" in path for _, path in proxy.requests) == 2
    assert timeline.frame(4).sequence == 4


@pytest.mark.parametrize(
    "fault", [network.slow_down, network.reset_before, network.reset_after, network.truncated]
)
def test_timeline_is_extracted_and_read_through_an_unreliable_network(
    fault: Fault, proxy: Proxy, s3_url: str, tmp_path: Path
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    reference = FrameCache(str(tmp_path)).timeline("t")
    reference.extract([_clip()])
    for within in ("/frames/", "/index/", "/timeline/"):
        proxy.inject(fault, times=1, within=within)
    timeline.extract([_clip()])
    assert proxy.is_done
    for within in ("/frames/", "/index/", "/timeline/"):
        proxy.inject(fault, times=1, within=within)
    reader = FrameCache(s3_url).timeline("t")
    assert list(reader.jpegs(range(6))) == list(reference.jpegs(range(6)))
    assert proxy.is_done


def test_empty_blob_deleted_during_head_raises_blob_missing(
    store: Store, proxy: Proxy, s3_url: str, moto_endpoint: str
) -> None:
    """S3 refuses a range of it, and its response to a HEAD does not show what is missing."""
    store.put("a/empty", b"")

    def removed_after(exchange: network.Exchange) -> None:
        answer = exchange.forwarded()
        with closing(boto3.client("s3", endpoint_url=moto_endpoint)) as client:
            client.delete_object(Bucket=s3_url.removeprefix("s3://"), Key="a/empty")
        exchange.send(answer)

    assert store.head("a/empty").size_bytes == 0
    proxy.inject(removed_after, times=1, method="GET", within="a/empty")
    with pytest.raises(BlobMissing):
        store.head("a/empty")
    assert proxy.is_done


@pytest.mark.parametrize("key", ["a/b", "a/none"])
def test_blob_exists_makes_one_request(store: Store, proxy: Proxy, key: str) -> None:
    proxy.requests.clear()
    assert blob_exists(store, key) == (key == "a/b")
    assert [method for method, _ in proxy.requests] == ["GET"]
