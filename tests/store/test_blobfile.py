import io
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framecache.errors import (
    ChunkChanged,
    InvalidValue,
    OutOfTime,
    StoreUnavailable,
    UnreadableChunk,
)
from framecache.store import BlobFile, identify_blob, open_blob_file, open_store

_BLOCK = 1000
_BODY = np.random.default_rng(7).bytes(10 * _BLOCK + 123)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache.store.remote_chunk._BLOCK_SIZE_BYTES", _BLOCK)


@pytest.fixture
def chunk_url(store_url: str) -> str:
    """An object, or a file, that holds `_BODY`."""
    open_store(store_url).put("videos/c0.mp4", _BODY)
    return f"{store_url}/videos/c0.mp4"


@pytest.fixture
def chunk(chunk_url: str) -> Iterator[BlobFile]:
    with open_blob_file(chunk_url) as file:
        yield file


@pytest.fixture
def memory_chunk_url(memory_url: str) -> str:
    open_store(memory_url).put("c0.mp4", _BODY)
    return f"{memory_url}/c0.mp4"


def _replace(url: str, body: bytes) -> None:
    folder, _, key = url.rpartition("/")
    open_store(folder).put(key, body)


def _reading_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("framecache-read-ahead")]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 3 * _BLOCK)),
        st.tuples(st.just("set"), st.integers(0, len(_BODY) + 50)),
        st.tuples(st.just("end"), st.integers(-len(_BODY), 50)),
        st.tuples(st.just("move"), st.integers(0, 2 * _BLOCK)),
    ),
    max_size=30,
)


# The file is put back at its beginning, so that examples may share it.
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
def test_reads_and_seeks_match_those_of_bytesio(
    chunk: BlobFile, steps: list[tuple[str, int]]
) -> None:
    truth = io.BytesIO(_BODY)
    buffered = io.BufferedReader(chunk, buffer_size=64)
    chunk.seek(0)
    buffered.seek(0)
    for what, amount in steps:
        if what == "read":
            assert buffered.read(amount) == truth.read(amount)
        elif what == "move":
            assert buffered.seek(amount, io.SEEK_CUR) == truth.seek(amount, io.SEEK_CUR)
        else:
            whence = io.SEEK_END if what == "end" else io.SEEK_SET
            assert buffered.seek(amount, whence) == truth.seek(amount, whence)
        assert buffered.tell() == truth.tell()
    buffered.detach()


def test_readall_returns_the_whole_blob(chunk: BlobFile) -> None:
    assert chunk.readall() == _BODY
    assert chunk.read(1) == b""
    assert chunk.seekable()
    assert chunk.readable()
    assert not chunk.writable()


def test_identity_equals_that_of_identify_blob(chunk: BlobFile, chunk_url: str) -> None:
    identity = identify_blob(chunk_url)
    assert (chunk.url, chunk.etag, chunk.size_bytes) == (
        identity.url,
        identity.etag,
        identity.size_bytes,
    )
    assert identity.size_bytes == len(_BODY)
    assert identity.etag
    assert "://" in identity.url


def test_blob_with_the_expected_identity_is_opened(chunk_url: str) -> None:
    identity = identify_blob(chunk_url)
    with open_blob_file(
        identity.url, expected_etag=identity.etag, expected_size=identity.size_bytes
    ) as file:
        assert file.read(3) == _BODY[:3]


def test_blob_with_another_identity_than_expected_is_refused(chunk_url: str) -> None:
    with pytest.raises(ChunkChanged, match="ETag"):
        open_blob_file(chunk_url, expected_etag="another")
    with pytest.raises(ChunkChanged, match="size"):
        open_blob_file(chunk_url, expected_size=1)


