"""Writing frames that a program already holds into packs."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import Any

import boto3
import clips
import pytest
from packed import (
    PREFIX,
    Breaking,
    damage,
    extract,
    noise,
    rows,
    run_at_request,
    sequences,
    timeline,
    without_location,
    write,
)

import tars
from framecache import (
    CorruptFrame,
    Frame,
    FrameCache,
    FrameCacheError,
    InvalidValue,
    SettingsConflict,
    StoreFull,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
)
from framecache.model import Layout
from framecache.store import Store, open_store
from framecache.testing import HookedStore
from outside import everything, frame, frames_of, library_threads, mean_error, outside, picture
from tars import jpegs_in, members_of, packs_of


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


# Writing frames that a program holds


def test_each_write_stores_one_pack(store_url: str, tmp_path: Path) -> None:
    write(store_url, [3, 0, 9], layout="packs")
    write(store_url, [4])
    packs = packs_of(outside(store_url), "t")
    assert frames_of(outside(store_url), "t") == {}
    assert sorted(sorted(jpegs_in({key: pack})) for key, pack in packs.items()) == [[0, 3, 9], [4]]
    assert sequences(timeline(store_url).frames()) == [0, 3, 4, 9]
    for one in timeline(store_url).frames():
        assert mean_error(one.image, picture(one.sequence)) <= 3
    for number, pack in enumerate(packs.values()):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(pack)
        assert tars.by_webdataset(path) == members_of(pack)


def test_index_of_written_frames_equals_that_of_layout_objects(url: str) -> None:
    write(url, [3, 0, 9], layout="packs")
    timeline(url, "o").write([frame(n) for n in (3, 0, 9)])
    others = timeline(url, "o").index.to_arrow().to_pylist()
    assert [*map(without_location, rows(url))] == [*map(without_location, others)]


def test_write_of_cached_frames_stores_nothing(store_url: str) -> None:
    write(store_url, range(5), layout="packs")
    before = everything(outside(store_url))
    assert write(store_url, range(5)) == 5
    assert write(store_url, [2], layout="packs") == 1
    assert everything(outside(store_url)) == before


def test_write_of_partly_cached_frames_stores_only_new_ones(url: str) -> None:
    write(url, range(3), layout="packs")
    before = packs_of(outside(url), "t")
    write(url, range(1, 5))
    new = {key: pack for key, pack in packs_of(outside(url), "t").items() if key not in before}
    assert sorted(jpegs_in(new)) == [3, 4]
    assert [row["duration"] for row in rows(url)] == [0.125] * 5


@pytest.mark.parametrize("place", [0, 50, 99])
def test_conflicting_frame_is_rejected_and_leaves_no_pack(store_url: str, place: int) -> None:
    write(store_url, [500], layout="packs")
    before = everything(outside(store_url))
    frames = [frame(n) for n in range(100)]
    frames.insert(place, frame(500, number=9))
    with pytest.raises(SettingsConflict, match=r"frame 500 of timeline t .* clear"):
        timeline(store_url).write(frames)
    assert everything(outside(store_url)) == before


@pytest.mark.parametrize("how", ["a bit flipped", "cut within the frame", "lost"])
def test_damaged_frame_can_be_read_after_second_write(store_url: str, how: str) -> None:
    write(store_url, range(5), layout="packs")
    before = rows(store_url)
    damage(store_url, 4, how)
    with pytest.raises(CorruptFrame, match="write the frame again"):
        timeline(store_url).frame(4)
    opened = timeline(store_url)
    assert len(opened) == 5

    assert write(store_url, range(5)) == 5

    for t in (opened, timeline(store_url)):
        for one in t.frames():
            assert mean_error(one.image, picture(one.sequence)) <= 3
    assert [*map(without_location, rows(store_url))] == [*map(without_location, before)]


def test_second_write_stores_only_damaged_and_new_frames(url: str) -> None:
    write(url, range(5), layout="packs")
    before = packs_of(outside(url), "t").keys()
    damage(url, 2, "a bit flipped")
    write(url, range(7))
    new = {key: pack for key, pack in packs_of(outside(url), "t").items() if key not in before}
    assert sorted(jpegs_in(new)) == [2, 5, 6]
    assert [row["duration"] for row in rows(url)] == [0.125] * 7
    after = everything(outside(url))
    write(url, range(7))
    assert everything(outside(url)) == after


def test_open_reader_reads_frames_written_after_damage(url: str) -> None:
    write(url, range(5), layout="packs")
    opened = timeline(url)
    frames = opened.frames()
    damage(url, 0, "lost")
    write(url, range(5))
    assert sequences(frames) == [0, 1, 2, 3, 4]
    assert list(opened.jpegs(range(5))) == list(timeline(url).jpegs(range(5)))


@pytest.mark.parametrize(("layout", "other"), [("objects", "packs"), ("packs", "objects")])
def test_write_with_different_layout_or_quality_conflicts(
    url: str, layout: Layout, other: Layout
) -> None:
    write(url, range(2), layout=layout)
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match=f"framecache repack t --layout {other}"):
        write(url, [2], layout=other)
    with pytest.raises(SettingsConflict, match=r"85.*60"):
        write(url, [2], quality=60)
    assert everything(outside(url)) == before


def test_clear_allows_write_in_different_layout(store_url: str) -> None:
    write(store_url, range(2), layout="packs")
    timeline(store_url).clear()
    write(store_url, range(2), layout="objects")
    assert sorted(frames_of(outside(store_url), "t")) == ["0.jpg", "1.jpg"]
    assert packs_of(outside(store_url), "t") == {}


def test_write_and_extraction_in_one_packs_timeline_conflict(url: str) -> None:
    extract(url)
    before = everything(outside(url))
    with pytest.raises(SettingsConflict, match="extracted from chunks"):
        write(url, [100])
    timeline(url, "w").write([frame(0)], layout="packs")
    with pytest.raises(SettingsConflict, match="frames that a program wrote"):
        timeline(url, "w").extract(clips.chunks())
    after = {key: body for key, body in everything(outside(url)).items() if "/w/" not in key}
    assert after == before


class ProducerError(Exception):
    """Error with which a caller's generator fails."""


