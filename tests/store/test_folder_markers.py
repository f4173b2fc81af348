"""Folder markers of consoles and mounts: keys that end in a slash, which are not blobs."""

import numpy as np
import pytest

from framecache import Frame, FrameCache
from framecache.cli.app import main
from framecache.errors import StoreWarning
from framecache.store import open_store
from network import Exchange, Proxy
from outside import outside

MARKERS = [
    *("p/", "p/cache/", "p/cache/timelines/", "p/cache/timelines/t/"),
    *("p/cache/timelines/t/frames/", "p/cache/timelines/t/timeline/"),
]
ignored = pytest.mark.filterwarnings("ignore::framecache.errors.StoreWarning")


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def bucket_url(request: pytest.FixtureRequest) -> str:
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


def _fill(url: str, keys: dict[str, bytes]) -> None:
    for key, data in keys.items():
        outside(url).put(key, data)


@ignored
@pytest.mark.parametrize("prefix", ["x", ""])
@pytest.mark.parametrize("marker", [b"", b"not empty"])
def test_delete_of_listed_keys_spares_the_blob_named_like_a_folder(
    bucket_url: str, marker: bytes, prefix: str
) -> None:
    _fill(bucket_url, {"p/x": b"mine", "p/x/": marker, "p/x/1": b"1", "p/y/": b"", "p/z-/1": b"1"})
    store = open_store(f"{bucket_url}/p")
    listed = [info.key for info in store.list(prefix)]
    assert listed == (["x/1"] if prefix else ["x", "x/1", "z-/1"])
    store.delete(key for key in listed if "/" in key)
    assert outside(bucket_url).list("p/x") == ["p/x", "p/x/"]


@ignored
@pytest.mark.parametrize("marker", [b"", b"not empty"])
def test_marker_listed_before_its_folder_is_not_a_blob(bucket_url: str, marker: bytes) -> None:
    _fill(bucket_url, {"x-": b"1", "x/": marker, "x/1": b"1", "y": b"", "y/1": b"1"})
    listed = {info.key: info.size_bytes for info in open_store(bucket_url).list("")}
    assert listed == {"x-": 1, "x/1": 1, "y": 0, "y/1": 1}


@ignored
def test_markers_are_distinguished_from_blobs_past_an_odd_key(bucket_url: str) -> None:
    _fill(bucket_url, {"p//": b"", "p/x": b"mine", "p/x/": b"", "p/x/1": b"1", "p/y/": b""})
    assert [info.key for info in open_store(bucket_url).list("p")] == ["p/x", "p/x/1"]


def test_marker_of_the_store_root_is_skipped_without_a_warning(s3_url: str) -> None:
    _fill(s3_url, {"p/": b"", "p/p": b"mine"})
    store = open_store(f"{s3_url}/p")
    assert [(info.key, info.size_bytes) for info in store.list("")] == [("p", 4)]


def test_marker_is_warned_about_once(s3_url: str) -> None:
    _fill(s3_url, {"x/": b"", "x/1": b"1"})
    with pytest.warns(StoreWarning, match="'x/' was skipped"):
        assert [info.key for info in open_store(s3_url).list("x")] == ["x/1"]
    assert [info.key for info in open_store(s3_url).list("x")] == ["x/1"]
    assert [info.key for info in open_store(s3_url).list("")] == ["x/1"]


@ignored
def test_timeline_among_markers_is_deleted_completely(bucket_url: str) -> None:
    _fill(bucket_url, dict.fromkeys(MARKERS, b""))
    cache = FrameCache(f"{bucket_url}/p")
    timeline = cache.timeline("t")
    image = np.zeros((16, 16, 3), np.uint8)
    timeline.write([Frame(number, 0, number / 25, image) for number in range(3)])
    assert [frame.sequence for frame in timeline.frames()] == [0, 1, 2]
    assert timeline.verify().ok
    assert cache.plan_gc().removal.blobs == 0
    timeline.clear()
    before = set(outside(bucket_url).list("p/cache/timelines/t/")) - set(MARKERS)
    # The delete creates the manifest of one more epoch.
    assert timeline.delete().blobs == len(before) + 1
    assert cache.timelines() == []
    assert outside(bucket_url).list() == [*MARKERS[:2], "p/cache/create-if-absent", MARKERS[2]]


@ignored
def test_lone_marker_is_deleted_with_its_timeline_and_not_counted(bucket_url: str) -> None:
    _fill(bucket_url, {"cache/timelines/t/": b"", "cache/timelines/t/a+b %/": b""})
    _fill(bucket_url, {"cache/timelines/t2/": b""})
    cache = FrameCache(bucket_url)
    assert cache.timeline("t").delete().blobs == 0
    assert cache.timelines() == ["t2"]
    assert outside(bucket_url).list() == ["cache/timelines/t2/"]


@ignored
def test_lone_marker_is_deleted_on_the_command_line(s3_url: str) -> None:
    _fill(s3_url, {"cache/timelines/t/": b""})
    assert main(["rm", "t", "--yes", "--cache", s3_url]) == 0
    assert outside(s3_url).list() == []


def test_delete_without_markers_makes_no_request_for_them(proxy: Proxy, s3_url: str) -> None:
    cache = FrameCache(s3_url)
    cache.timeline("t").write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    cache.timeline("t").delete()
    assert not any("encoding-type" in path for _, path in proxy.requests)


@ignored
def test_empty_blob_deleted_during_the_listing_is_not_listed(proxy: Proxy, s3_url: str) -> None:
    _fill(s3_url, {"a": b"", "b": b""})
    bucket = outside(s3_url)
    listed = open_store(s3_url).list("")

    def removed(exchange: Exchange) -> None:
        bucket.remove("a")
        exchange.send(exchange.forwarded())

    proxy.inject(removed, times=1, method="HEAD", within="/a")
    assert [info.key for info in listed] == ["b"]
    assert proxy.is_done