@pytest.mark.parametrize(
    "successor", [_BODY[::-1], _BODY[:-1], _BODY[:500], b"", _BODY + b"more", None]
)
@pytest.mark.parametrize("kind", ["memory", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_change_while_reading_raises_chunk_changed(
    kind: str, successor: bytes | None, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    store = open_store(url)
    store.put("c0.mp4", _BODY)
    with open_blob_file(f"{url}/c0.mp4") as file:
        assert file.read(10) == _BODY[:10]
        if successor is None:
            store.delete(["c0.mp4"])
        else:
            store.put("c0.mp4", successor)
        with pytest.raises(ChunkChanged):
            file.readall()
        assert isinstance(file.error, ChunkChanged)


def test_file_is_at_its_end_after_a_failed_read(memory_chunk_url: str) -> None:
    with open_blob_file(memory_chunk_url) as file:
        _replace(memory_chunk_url, _BODY[::-1])
        with pytest.raises(ChunkChanged):
            file.read(10)
        assert file.read(10) == b""
        file.seek(0)
        assert file.read(10) == b""


def test_local_file_changed_while_reading_raises_chunk_changed(tmp_path: Path) -> None:
    path = tmp_path / "c0.mp4"
    path.write_bytes(_BODY)
    with open_blob_file(str(path)) as file:
        assert file.read(10) == _BODY[:10]
        path.write_bytes(_BODY[:50])
        with pytest.raises(ChunkChanged):
            file.read(10)


def test_replaced_local_file_is_read_as_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "c0.mp4"
    path.write_bytes(_BODY)
    with open_blob_file(str(path)) as file:
        (tmp_path / "other").write_bytes(_BODY[::-1])
        (tmp_path / "other").rename(path)
        assert file.readall() == _BODY
    assert identify_blob(str(path)).etag != file.etag


def test_store_failure_while_reading_is_not_end_of_file(
    memory_chunk_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_blob_file(memory_chunk_url) as file:

        def unreachable(*_: object, **__: object) -> None:
            raise StoreUnavailable("gone")

        monkeypatch.setattr("framecache.store.memory.MemoryStore.get_block", unreachable)
        with pytest.raises(StoreUnavailable):
            file.read(10)


@pytest.mark.parametrize("open_it", [identify_blob, open_blob_file])
@pytest.mark.every_store
def test_missing_blob_is_an_unreadable_chunk(store_url: str, open_it: type) -> None:
    with pytest.raises(UnreadableChunk, match="no such"):
        open_it(f"{store_url}/missing.mp4")


def test_path_that_is_not_a_file_is_an_unreadable_chunk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    for path, what in [
        (tmp_path, "this is a folder, not a file"),
        (tmp_path / "pipe", "this is a device or pipe, not a file"),
        (Path("/dev/zero"), "this is a device or pipe, not a file"),
        (tmp_path / "file" / "below", "no such file"),
    ]:
        with pytest.raises(UnreadableChunk, match=what):
            open_blob_file(str(path))
    with pytest.raises(UnreadableChunk, match="cannot be opened"):
        open_blob_file("/" + "x" * 300)


def test_bucket_url_is_an_unreadable_chunk(memory_url: str) -> None:
    with pytest.raises(UnreadableChunk, match="is a bucket"):
        open_blob_file(memory_url)


@pytest.mark.parametrize("url", ["http://example.org/c.mp4", "hls://x/y.m3u8", "", "a\0b"])
def test_url_of_no_store_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue):
        open_blob_file(url)


def test_missing_bucket_is_not_a_missing_chunk(s3_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        identify_blob(f"{s3_url}-of-nobody/c0.mp4")


def test_object_with_special_characters_in_its_key_is_read(s3_url: str) -> None:
    import boto3  # noqa: PLC0415 - only this test writes past framecache

    key = "Ärger & Co/take #1 (50%20).mp4"
    client = boto3.client("s3")
    client.put_object(Bucket=s3_url.removeprefix("s3://"), Key=key, Body=_BODY)
    client.close()
    with open_blob_file(f"{s3_url}/{key}") as file:
        assert file.readall() == _BODY
        assert file.url == f"{s3_url}/{key}"


def test_local_url_is_absolute_and_percent_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take 1 %.mp4").write_bytes(b"x")
    identity = identify_blob("take 1 %.mp4")
    assert identity.url == f"file://{tmp_path}/take%201%20%25.mp4"
    assert identify_blob(identity.url) == identity
    found = Path("take 1 %.mp4").stat()
    assert identity.etag == f"{found.st_mtime_ns:x}-1"


def test_empty_object_is_an_empty_file(memory_url: str) -> None:
    open_store(memory_url).put("empty", b"")
    with open_blob_file(f"{memory_url}/empty") as file:
        assert file.read() == b""


def test_sequential_reading_prefetches_until_the_file_is_closed(memory_chunk_url: str) -> None:
    file = open_blob_file(memory_chunk_url)
    assert _reading_threads() == []
    file.readall()
    assert len(_reading_threads()) == 1
    file.close()
    assert _reading_threads() == []
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_prefetch_thread_ends_after_a_failed_read(memory_chunk_url: str) -> None:
    with open_blob_file(memory_chunk_url) as file:
        file.read(_BLOCK)
        file.read(_BLOCK)
        _replace(memory_chunk_url, _BODY[::-1])
        with pytest.raises(ChunkChanged):
            file.readall()
    assert _reading_threads() == []


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(100):
            pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _count_frames(file: BlobFile) -> int:
    with av.open(file, "r") as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.every_store
def test_video_is_decoded_through_a_blob_file(store_url: str, video: Path) -> None:
    open_store(store_url).put("clip.mkv", video.read_bytes())
    with open_blob_file(f"{store_url}/clip.mkv") as file:
        assert _count_frames(file) == 100


def test_chunk_changed_error_passes_through_the_decoder(
    memory_url: str, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = open_store(memory_url)
    store.put("clip.mkv", video.read_bytes())
    with open_blob_file(f"{memory_url}/clip.mkv") as file:
        with av.open(file, "r") as container:
            frames = container.decode(video=0)
            next(frames)
            store.put("clip.mkv", video.read_bytes()[:-1] + b"?")
            with pytest.raises(ChunkChanged):
                list(frames)
        assert isinstance(file.error, ChunkChanged)
    assert capfd.readouterr().err == ""


def test_error_before_a_read_ends_the_reading(chunk_url: str) -> None:
    reads = 0

    def stop_at_third() -> None:
        nonlocal reads
        reads += 1
        if reads == 3:
            raise OutOfTime("stopped")

    with open_blob_file(chunk_url, before_read=stop_at_third) as file:
        assert file.read(10) + file.read(10) == _BODY[:20]
        with pytest.raises(OutOfTime):
            file.read(10)
        assert file.read(10) == b""
        assert isinstance(file.error, OutOfTime)