@pytest.mark.parametrize("error", [ProducerError, KeyboardInterrupt, GeneratorExit])
def test_write_with_failing_producer_leaves_no_pack(
    store_url: str, error: type[BaseException]
) -> None:
    def produce() -> Iterator[Frame]:
        yield from (frame(n) for n in range(50))
        raise error

    with pytest.raises(error):
        timeline(store_url).write(produce(), layout="packs")
    assert packs_of(outside(store_url), "t") == {}
    assert library_threads() == set()
    assert write(store_url, range(50)) == 50


@pytest.mark.parametrize("bad", [frame(3), "no frame", frame(-1), frame(2**60)])
def test_write_with_invalid_frame_leaves_no_pack(url: str, bad: Frame) -> None:
    with pytest.raises(InvalidValue):
        timeline(url).write([*(frame(n) for n in range(40)), bad], layout="packs")
    assert packs_of(outside(url), "t") == {}
    assert not timeline(url).exists


@pytest.mark.parametrize(
    "error", [StoreFull("no room"), StorePermissionDenied("no"), StoreUnavailable("?")]
)
def test_store_failure_during_upload_fails_the_write(url: str, error: FrameCacheError) -> None:
    write(url, [100], layout="packs")
    before = packs_of(outside(url), "t")
    breaking = Timeline(Breaking(FrameCache(url).store, error, blocks=4), "t")
    with pytest.raises(type(error)) as raised:
        breaking.write((frame(n) for n in range(300)), workers=2)
    assert raised.value is error
    assert packs_of(outside(url), "t") == before
    assert library_threads() == set()


@pytest.mark.parametrize("end", ["clear", "delete"])
def test_write_to_cleared_or_deleted_timeline_leaves_no_pack(store_url: str, end: str) -> None:
    write(store_url, [100], layout="packs")

    def produce() -> Iterator[Frame]:
        yield frame(0)
        getattr(timeline(store_url), end)()
        yield frame(1)

    store = HookedStore(FrameCache(store_url).store)
    with pytest.raises(TimelineCleared, match="timeline t "):
        Timeline(store, "t").write(produce())
    assert not timeline(store_url).exists
    assert packs_of(outside(store_url), "t") == {}
    removed = [key for action, key in store.requests if action == "delete" and "/packs/" in key]
    assert len(removed) == len(set(removed)) <= 1


