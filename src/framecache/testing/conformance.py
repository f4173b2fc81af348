# ruff: noqa: D102 - the name of a test says what it checks
"""Requirements that every `Store` must meet, as a class of tests.

A program that brings its own store derives from `StoreConformance` and provides a fixture::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            return MyStore(...)          # empty, and not shared with other tests
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Final

import pytest

from framecache.errors import InvalidValue
from framecache.store import BlobExists, BlobMissing, Store

_KEY: Final = "cache/timelines/t/frames/0.jpg"
_TEN_BYTES: Final = b"0123456789"
_RACERS: Final = 8

_GOOD_KEYS: Final = [
    "a",
    "frames/0.jpg",
    "cache/timelines/match-42/index/0f/000000-0.parquet",
    "/".join(f"level-{level}" for level in range(30)),
    "overlays/job_1/stage/12_edge_overlay.png",
    "names/with space, (brackets) & [more] + 100%25=~'!;@$^`{|}",
    "overlays/2024-01-02T03:04:05+01:00,a=b@c~d/s/7_a:b@c+d=e,f~g.png",
    "x" * 200,
]
_BAD_KEYS: Final = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../../b",
    "a/..",
    "./a",
    "a/./b",
    "a\\..\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "främes/0.jpg",
    "a#1",
    "a/" + "x" * 300,
    "x/" * 600 + "x",
]


class StoreConformance:
    """Contract of `Store`. A subclass provides the fixture ``store``: an empty store per test."""

    def test_what_was_put_is_what_is_got(self, store: Store) -> None:
        store.put(_KEY, b"a frame")
        assert store.get(_KEY) == b"a frame"

    def test_put_replaces(self, store: Store) -> None:
        store.put(_KEY, b"a long first body")
        store.put(_KEY, b"second")
        assert store.get(_KEY) == b"second"

    def test_bytes_are_bytes(self, store: Store) -> None:
        store.put(_KEY, bytes(range(256)))
        got = store.get(_KEY)
        assert type(got) is bytes
        assert got == bytes(range(256))

    @pytest.mark.parametrize("size_bytes", [0, 1, 8 << 20, (16 << 20) + 1])
    def test_a_blob_of_any_size_comes_back(self, store: Store, size_bytes: int) -> None:
        body = _pattern(size_bytes)
        store.put("put", body)
        store.create("created", body)
        assert store.get("put") == body
        assert store.get("created") == body

    @pytest.mark.parametrize("key", _GOOD_KEYS)
    def test_a_good_key_is_kept_as_it_is(self, store: Store, key: str) -> None:
        store.put(key, b"x")
        assert store.get(key) == b"x"
        assert [info.key for info in store.list("")] == [key]

    @pytest.mark.parametrize("key", _BAD_KEYS)
    def test_a_bad_key_is_refused(self, store: Store, key: str) -> None:
        requests: list[Callable[[], object]] = [
            lambda: store.get(key),
            lambda: store.get_range(key, start=0, length=1),
            lambda: store.put(key, b"x"),
            lambda: store.create(key, b"x"),
            lambda: store.head(key),
        ]
        for request in requests:
            with pytest.raises(InvalidValue):
                request()
        assert list(store.list("")) == []

    @pytest.mark.parametrize("key", ["", "/a", "a/../b", "..", "a//b", "./a"])
    def test_a_key_that_no_listing_gives_is_not_deleted(self, store: Store, key: str) -> None:
        with pytest.raises(InvalidValue):
            store.delete([key])

    @pytest.mark.parametrize("prefix", ["/", "..", "a/../..", "/etc", "a//", "ä"])
    def test_a_bad_prefix_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(InvalidValue):
            list(store.list(prefix))
        with pytest.raises(InvalidValue):
            store.list_folders(prefix)

    def test_a_missing_blob_is_told_by_its_key(self, store: Store) -> None:
        with pytest.raises(BlobMissing) as met:
            store.get(_KEY)
        assert met.value.key == _KEY

    def test_a_range_of_a_missing_blob_is_missing(self, store: Store) -> None:
        with pytest.raises(BlobMissing):
            store.get_range(_KEY, start=0, length=1)

    def test_the_head_of_a_missing_blob_is_missing(self, store: Store) -> None:
        with pytest.raises(BlobMissing):
            store.head(_KEY)

    def test_a_folder_is_no_blob(self, store: Store) -> None:
        store.put("a/b", b"x")
        with pytest.raises(BlobMissing):
            store.get("a")
        with pytest.raises(BlobMissing):
            store.head("a")

    def test_below_a_blob_there_is_no_blob(self, store: Store) -> None:
        store.put("a", b"x")
        with pytest.raises(BlobMissing):
            store.get("a/b")

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 1), (0, 10), (3, 4), (9, 1), (0, 11), (7, 100), (10, 1), (11, 5), (1 << 40, 1)],
    )
    def test_a_range_is_a_slice(self, store: Store, start: int, length: int) -> None:
        store.put(_KEY, _TEN_BYTES)
        got = store.get_range(_KEY, start=start, length=length)
        assert type(got) is bytes
        assert got == _TEN_BYTES[start : start + length]

    def test_an_empty_blob_has_empty_ranges(self, store: Store) -> None:
        store.put(_KEY, b"")
        assert store.get_range(_KEY, start=0, length=5) == b""

    def test_a_range_deep_in_a_large_blob_is_right(self, store: Store) -> None:
        body = _pattern(8 << 20)
        store.put(_KEY, body)
        start = (5 << 20) + 13
        assert store.get_range(_KEY, start=start, length=70_001) == body[start : start + 70_001]

    @pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 0), (0, -1)])
    def test_a_range_that_is_none_is_refused(self, store: Store, start: int, length: int) -> None:
        store.put(_KEY, _TEN_BYTES)
        with pytest.raises(InvalidValue):
            store.get_range(_KEY, start=start, length=length)

    @pytest.mark.parametrize("size_bytes", [0, 1, 16 << 20, (16 << 20) + 1, 70 << 20])
    def test_what_was_streamed_is_what_is_got(self, store: Store, size_bytes: int) -> None:
        body = _pattern(size_bytes)
        view = memoryview(body)
        blocks = (bytes(view[at : at + 1_000_003]) for at in range(0, size_bytes, 1_000_003))
        store.put_stream(_KEY, blocks)
        assert store.head(_KEY).size_bytes == size_bytes
        assert store.get(_KEY) == body

    def test_a_stream_replaces(self, store: Store) -> None:
        store.put(_KEY, b"a long first body")
        store.put_stream(_KEY, iter([b"sec", b"", b"ond"]))
        assert store.get(_KEY) == b"second"

    @pytest.mark.parametrize("blocks_before", [0, 1, 20])
    @pytest.mark.parametrize("error", [ValueError("broken"), OSError("broken"), EOFError("broken")])
    def test_a_stream_that_breaks_off_stores_nothing(
        self, store: Store, blocks_before: int, error: Exception
    ) -> None:
        def blocks() -> Iterator[bytes]:
            yield from [bytes(2 << 20)] * blocks_before
            raise error

        with pytest.raises(type(error)) as met:
            store.put_stream(_KEY, blocks())
        assert met.value is error
        assert list(store.list("")) == []

    def test_create_stores(self, store: Store) -> None:
        store.create(_KEY, b"first")
        assert store.get(_KEY) == b"first"

    def test_a_second_create_is_refused_and_changes_nothing(self, store: Store) -> None:
        store.create(_KEY, b"first")
        before = store.head(_KEY)
        with pytest.raises(BlobExists) as met:
            store.create(_KEY, b"second, and longer")
        assert met.value.key == _KEY
        assert store.get(_KEY) == b"first"
        assert store.head(_KEY) == before

    def test_create_does_not_replace_what_was_put(self, store: Store) -> None:
        store.put(_KEY, b"put")
        with pytest.raises(BlobExists):
            store.create(_KEY, b"put")
        assert store.get(_KEY) == b"put"

    def test_put_replaces_what_was_created(self, store: Store) -> None:
        store.create(_KEY, b"created")
        store.put(_KEY, b"put")
        assert store.get(_KEY) == b"put"

    def test_an_empty_blob_is_created_once(self, store: Store) -> None:
        store.create(_KEY, b"")
        with pytest.raises(BlobExists):
            store.create(_KEY, b"x")
        assert store.get(_KEY) == b""

    def test_what_was_deleted_can_be_created(self, store: Store) -> None:
        store.create(_KEY, b"first")
        store.delete([_KEY])
        store.create(_KEY, b"second")
        assert store.get(_KEY) == b"second"

    @pytest.mark.parametrize("attempt", range(5))
    def test_of_many_creates_at_once_one_wins(self, store: Store, attempt: int) -> None:
        key = f"claims/{attempt}.json"
        barrier = Barrier(_RACERS)

        def race(number: int) -> bool:
            barrier.wait()
            try:
                store.create(key, b"racer %d" % number)
            except BlobExists:
                return False
            return True

        with ThreadPoolExecutor(_RACERS) as pool:
            won = list(pool.map(race, range(_RACERS)))
        assert won.count(True) == 1
        assert store.get(key) == b"racer %d" % won.index(True)

    def test_a_reader_sees_a_whole_body_while_it_is_replaced(self, store: Store) -> None:
        bodies = [bytes([letter]) * 200_000 for letter in b"abcd"]
        store.put(_KEY, bodies[0])
        with ThreadPoolExecutor(1) as pool:
            writing = [pool.submit(store.put, _KEY, body) for body in bodies * 5]
            seen = {store.get(_KEY) for _ in range(20)}
            for one in writing:
                one.result()
        assert seen <= set(bodies)

    def test_head_tells_key_and_size(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        info = store.head(_KEY)
        assert (info.key, info.size_bytes) == (_KEY, 5)

    def test_the_etag_is_bare_and_stays_while_the_blob_does(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        etag = store.head(_KEY).etag
        assert etag
        assert '"' not in etag
        assert store.head(_KEY).etag == etag

    def test_the_etag_changes_with_the_content(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        before = store.head(_KEY)
        store.put(_KEY, b"54321")
        assert store.head(_KEY).etag != before.etag

    def test_a_listing_tells_what_head_tells(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        assert list(store.list("cache")) == [store.head(_KEY)]

    def test_the_time_of_storing_is_a_moment_in_utc_near_now(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        modified_at = store.head(_KEY).modified_at
        assert modified_at.utcoffset() == timedelta(0)
        assert modified_at.microsecond == 0
        # The store's clock may differ from ours: allow a day.
        assert abs(modified_at - datetime.now(UTC)) < timedelta(days=1)

    def test_the_time_of_storing_never_goes_back(self, store: Store) -> None:
        store.put(_KEY, b"first")
        before = store.head(_KEY).modified_at
        store.put(_KEY, b"second")
        assert store.head(_KEY).modified_at >= before

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert list(store.list("")) == []
        assert list(store.list("cache/")) == []
        assert store.list_folders("") == []
        assert store.list_folders("cache/") == []

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("a", ["a/b", "a/b/c/d", "a/bc"]),
            ("a/", ["a/b", "a/b/c/d", "a/bc"]),
            ("a/b", ["a/b/c/d"]),
            ("a/b/", ["a/b/c/d"]),
            ("a/b/c", ["a/b/c/d"]),
            ("ab", ["ab/x"]),
            ("b", []),
            ("a/b/c/d", []),
            ("", ["a/b", "a/b/c/d", "a/bc", "ab/x", "z"]),
        ],
    )
    def test_a_prefix_is_a_folder(self, store: Store, prefix: str, expected: list[str]) -> None:
        # No store on disk can hold both a/b and a/b/c/d, so only the latter is stored.
        keys = ["a/b/c/d", "a/bc", "ab/x", "z"]
        for key in keys:
            store.put(key, b"x")
        found = sorted(info.key for info in store.list(prefix))
        assert found == [key for key in expected if key in keys]

    def test_a_long_listing_is_complete(self, store: Store) -> None:
        keys = {f"frames/{sequence}.jpg" for sequence in range(1100)}
        with ThreadPoolExecutor(_RACERS) as pool:
            list(pool.map(lambda key: store.put(key, b"x"), keys))
        found = [info.key for info in store.list("frames/")]
        assert len(found) == len(keys)
        assert set(found) == keys
        assert store.delete(keys) == len(keys)
        assert list(store.list("frames/")) == []

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", ["cache", "other"]),
            ("cache", ["timelines"]),
            ("cache/timelines/", ["a", "b", "b-2"]),
            ("cache/timelines/a/", ["frames"]),
            ("cache/timelines/b", []),
            ("nowhere", []),
        ],
    )
    def test_folders_are_the_direct_ones(
        self, store: Store, prefix: str, expected: list[str]
    ) -> None:
        for key in ["a/frames/0.jpg", "a/frames/1.jpg", "b/x", "b-2/x", "blob"]:
            store.put(f"cache/timelines/{key}", b"x")
        store.put("other/x", b"x")
        store.put("top", b"x")
        assert store.list_folders(prefix) == expected

    def test_a_folder_goes_with_its_last_blob(self, store: Store) -> None:
        store.put("a/b/c", b"x")
        store.put("d", b"x")
        store.delete(["a/b/c"])
        assert store.list_folders("") == []

    def test_delete_removes_what_it_is_given(self, store: Store) -> None:
        for key in ["a/1", "a/2", "a/3"]:
            store.put(key, b"x")
        assert store.delete(["a/1", "a/3"]) == 2  # noqa: PLR2004 - the two keys of this line
        assert [info.key for info in store.list("")] == ["a/2"]
        with pytest.raises(BlobMissing):
            store.get("a/1")

    def test_deleting_what_is_not_there_is_fine(self, store: Store) -> None:
        assert store.delete([_KEY]) == 1
        store.put("a/2", b"x")
        keys = ["a/1", "a/2", "b/c/d"]
        assert store.delete(keys) == len(keys)
        assert list(store.list("")) == []

    def test_deleting_nothing_is_fine(self, store: Store) -> None:
        assert store.delete([]) == 0

    def test_delete_takes_any_iterable(self, store: Store) -> None:
        store.put("a/1", b"x")
        store.put("a/2", b"x")
        assert store.delete(info.key for info in list(store.list("a"))) > 0
        assert list(store.list("")) == []

    def test_threads_share_a_store(self, store: Store) -> None:
        def work(number: int) -> bytes:
            key = f"thread/{number}"
            store.put(key, b"%d" % number)
            body = store.get(key)
            store.delete([key])
            return body

        with ThreadPoolExecutor(_RACERS) as pool:
            bodies = list(pool.map(work, range(100)))
        assert bodies == [b"%d" % number for number in range(100)]
        assert list(store.list("")) == []

    def test_the_url_is_a_url(self, store: Store) -> None:
        assert "://" in store.url


def _pattern(size_bytes: int) -> bytes:
    """Return bytes that differ from place to place, so that a shifted range is detected."""
    period = bytes(range(251))
    return (period * (size_bytes // len(period) + 1))[:size_bytes]
