"""Other programs' keys that are not valid paths: they neither block nor alias other keys."""

import numpy as np
import pytest

from framecache import Frame, FrameCache
from framecache.errors import InvalidValue, StorePermissionDenied, StoreWarning
from framecache.store import open_store
from network import Exchange, Proxy
from outside import outside

_ODD = [
    "p/cache/timelines/t/frames//x",
    "p/cache/timelines/t/frames/./x",
    "p/cache/timelines/x//y",
    "p/cache/timelines/./z",
    "p/cache/timelines/../z",
    "p/cache//timelines/t",
    "p//q",
    "p/cache/timelines/t//",
]


@pytest.mark.parametrize("key", _ODD)
@pytest.mark.filterwarnings("ignore::framecache.errors.StoreWarning")
def test_odd_key_does_not_affect_a_timeline_and_is_kept(s3_url: str, key: str) -> None:
    bucket = outside(s3_url)
    bucket.put(key, b"x")
    cache = FrameCache(f"{s3_url}/p")
    timeline = cache.timeline("t")
    image = np.zeros((16, 16, 3), np.uint8)
    timeline.write([Frame(number, 0, number / 25, image) for number in range(3)])
    assert "t" in cache.timelines()
    assert [frame.sequence for frame in cache.timeline("t").frames()] == [0, 1, 2]
    assert timeline.verify().ok
    assert cache.plan_gc().removal.blobs == 0
    assert timeline.clear().blobs >= 3
    timeline.write([Frame(9, 0, 1.0, image)])
    timeline.delete()
    assert set(bucket.list("p/")) == {key, "p/cache/create-if-absent"}


def test_odd_key_is_named_in_a_warning(s3_url: str) -> None:
    bucket = outside(s3_url)
    for key in ("a/1", "a/b//x", "a/b/2", "c/3"):
        bucket.put(key, b"x")
    with pytest.warns(StoreWarning, match="'a/b//x' was skipped"):
        assert [info.key for info in open_store(s3_url).list("")] == ["a/1", "a/b/2", "c/3"]


@pytest.mark.filterwarnings("ignore::framecache.errors.StoreWarning")
def test_valid_keys_are_listed_once_and_in_order_among_odd_keys(s3_url: str) -> None:
    bucket = outside(s3_url)
    sound = ["a", "a.b/c", "a/b/1", "a/b/c/2", "a/b0/3", "a/z", "b/1", "b/c/2", "ba/4"]
    for key in (*sound, "a/b//1", "a/b//0/1", "b/../1", "c//", "c/.", "c//d/./e"):
        bucket.put(key, b"x")
    store = open_store(s3_url)
    assert [info.key for info in store.list("")] == sound
    assert [info.key for info in store.list("a/b")] == ["a/b/1", "a/b/c/2"]
    assert store.list_folders("a/b") == ["c"]
    assert store.list_folders("c") == []


_SKIPPED = ["a//1", "a/b//2", "a/./b", "a/\tx", "a/b/c\x7f/1", "a/b/../z", "a//q//", "b\x1b[0m/1"]


@pytest.fixture(params=["s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def bucket_url(request: pytest.FixtureRequest) -> str:
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


def test_odd_keys_of_all_kinds_do_not_change_a_listing(bucket_url: str) -> None:
    bucket = outside(bucket_url)
    sound = ["a", "a-b", "a/", "a/ü +%2F&=?/1", "a/b/", "a/b/3", "a/c/4", "b/5"]
    for key in sound:
        bucket.put(key, key.encode())
    store = open_store(bucket_url)
    folders = {name: store.list_folders(name) for name in ("", "a", "a/b", "b")}
    with pytest.warns(StoreWarning, match="/' was skipped. It ends in a slash"):
        before = {name: list(store.list(name)) for name in folders}
    for key in _SKIPPED:
        bucket.put(key, b"odd")
    assert set(bucket.list()) == {*sound, *_SKIPPED}
    with pytest.warns(StoreWarning) as caught:
        after = {name: (list(store.list(name)), store.list_folders(name)) for name in folders}
    assert after == {name: (before[name], folders[name]) for name in folders}
    messages = "\n".join(str(warning.message) for warning in caught)
    assert all(repr(key) in messages for key in _SKIPPED)
    assert "\x1b" not in messages


def test_odd_key_is_warned_about_once(s3_url: str) -> None:
    bucket = outside(s3_url)
    for number in range(12):
        bucket.put(f"a//{number:02}", b"x")
    with pytest.warns(StoreWarning, match="skipped"):
        assert list(open_store(s3_url).list("a")) == []
    assert list(open_store(s3_url).list("a")) == []


@pytest.mark.filterwarnings("ignore::framecache.errors.StoreWarning")
def test_all_pages_are_read_past_an_odd_key(
    proxy: Proxy, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache.store.s3_listing._PAGE_SIZE", 7)
    bucket = outside(s3_url)
    sound = [f"a/{number:02}" for number in range(20)]
    for key in (*sound, "a/05//x", "a/11\t", "a//"):
        bucket.put(key, b"x")
    assert [info.key for info in open_store(s3_url).list("a")] == sound
    assert sum("continuation-token" in path for _, path in proxy.requests) == 3


def test_more_than_ten_odd_keys_are_counted_in_one_warning(s3_url: str) -> None:
    bucket = outside(s3_url)
    for number in range(13):
        bucket.put(f"a//{number}", b"x")
    with pytest.warns(StoreWarning) as caught:
        assert list(open_store(s3_url).list("a")) == []
    assert len(caught) == 11
    assert "3 more keys were skipped" in str(caught[-1].message)


def test_denied_listing_past_an_odd_key_is_reported(proxy: Proxy, s3_url: str) -> None:
    def denied(exchange: Exchange) -> None:
        exchange.refuse(403, "AccessDenied")

    outside(s3_url).put("a//1", b"x")
    proxy.always(denied, within="encoding-type=url")
    with pytest.raises(StorePermissionDenied, match="s3:ListBucket"):
        list(open_store(s3_url).list("a"))


@pytest.mark.parametrize("path", ["/clip.mp4", "a//clip.mp4", "./clip.mp4", "a/../clip.mp4"])
def test_video_with_an_odd_key_is_rejected(s3_url: str, path: str) -> None:
    bucket = outside(s3_url)
    for key in (path, "clip.mp4", "a/clip.mp4"):
        bucket.put(key, b"x")
    with pytest.raises(InvalidValue, match=r"empty, '\.' or '\.\.' part"):
        FrameCache("memory://odd").timeline("t").extract([f"{s3_url}/{path}"])
