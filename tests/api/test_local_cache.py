"""Frames that are read again come from local disk, and are those that were committed."""

import multiprocessing
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from framecache import (
    CorruptFrame,
    FrameCache,
    InvalidValue,
    LocalCacheWarning,
    Timeline,
    TimelineCleared,
)
from framecache._read.disk_cache.cache import DiskCache, StoredFrame
from framecache.model import Layout
from outside import frame, frames_of, jpeg_by_pillow, mean_error, outside, picture

PREFIX = "cache/timelines/t/"
SEQUENCES = range(6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a disk cache, which does not exist yet."""
    return tmp_path / "local"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "LOCAL_CACHE", "LOCAL_CACHE_BYTES"):
        monkeypatch.delenv(f"FRAMECACHE_{name}", raising=False)


def fill(url: str, *, first: int = 0, quality: int = 85) -> None:
    """Write frames as another program; their pictures are numbered from ``first``."""
    frames = [frame(n, number=first + n) for n in SEQUENCES]
    FrameCache(url).timeline("t").write(frames, quality=quality)


def timeline(url: str, folder: Path) -> Timeline:
    return FrameCache(url, local_cache=folder).timeline("t")


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "frames").glob("*"))


@contextmanager
def without_frames(url: str) -> Iterator[None]:
    """Fail every fetch of a frame from the store inside the block."""
    blobs = outside(url)
    frames = frames_of(blobs, "t")
    for name in frames:
        blobs.remove(f"{PREFIX}frames/{name}")
    yield
    for name, data in frames.items():
        blobs.put(f"{PREFIX}frames/{name}", data)


@pytest.mark.parametrize("kind", ["s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_second_read_fetches_no_frames(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    fill(url)
    stored = [frames_of(outside(url), "t")[f"{n}.jpg"] for n in SEQUENCES]
    assert list(timeline(url, folder).jpegs(SEQUENCES)) == stored
    with without_frames(url):
        again = timeline(url, folder)
        assert list(again.jpegs(SEQUENCES)) == stored
        assert [f.sequence for f in again.frames(step=2)] == [0, 2, 4]
        assert len(again.batch([5, 1])) == 2
        for n in SEQUENCES:
            assert mean_error(again.frame(n).image, picture(n)) <= 3


def test_every_read_method_puts_fetched_frames_in_local_cache(s3_url: str, folder: Path) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    t.frame(0)
    t.jpeg(1)
    t.batch([2])
    list(t.jpegs([3]))
    assert len(copies(folder)) == 4
    list(t.frames())
    assert len(copies(folder)) == 6


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_partly_local_frames_are_read_in_requested_order(
    s3_url: str, tmp_path: Path, layout: Layout
) -> None:
    FrameCache(s3_url).timeline("t").write(
        [frame(n, width=16, height=16) for n in range(350)], layout=layout
    )
    images = {one.sequence: one.image for one in FrameCache(s3_url).timeline("t").frames()}
    some = random.Random(5).choices(range(350), k=300)
    for number, kept in enumerate((range(0, 350, 2), range(150), range(150, 350), range(128, 256))):
        folder = tmp_path / f"{number}"
        t = timeline(s3_url, folder)
        assert len(list(t.jpegs(kept))) == len(copies(folder)) == len(kept)
        for image, sequence in zip(t.batch(some), some, strict=True):
            assert np.array_equal(image, images[sequence])
        read = list(timeline(s3_url, folder).frames())
        assert [one.sequence for one in read] == list(range(350))
        assert all(np.array_equal(one.image, images[one.sequence]) for one in read)
        assert len(copies(folder)) == 350


def test_copy_removed_before_read_is_fetched_from_store(
    s3_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    before = t.batch(SEQUENCES)
    prefetch = DiskCache.prefetch

    def prefetch_and_lose(self: DiskCache, row: StoredFrame) -> bool:
        found = prefetch(self, row)
        for copy in copies(folder):
            copy.unlink()
        return found

    monkeypatch.setattr(DiskCache, "prefetch", prefetch_and_lose)
    assert np.array_equal(t.batch([0]), before[:1])
    assert len(copies(folder)) == 1
    assert np.array_equal(t.batch(SEQUENCES), before)


def test_spawned_process_uses_same_local_cache(s3_url: str, folder: Path) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        data = pool.apply(t.jpeg, (3,))
    with without_frames(s3_url):
        assert t.jpeg(3) == data


def test_frames_of_stores_sharing_a_local_cache_are_kept_apart(s3_url: str, folder: Path) -> None:
    for number, name in ((0, "a"), (50, "b")):
        fill(f"{s3_url}/{name}", first=number)
        timeline(f"{s3_url}/{name}", folder).frame(1)
    for number, name in ((0, "a"), (50, "b")):
        image = timeline(f"{s3_url}/{name}", folder).frame(1).image
        assert mean_error(image, picture(number + 1)) <= 3


@pytest.mark.parametrize("quality", [85, 60])
def test_frames_written_after_clear_replace_local_copies(
    s3_url: str, folder: Path, quality: int
) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    list(t.frames())
    FrameCache(s3_url).timeline("t").clear()
    assert list(t.frames()) == []
    assert not timeline(s3_url, folder).exists
    fill(s3_url, first=100, quality=quality)
    for reader in (timeline(s3_url, folder), t):
        read = list(reader.frames())
        assert len(read) == 6
        for one in read:
            assert mean_error(one.image, picture(100 + one.sequence)) <= 3


@pytest.mark.parametrize(
    "read", [lambda t: t.jpeg(0), lambda t: t.batch([0])], ids=["jpeg", "batch"]
)
def test_clear_is_noticed_by_reader_of_local_copies_after_manifest_ttl(
    s3_url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Timeline], object],
) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    before = t.jpeg(0)
    FrameCache(s3_url).timeline("t").clear()
    assert t.jpeg(0) == before
    monkeypatch.setattr("framecache._read.disk_cache.timeline.MANIFEST_TTL_SECONDS", 0.0)
    with pytest.raises(TimelineCleared, match="timeline t "):
        read(t)


def test_corrupt_frame_is_not_put_in_local_cache(s3_url: str, folder: Path) -> None:
    fill(s3_url)
    outside(s3_url).put(f"{PREFIX}frames/2.jpg", jpeg_by_pillow(99))
    with pytest.raises(CorruptFrame):
        timeline(s3_url, folder).jpeg(2)
    assert copies(folder) == []


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.jpeg(0),
        lambda t: t.batch([0]).tobytes(),
        lambda t: next(iter(t.frames(stop=1))).image.tobytes(),
    ],
    ids=["jpeg", "batch", "frames"],
)
def test_damaged_copy_is_fetched_again(
    s3_url: str, folder: Path, read: Callable[[Timeline], bytes]
) -> None:
    fill(s3_url)
    t = timeline(s3_url, folder)
    expected, data = read(t), t.jpeg(0)
    [copy] = copies(folder)
    for damaged in (data[:-1], b"", bytes([data[0] ^ 1]) + data[1:]):
        copy.write_bytes(damaged)
        assert read(t) == expected
        assert copy.read_bytes() == data


def test_foreign_frames_are_not_put_in_local_cache(s3_url: str, folder: Path) -> None:
    blobs = outside(s3_url)
    blobs.put(f"{PREFIX}frames/0.jpg", jpeg_by_pillow(1))
    t = timeline(s3_url, folder)
    assert t.jpeg(0) == jpeg_by_pillow(1)
    blobs.put(f"{PREFIX}frames/0.jpg", jpeg_by_pillow(2))
    assert t.jpeg(0) == jpeg_by_pillow(2)
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_frames_of_local_store_are_not_put_in_local_cache(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    fill(url)
    timeline(url, folder).frame(0)
    assert not folder.exists()


def test_folder_and_size_limit_come_from_environment_without_arguments(
    s3_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(s3_url)
    monkeypatch.setenv("FRAMECACHE_LOCAL_CACHE", str(folder))
    FrameCache(s3_url).timeline("t").frame(0)
    assert len(copies(folder)) == 1
    FrameCache(s3_url, local_cache="").timeline("t").frame(1)
    assert len(copies(folder)) == 1
    FrameCache(s3_url, local_cache=folder.with_name("other")).timeline("t").frame(2)
    assert len(copies(folder.with_name("other"))) == 1
    monkeypatch.setenv("FRAMECACHE_LOCAL_CACHE_BYTES", "10GB")
    with pytest.raises(InvalidValue, match=r"\$FRAMECACHE_LOCAL_CACHE_BYTES .*'10GB'"):
        FrameCache(s3_url)
    monkeypatch.setenv("FRAMECACHE_LOCAL_CACHE_BYTES", "5")
    with pytest.raises(InvalidValue, match=r"\$FRAMECACHE_LOCAL_CACHE_BYTES .*1048576.* 5"):
        FrameCache(s3_url)


@pytest.mark.parametrize("size", [0, -1, 2**20 - 1, 1e9, True, "1000000000"])
def test_local_cache_bytes_out_of_range_is_rejected(
    memory_url: str, folder: Path, size: int
) -> None:
    with pytest.raises(InvalidValue, match="local_cache_bytes"):
        FrameCache(memory_url, local_cache=folder, local_cache_bytes=size)


@pytest.mark.parametrize("path", ["s3://bucket/x", "file:///x", "a\0b", "~nobody-of-that-name/x"])
def test_local_cache_that_is_not_a_local_folder_is_rejected(memory_url: str, path: str) -> None:
    with pytest.raises(InvalidValue, match="local_cache"):
        FrameCache(memory_url, local_cache=path)


def test_folder_with_foreign_files_is_rejected_before_any_request(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(InvalidValue, match="not copies of frames"):
        FrameCache("s3://bucket", local_cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_full_disk_raises_a_warning_and_reading_continues(s3_url: str, small_disk: Path) -> None:
    fill(s3_url)
    (small_disk / "filling").write_bytes(bytes(2**20 - 4 * 4096))
    with pytest.warns(LocalCacheWarning, match="no space is left"):
        read = list(timeline(s3_url, small_disk / "local").frames())
    for one in read:
        assert mean_error(one.image, picture(one.sequence)) <= 3