def test_concurrent_writes_into_packs_all_succeed(store_url: str) -> None:
    write(store_url, [0], layout="packs")
    with ThreadPoolExecutor(4) as pool:
        batches = [range(4), range(2, 6), range(4, 8), range(8)]
        assert list(pool.map(lambda numbers: write(store_url, numbers), batches)) == [4, 4, 4, 8]
    assert sequences(timeline(store_url).frames()) == list(range(8))
    for one in timeline(store_url).frames():
        assert mean_error(one.image, picture(one.sequence)) <= 3


def test_concurrent_write_of_same_sequence_keeps_first_and_leaves_no_pack(
    url: str,
) -> None:
    def write_another() -> None:
        timeline(url).write([frame(0, number=2)], layout="packs")

    store = HookedStore(
        FrameCache(url).store, before=run_at_request("create", "/index/", write_another)
    )
    with pytest.raises(SettingsConflict, match="frame 0"):
        Timeline(store, "t").write([frame(0, number=1)], layout="packs")
    assert mean_error(timeline(url).frame(0).image, picture(2)) <= 3
    assert set(packs_of(outside(url), "t")) == {row["key"] for row in rows(url)}


@pytest.mark.every_store
def test_multipart_pack_is_read_as_written(store_url: str) -> None:
    """A store receives a blob of more than 16 MiB in parts."""
    timeline(store_url).write((noise(n) for n in range(250)), layout="packs")
    [pack] = packs_of(outside(store_url), "t").values()
    assert len(pack) > 24 << 20
    assert list(timeline(store_url).jpegs(range(250))) == list(jpegs_in({"": pack}).values())


@pytest.mark.parametrize("error", [StoreFull("no room"), ProducerError("broken")])
@pytest.mark.every_store
def test_upload_interrupted_late_leaves_no_pack(store_url: str, error: Exception) -> None:
    breaking = Breaking(FrameCache(store_url).store, error, blocks=200)
    with pytest.raises(type(error)):
        Timeline(breaking, "t").write((noise(n) for n in range(250)), layout="packs")
    assert outside(store_url).list(f"{PREFIX}packs/") == []
    assert library_threads() == set()


class _InterruptedQueue(Queue[object]):
    """Queue that raises KeyboardInterrupt when the end of the frames is put into it."""

    left = 1

    def put(self, item: object, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- passed on
        if not isinstance(item, tuple) and self.left:
            self.left -= 1
            raise KeyboardInterrupt
        super().put(item, *args, **kwargs)


def test_ctrl_c_while_last_frame_waits_for_upload_ends_write(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._layouts.pack_upload.Queue", _InterruptedQueue)
    with pytest.raises(KeyboardInterrupt):
        write(url, range(40), layout="packs")
    assert packs_of(outside(url), "t") == {}
    assert library_threads() == set()


def test_ctrl_c_at_end_of_upload_leaves_no_pack(url: str) -> None:
    came = threading.Event()

    def interrupted(*_: object) -> None:
        came.set()
        raise KeyboardInterrupt

    def interrupt(action: str, key: str) -> None:
        if action == "put" and "/packs/" in key:
            os.kill(os.getpid(), signal.SIGINT)
            assert came.wait(30)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        hooked = HookedStore(FrameCache(url).store, after=interrupt)
        with pytest.raises(KeyboardInterrupt):
            Timeline(hooked, "t").write([frame(n) for n in range(40)], layout="packs")
    finally:
        signal.signal(signal.SIGINT, before)
    assert packs_of(outside(url), "t") == {}
    assert library_threads() == set()


@pytest.mark.parametrize("name", ["s3_url", pytest.param("ceph_url", marks=pytest.mark.ceph)])
def test_interrupted_upload_leaves_no_multipart_upload(
    request: pytest.FixtureRequest, name: str
) -> None:
    url = request.getfixturevalue(name)
    breaking = Breaking(FrameCache(url).store, ProducerError("broken"), blocks=200)
    with pytest.raises(ProducerError):
        Timeline(breaking, "t").write((noise(n) for n in range(250)), layout="packs")
    with closing(boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])) as client:
        begun = client.list_multipart_uploads(Bucket=url.removeprefix("s3://"))
    assert begun.get("Uploads", []) == []
