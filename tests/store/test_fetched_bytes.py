"""Announced ranges of an object are fetched once, ahead of their use, and kept bytes not again."""

import errno
import os
from random import Random
from threading import Thread

import numpy as np
import pytest

import network
from framecache.errors import ChunkChanged, StoreUnavailable
from framecache.store import FetchedBytes, open_blob_file, open_store
from framecache.store.fetched_bytes import BlobBytes
from framecache.store.memory import MemoryStore
from network import Proxy

_BLOCK = 1000
_BODY = np.random.default_rng(11).bytes(50 * _BLOCK + 123)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "framecache.store.remote_chunk"
    monkeypatch.setattr(f"{module}._BLOCK_SIZE_BYTES", _BLOCK)
    monkeypatch.setattr(f"{module}._MAX_BYTES_AHEAD", 4 * _BLOCK)
    monkeypatch.setattr(f"{module}._FIRST_STEP_BYTES", 100)
    monkeypatch.setattr(f"{module}._NEXT_STEP_BYTES", 200)
    monkeypatch.setattr(f"{module}._LAST_STEP_BYTES", 400)
    monkeypatch.setattr("framecache.store.fetched_bytes._PAGE_BYTES", 300)


@pytest.fixture
def url(memory_url: str) -> str:
    open_store(memory_url).put("c0.mp4", _BODY)
    return f"{memory_url}/c0.mp4"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges that are requested, as they are requested."""
    ranges = list[tuple[int, int]]()
    get_block = MemoryStore.get_block

    def counted(self: MemoryStore, key: str, *, start: int, length: int) -> object:
        ranges.append((start, start + length))
        return get_block(self, key, start=start, length=length)

    monkeypatch.setattr(MemoryStore, "get_block", counted)
    return ranges


def _read(file: object, begin: int, end: int) -> bytes:
    assert hasattr(file, "seek")
    assert hasattr(file, "read")
    file.seek(begin)
    parts = []
    while begin < end and (part := file.read(end - begin)):
        parts.append(part)
        begin += len(part)
    return b"".join(parts)


def _read_every_other_block(file: object) -> None:
    for begin in range(0, 40 * _BLOCK, 2 * _BLOCK):
        _read(file, begin, begin + _BLOCK)


def test_announced_ranges_are_requested_once_and_nothing_else(
    url: str, requests: list[tuple[int, int]]
) -> None:
    ranges = [(150, 3200), (7000, 7100), (20_000, 24_500)]
    with open_blob_file(url) as file:
        file.expect(ranges)
        for begin, end in ranges:
            for start in range(begin, end, 70):
                stop = min(start + 70, end)
                assert _read(file, start, stop) == _BODY[start:stop]
    assert sum(end - begin for begin, end in requests) == sum(end - begin for begin, end in ranges)
    assert max(end - begin for begin, end in requests) <= _BLOCK


def test_only_a_few_announced_ranges_are_requested_ahead(
    url: str, requests: list[tuple[int, int]]
) -> None:
    with open_blob_file(url) as file:
        file.expect([(0, len(_BODY))])
        assert _read(file, 0, 10) == _BODY[:10]
    assert sum(end - begin for begin, end in requests) <= 5 * _BLOCK


def test_bytes_that_were_not_announced_are_fetched_in_small_steps(
    url: str, requests: list[tuple[int, int]]
) -> None:
    with open_blob_file(url) as file:
        file.expect([(40_000, 40_100)])
        assert _read(file, 5000, 5150) == _BODY[5000:5150]
        assert _read(file, 20_000, 20_010) == _BODY[20_000:20_010]
        assert _read(file, len(_BODY) - 500, len(_BODY)) == _BODY[-500:]
    assert sorted(requests) == [
        (5000, 5100),
        (5100, 5300),
        (20_000, 20_100),
        (40_000, 40_100),
        (len(_BODY) - 500, len(_BODY)),
    ]


def test_jump_over_announced_ranges_drops_them(url: str, requests: list[tuple[int, int]]) -> None:
    ranges = [(begin, begin + _BLOCK) for begin in range(0, 40 * _BLOCK, 2 * _BLOCK)]
    with open_blob_file(url) as file:
        file.expect(ranges)
        assert _read(file, 30_000, 30_500) == _BODY[30_000:30_500]
    assert (30_000, 31_000) in requests
    assert (20_000, 21_000) not in requests


def test_kept_bytes_are_not_fetched_again(url: str, requests: list[tuple[int, int]]) -> None:
    fetched = FetchedBytes()
    with open_blob_file(url, fetched=fetched) as file:
        file.expect([(2500, 4700)], keep=True)
        assert _read(file, 2500, 4700) == _BODY[2500:4700]
    requests.clear()
    with open_blob_file(url, fetched=fetched) as file:
        assert _read(file, 2600, 4600) == _BODY[2600:4600]
        assert requests == []
        file.expect([(2000, 5000)])
        assert _read(file, 2000, 5000) == _BODY[2000:5000]
    assert sorted(requests) == [(2000, 2500), (4700, 5000)]


def test_file_that_was_read_whole_is_not_fetched_again(
    url: str, requests: list[tuple[int, int]]
) -> None:
    fetched = FetchedBytes()
    with open_blob_file(url, fetched=fetched) as file:
        assert file.readall() == _BODY
    assert sum(end - begin for begin, end in requests) == len(_BODY)
    requests.clear()
    with open_blob_file(url, fetched=fetched) as file:
        assert file.readall() == _BODY
    assert requests == []


def test_another_version_of_an_object_has_nothing_kept(url: str, memory_url: str) -> None:
    fetched = FetchedBytes()
    with open_blob_file(url, fetched=fetched) as file:
        assert file.readall() == _BODY
    open_store(memory_url).put("c0.mp4", _BODY[::-1])
    with open_blob_file(url, fetched=fetched) as file:
        assert file.readall() == _BODY[::-1]


def test_released_bytes_are_fetched_again_and_their_space_is_used_again(
    url: str, requests: list[tuple[int, int]]
) -> None:
    fetched = FetchedBytes()
    for _ in range(3):
        requests.clear()
        with open_blob_file(url, fetched=fetched) as file:
            assert file.readall() == _BODY
            identity = file.identity
        assert sum(end - begin for begin, end in requests) == len(_BODY)
        fetched.release(identity.url, identity.etag)
    descriptor = fetched._descriptor  # noqa: SLF001 -- the file has no name
    assert descriptor is not None
    assert os.fstat(descriptor).st_size < 1.5 * len(_BODY)


def test_bytes_are_kept_while_those_of_a_blob_are_released(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = FetchedBytes()
    kept = fetched.of_blob(url, "etag")
    kept.add(0, _BODY)
    close = BlobBytes.close
    is_kept = list[bool]()

    def close_while_another_is_read(self: BlobBytes) -> list[int]:
        adding = Thread(target=lambda: fetched.of_blob(url, "other").add(0, _BODY), daemon=True)
        adding.start()
        adding.join(timeout=10)
        is_kept.append(not adding.is_alive())
        return close(self)

    monkeypatch.setattr(BlobBytes, "close", close_while_another_is_read)
    fetched.release(url, "etag")
    assert is_kept == [True]
    assert fetched.of_blob(url, "other").read(0, len(_BODY)) == _BODY


def test_file_that_is_still_open_keeps_nothing_after_release(url: str) -> None:
    fetched = FetchedBytes()
    with open_blob_file(url, fetched=fetched) as file:
        assert _read(file, 0, _BLOCK) == _BODY[:_BLOCK]
        kept = fetched.of_blob(file.identity.url, file.identity.etag)
        fetched.release(file.identity.url, file.identity.etag)
        assert file.readall() == _BODY[_BLOCK:]
    assert kept.read(2 * _BLOCK, _BLOCK) == b""


@pytest.fixture(params=["full", "small", "no folder"])
def limited_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small":
        monkeypatch.setattr("framecache.store.fetched_bytes._MAX_BYTES", 9 * 300)
    elif request.param == "no folder":
        monkeypatch.setattr("tempfile.tempdir", "/nonexistent/folder")
    else:
        written = 0
        pwrite = os.pwrite

        def until_full(descriptor: int, data: bytes, offset: int) -> int:
            nonlocal written
            written += len(data)
            if written > 5000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return pwrite(descriptor, data, offset)

        monkeypatch.setattr("os.pwrite", until_full)


@pytest.mark.usefixtures("limited_disk")
def test_what_a_full_disk_cannot_keep_is_fetched_again(url: str) -> None:
    fetched = FetchedBytes()
    for _ in range(2):
        with open_blob_file(url, fetched=fetched) as file:
            assert file.readall() == _BODY


@pytest.mark.parametrize("seed", range(20))
def test_reads_return_the_bytes_of_the_object_whatever_is_announced(url: str, seed: int) -> None:
    dice = Random(seed)
    fetched = FetchedBytes()
    for _ in range(3):
        with open_blob_file(url, fetched=fetched) as file:
            for _ in range(30):
                if dice.random() < 0.2:
                    edges = sorted(dice.sample(range(len(_BODY) + 1), 2 * dice.randint(0, 5)))
                    ranges = list(zip(edges[::2], edges[1::2], strict=True))
                    file.expect(None if dice.random() < 0.3 else ranges, keep=dice.random() < 0.5)
                begin = dice.randrange(len(_BODY))
                end = min(begin + dice.randint(1, 4000), len(_BODY))
                assert _read(file, begin, end) == _BODY[begin:end]


def test_object_replaced_between_two_announced_ranges_raises_chunk_changed(
    url: str, memory_url: str
) -> None:
    with open_blob_file(url) as file:
        file.expect([(begin, begin + _BLOCK) for begin in range(0, 40 * _BLOCK, 2 * _BLOCK)])
        assert _read(file, 0, _BLOCK) == _BODY[:_BLOCK]
        open_store(memory_url).put("c0.mp4", _BODY[::-1])
        with pytest.raises(ChunkChanged):
            _read_every_other_block(file)
        assert isinstance(file.error, ChunkChanged)


def test_server_that_ignores_range_is_refused(proxy: Proxy, s3_url: str) -> None:
    open_store(s3_url).put("c0.mp4", _BODY)
    proxy.always(network.whole, method="GET")
    with open_blob_file(f"{s3_url}/c0.mp4") as file:
        file.expect([(2000, 3000)])
        with pytest.raises(StoreUnavailable, match="ignores Range"):
            _read(file, 2000, 3000)
