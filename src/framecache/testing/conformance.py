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

    def test_put_then_get_returns_the_same_bytes(self, store: Store) -> None:
        store.put(_KEY, b"a frame")
        assert store.get(_KEY) == b"a frame"

    def test_put_replaces_an_existing_blob(self, store: Store) -> None:
        store.put(_KEY, b"a long first body")
        store.put(_KEY, b"second")
        assert store.get(_KEY) == b"second"

    def test_every_byte_value_is_kept_and_returned_as_bytes(self, store: Store) -> None:
        store.put(_KEY, bytes(range(256)))
        got = store.get(_KEY)
        assert type(got) is bytes
        assert got == bytes(range(256))

    @pytest.mark.parametrize("size_bytes", [0, 1, 8 << 20, (16 << 20) + 1])
    def test_blob_of_any_size_is_returned_whole(self, store: Store, size_bytes: int) -> None:
        body = _pattern(size_bytes)
        store.put("put", body)
        store.create("created", body)
        assert store.get("put") == body
        assert store.get("created") == body

    @pytest.mark.parametrize("key", _GOOD_KEYS)
    def test_valid_key_is_stored_and_listed_unchanged(self, store: Store, key: str) -> None:
        store.put(key, b"x")
        assert store.get(key) == b"x"
        assert [info.key for info in store.list("")] == [key]

    @pytest.mark.parametrize("key", _BAD_KEYS)
    def test_invalid_key_is_rejected(self, store: Store, key: str) -> None:
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
    def test_delete_rejects_a_key_that_no_listing_returns(self, store: Store, key: str) -> None:
        with pytest.raises(InvalidValue):
            store.delete([key])

    @pytest.mark.parametrize("prefix", ["/", "..", "a/../..", "/etc", "a//", "ä"])
    def test_invalid_prefix_is_rejected(self, store: Store, prefix: str) -> None:
        with pytest.raises(InvalidValue):
            list(store.list(prefix))
        with pytest.raises(InvalidValue):
            store.list_folders(prefix)

    def test_missing_blob_error_names_its_key(self, store: Store) -> None:
        with pytest.raises(BlobMissing) as met:
            store.get(_KEY)
        assert met.value.key == _KEY

    def test_range_of_a_missing_blob_raises_blob_missing(self, store: Store) -> None:
        with pytest.raises(BlobMissing):
            store.get_range(_KEY, start=0, length=1)

    def test_head_of_a_missing_blob_raises_blob_missing(self, store: Store) -> None:
        with pytest.raises(BlobMissing):
            store.head(_KEY)

    def test_folder_is_not_a_blob(self, store: Store) -> None:
        store.put("a/b", b"x")
        with pytest.raises(BlobMissing):
            store.get("a")
        with pytest.raises(BlobMissing):
            store.head("a")

    def test_key_below_a_blob_is_missing(self, store: Store) -> None:
        store.put("a", b"x")
        with pytest.raises(BlobMissing):
            store.get("a/b")

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 1), (0, 10), (3, 4), (9, 1), (0, 11), (7, 100), (10, 1), (11, 5), (1 << 40, 1)],
    )
    def test_range_returns_a_slice_of_the_blob(self, store: Store, start: int, length: int) -> None:
        store.put(_KEY, _TEN_BYTES)
        got = store.get_range(_KEY, start=start, length=length)
        assert type(got) is bytes
        assert got == _TEN_BYTES[start : start + length]

    def test_range_of_an_empty_blob_is_empty(self, store: Store) -> None:
        store.put(_KEY, b"")
        assert store.get_range(_KEY, start=0, length=5) == b""

    def test_range_deep_in_a_large_blob_is_correct(self, store: Store) -> None:
        body = _pattern(8 << 20)
        store.put(_KEY, body)
        start = (5 << 20) + 13
        assert store.get_range(_KEY, start=start, length=70_001) == body[start : start + 70_001]

    @pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 0), (0, -1)])
    def test_invalid_range_is_rejected(self, store: Store, start: int, length: int) -> None:
        store.put(_KEY, _TEN_BYTES)
        with pytest.raises(InvalidValue):
            store.get_range(_KEY, start=start, length=length)

    @pytest.mark.parametrize("size_bytes", [0, 1, 16 << 20, (16 << 20) + 1, 70 << 20])
    def test_put_stream_then_get_returns_the_same_bytes(
        self, store: Store, size_bytes: int
    ) -> None:
        body = _pattern(size_bytes)
        view = memoryview(body)
        blocks = (bytes(view[at : at + 1_000_003]) for at in range(0, size_bytes, 1_000_003))
        store.put_stream(_KEY, blocks)
        assert store.head(_KEY).size_bytes == size_bytes
        assert store.get(_KEY) == body

    def test_put_stream_replaces_an_existing_blob(self, store: Store) -> None:
        store.put(_KEY, b"a long first body")
        store.put_stream(_KEY, iter([b"sec", b"", b"ond"]))
        assert store.get(_KEY) == b"second"

    @pytest.mark.parametrize("blocks_before", [0, 1, 20])
    @pytest.mark.parametrize("error", [ValueError("broken"), OSError("broken"), EOFError("broken")])
    def test_put_stream_stores_nothing_when_the_stream_fails(
        self, store: Store, blocks_before: int, error: Exception
    ) -> None:
        def blocks() -> Iterator[bytes]:
            yield from [bytes(2 << 20)] * blocks_before
            raise error

        with pytest.raises(type(error)) as met:
            store.put_stream(_KEY, blocks())
        assert met.value is error
        assert list(store.list("")) == []

    def test_create_stores_the_blob(self, store: Store) -> None:
        store.create(_KEY, b"first")
        assert store.get(_KEY) == b"first"

    def test_second_create_is_refused_and_changes_nothing(self, store: Store) -> None:
        store.create(_KEY, b"first")
        before = store.head(_KEY)
        with pytest.raises(BlobExists) as met:
            store.create(_KEY, b"second, and longer")
        assert met.value.key == _KEY
        assert store.get(_KEY) == b"first"
        assert store.head(_KEY) == before

    def test_create_does_not_replace_a_put_blob(self, store: Store) -> None:
        store.put(_KEY, b"put")
        with pytest.raises(BlobExists):
            store.create(_KEY, b"put")
        assert store.get(_KEY) == b"put"

    def test_put_replaces_a_created_blob(self, store: Store) -> None:
        store.create(_KEY, b"created")
        store.put(_KEY, b"put")
        assert store.get(_KEY) == b"put"

    def test_empty_blob_is_created_only_once(self, store: Store) -> None:
        store.create(_KEY, b"")
        with pytest.raises(BlobExists):
            store.create(_KEY, b"x")
        assert store.get(_KEY) == b""

    def test_create_succeeds_after_delete(self, store: Store) -> None:
        store.create(_KEY, b"first")
        store.delete([_KEY])
        store.create(_KEY, b"second")
        assert store.get(_KEY) == b"second"

    @pytest.mark.parametrize("attempt", range(5))
    def test_exactly_one_of_concurrent_creates_succeeds(self, store: Store, attempt: int) -> None:
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

    def test_get_during_replacement_returns_one_whole_body(self, store: Store) -> None:
        bodies = [bytes([letter]) * 200_000 for letter in b"abcd"]
        store.put(_KEY, bodies[0])
        with ThreadPoolExecutor(1) as pool:
            writing = [pool.submit(store.put, _KEY, body) for body in bodies * 5]
            seen = {store.get(_KEY) for _ in range(20)}
            for one in writing:
                one.result()
        assert seen <= set(bodies)

    def test_head_returns_key_and_size(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        info = store.head(_KEY)
        assert (info.key, info.size_bytes) == (_KEY, 5)

    def test_etag_is_unquoted_and_stable_while_the_blob_is_unchanged(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        etag = store.head(_KEY).etag
        assert etag
        assert '"' not in etag
        assert store.head(_KEY).etag == etag

    def test_etag_changes_with_the_content(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        before = store.head(_KEY)
        store.put(_KEY, b"54321")
        assert store.head(_KEY).etag != before.etag

    def test_list_returns_the_same_info_as_head(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        assert list(store.list("cache")) == [store.head(_KEY)]

    def test_modified_at_is_in_utc_and_near_the_current_time(self, store: Store) -> None:
        store.put(_KEY, b"12345")
        modified_at = store.head(_KEY).modified_at
        assert modified_at.utcoffset() == timedelta(0)
        assert modified_at.microsecond == 0
        # The store's clock may differ from ours: allow a day.
        assert abs(modified_at - datetime.now(UTC)) < timedelta(days=1)

    def test_modified_at_does_not_decrease_on_replacement(self, store: Store) -> None:
        store.put(_KEY, b"first")
        before = store.head(_KEY).modified_at
        store.put(_KEY, b"second")
        assert store.head(_KEY).modified_at >= before

    def test_empty_store_lists_nothing(self, store: Store) -> None:
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
    def test_prefix_selects_one_folder(
        self, store: Store, prefix: str, expected: list[str]
    ) -> None:
        # No store on disk can hold both a/b and a/b/c/d, so only the latter is stored.
        keys = ["a/b/c/d", "a/bc", "ab/x", "z"]
        for key in keys:
            store.put(key, b"x")
        found = sorted(info.key for info in store.list(prefix))
        assert found == [key for key in expected if key in keys]

    def test_long_listing_is_complete(self, store: Store) -> None:
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
    def test_list_folders_returns_direct_subfolders_only(
        self, store: Store, prefix: str, expected: list[str]
    ) -> None:
        for key in ["a/frames/0.jpg", "a/frames/1.jpg", "b/x", "b-2/x", "blob"]:
            store.put(f"cache/timelines/{key}", b"x")
        store.put("other/x", b"x")
        store.put("top", b"x")
        assert store.list_folders(prefix) == expected

    def test_folder_is_not_listed_after_its_last_blob_is_deleted(self, store: Store) -> None:
        store.put("a/b/c", b"x")
        store.put("d", b"x")
        store.delete(["a/b/c"])
        assert store.list_folders("") == []

    def test_delete_removes_only_the_given_keys(self, store: Store) -> None:
        for key in ["a/1", "a/2", "a/3"]:
            store.put(key, b"x")
        assert store.delete(["a/1", "a/3"]) == 2  # noqa: PLR2004 - the two keys of this line
        assert [info.key for info in store.list("")] == ["a/2"]
        with pytest.raises(BlobMissing):
            store.get("a/1")

    def test_delete_of_a_missing_blob_succeeds(self, store: Store) -> None:
        assert store.delete([_KEY]) == 1
        store.put("a/2", b"x")
        keys = ["a/1", "a/2", "b/c/d"]
        assert store.delete(keys) == len(keys)
        assert list(store.list("")) == []

    def test_delete_of_no_keys_returns_zero(self, store: Store) -> None:
        assert store.delete([]) == 0

    def test_delete_accepts_any_iterable(self, store: Store) -> None:
        store.put("a/1", b"x")
        store.put("a/2", b"x")
        assert store.delete(info.key for info in list(store.list("a"))) > 0
        assert list(store.list("")) == []

    def test_store_is_usable_from_several_threads(self, store: Store) -> None:
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

    def test_url_has_a_scheme(self, store: Store) -> None:
        assert "://" in store.url


def _pattern(size_bytes: int) -> bytes:
    """Return bytes that differ from place to place, so that a shifted range is detected."""
    period = bytes(range(251))
    return (period * (size_bytes // len(period) + 1))[:size_bytes]
