"""Layout video: nothing is stored, frames are decoded from their chunks when they are read."""

import json
import multiprocessing
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import clips
import numpy as np
import pytest

import media
from framecache import (
    Chunk,
    ChunkChanged,
    DecoderWarning,
    Frame,
    FrameCache,
    InvalidValue,
    MissingPackage,
    NotCached,
    SettingsConflict,
    Timeline,
    TimelineCleared,
    UndecodableFrame,
    UnreadableChunk,
    functional,
)
from framecache._index import Index
from framecache._maintain.copying import copy_timeline
from framecache._media import video
from framecache._media.video.container import Container
from framecache._read import frame_source
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import PictureCache, pictures
from framecache.model import Layout
from framecache.store import open_store
from network import Exchange, Proxy, none
from outside import everything, frame, frames_of, outside

FRAMES: Final = 45
PREFIX: Final = "cache/timelines/"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Let no test read what another one decoded."""
    chunk_pool.value.clear()
    pictures.value.clear()
    yield
    chunk_pool.value.clear()


@pytest.fixture
def chunk(tmp_path: Path) -> Path:
    """A chunk that the test may change."""
    return clips.copy_to(clips.clip(), tmp_path / "chunks")


def forget() -> None:
    chunk_pool.value.clear()
    pictures.value.clear()


def both(
    url: str,
    chunks: list[Path] | list[Chunk],
    **options: Any,  # noqa: ANN401 -- those of extract
) -> tuple[Timeline, Timeline]:
    """Return the same chunks in layout objects and in layout video."""
    stored, watched = FrameCache(url).timeline("stored"), FrameCache(url).timeline("watched")
    stored.extract(chunks, **options)
    watched.extract(chunks, layout="video", **options)
    return stored, watched


def jpegs(timeline: Timeline) -> list[bytes]:
    return list(timeline.jpegs(timeline.index.sequence[timeline.index.is_ok].tolist()))


def rows(timeline: Timeline) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = timeline.index.to_arrow().to_pylist()
    return found


def test_extract_stores_the_index_and_no_frame(local_url: str) -> None:
    report = FrameCache(local_url).timeline("t").extract(clips.chunks(), layout="video")
    assert (report.frames_extracted, report.bytes_stored) == (FRAMES, 0)
    names = [name.removeprefix(f"{PREFIX}t/") for name in everything(outside(local_url))]
    assert names
    assert not [name for name in names if name.startswith("frames/") or "pack" in name]


def test_index_has_nulls_for_what_is_not_known(local_url: str) -> None:
    stored, watched = both(local_url, clips.chunks())
    unknown = ("size", "crc32c", "perceptual_hash", "status")
    for one, other in zip(rows(stored), rows(watched), strict=True):
        assert [other[name] for name in unknown] == [None] * 4
        for name in ("sequence", "chunk_id", "pts", "timestamp", "duration", "width", "height"):
            assert one[name] == other[name]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_of_other_libraries_have_nulls(local_url: str, library: str) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    if library == "pandas":
        frame = watched.index.to_pandas()
        assert frame[["size", "crc32c", "perceptual_hash", "status"]].isna().all().all()
    else:
        table = watched.index.to_polars()
        assert table["size"].null_count() == table["status"].null_count() == FRAMES


def test_index_file_is_read_again_as_it_was_written(local_url: str) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    again = Index.decode(watched.index.encode(b"{}"), key="k")
    assert again.status.tolist() == ["unknown"] * FRAMES
    assert again.is_ok.all()
    assert again.is_decoded_on_demand.all()
    assert again.to_arrow().equals(watched.index.to_arrow())


SAMPLINGS: Final[list[dict[str, Any]]] = [
    {},
    {"fps": 7},
    {"every": 4},
    {"keyframes": True},
    {"quality": 60},
]


@pytest.mark.parametrize("options", SAMPLINGS, ids=str)
def test_every_way_of_reading_gives_what_extraction_stores(
    local_url: str, options: dict[str, Any]
) -> None:
    stored, watched = both(local_url, clips.chunks(), **options)
    sequences = stored.index.sequence.tolist()
    backwards = sequences[::-1]
    assert [watched.jpeg(one) for one in backwards] == [stored.jpeg(one) for one in backwards]
    assert list(watched.jpegs(sequences)) == list(stored.jpegs(sequences))
    mixed = [*sequences[1::2], *sequences[::2], sequences[0]]
    assert (watched.batch(mixed) == stored.batch(mixed)).all()
    assert [*map(key, watched.frames())] == [*map(key, stored.frames())]
    assert [*map(key, watched.frames(reverse=True))] == [*map(key, stored.frames(reverse=True))]
    assert key(watched.frame_at(0.5)) == key(stored.frame_at(0.5))


def key(one: Frame) -> tuple[int, int, float, str, bytes]:
    return (
        *(one.sequence, one.chunk_id, one.timestamp, one.perceptual_hash),
        one.image.tobytes(),
    )


def test_part_of_a_chunk_is_read(local_url: str) -> None:
    stored, watched = both(local_url, [Chunk(str(clips.clip()), trim_start=0.5, trim_stop=1.2)])
    assert jpegs(watched) == jpegs(stored)


def test_appended_chunk_is_read(local_url: str) -> None:
    first, second, third = clips.chunks()
    watched = FrameCache(local_url).timeline("watched")
    watched.extract([first], layout="video")
    watched.frame(3)
    watched.append([second])
    watched.append([third])
    stored = FrameCache(local_url).timeline("stored")
    stored.extract(clips.chunks())
    assert jpegs(watched) == jpegs(stored)


def test_undecodable_frames_are_found_when_they_are_read(local_url: str) -> None:
    stored, watched = both(local_url, [clips.ends_in_garbage()])
    broken = stored.index.sequence[~stored.index.is_ok].tolist()
    whole = stored.index.sequence[stored.index.is_ok].tolist()
    assert broken
    assert whole
    for sequence in broken:
        with pytest.raises(UndecodableFrame, match=f"frame {sequence} of timeline watched"):
            watched.frame(sequence)
        with pytest.raises(UndecodableFrame):
            watched.jpeg(sequence)
    assert [one.sequence for one in watched.frames()] == whole
    everywhere = [*whole, *broken]
    assert list(watched.jpegs(everywhere, missing="skip")) == jpegs(stored)
    assert (watched.batch(everywhere, missing="skip") == stored.batch(whole)).all()
    with pytest.raises(UndecodableFrame):
        watched.batch(everywhere)
    with pytest.raises(UndecodableFrame):
        list(watched.frames(missing="raise"))


def test_frame_of_a_changed_chunk_is_an_error(local_url: str, chunk: Path) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([chunk], layout="video")
    watched.frame(3)
    chunk.write_bytes(clips.clip(keyframe_every=5).read_bytes())
    forget()
    with pytest.raises(ChunkChanged, match="rebuild the timeline"):
        watched.frame(3)
    with pytest.raises(ChunkChanged):
        list(watched.frames())


def test_frame_of_a_removed_chunk_is_an_error(local_url: str, chunk: Path) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([chunk], layout="video")
    chunk.unlink()
    with pytest.raises(UnreadableChunk, match="no such file"):
        watched.frame(3)
    shutil.copy(clips.clip(), chunk)
    clips.set_time(chunk, 10**18)
    with pytest.raises(ChunkChanged):
        watched.frame(3)


def put_chunk(s3_url: str, data: bytes) -> str:
    outside(s3_url).put("chunks/c0.mp4", data)
    return f"{s3_url}/chunks/c0.mp4"


class Recorder:
    """Requests for the chunk that passed a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[int], None] = lambda _: None
        proxy.always(self.exchange, within="/chunks/")

    def exchange(self, exchange: Exchange) -> None:
        self.before(len(self.requests))
        self.requests.append((exchange.command, exchange.headers.get("Range", "")))
        none(exchange)


@pytest.mark.parametrize("faststart", [True, False])
def test_one_frame_takes_few_small_requests(s3_url: str, proxy: Proxy, faststart: bool) -> None:  # noqa: FBT001
    data = long_clip(faststart=faststart).read_bytes()
    url = put_chunk(s3_url, data)
    FrameCache(s3_url).timeline("t").extract([url], layout="video")
    watched = FrameCache(s3_url).timeline("t")
    assert len(watched) == LONG_FRAMES
    forget()
    recorder = Recorder(proxy)
    watched.frame(LONG_FRAMES // 2)
    assert {command for command, _ in recorder.requests} == {"GET"}
    assert len(recorder.requests) <= (2 if faststart else 3)
    assert sum(map(length, recorder.requests)) < len(data) / 4
    recorder.requests.clear()
    watched.frame(LONG_FRAMES // 4)
    assert len(recorder.requests) == 1
    recorder.requests.clear()
    watched.frame(LONG_FRAMES // 4 - 1)
    assert recorder.requests == []


def length(request: tuple[str, str]) -> int:
    first, _, last = request[1].removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1


LONG_FRAMES: Final = 600


def long_clip(*, faststart: bool) -> Path:
    """A clip of 20 s whose pictures are noise, so that it is long in bytes as well."""

    def make(path: Path) -> None:
        media.ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30"),
            *("-vf", "noise=c0s=60:c0f=t", "-frames:v", str(LONG_FRAMES)),
            *("-c:v", "libx264", "-g", "30", "-bf", "2", "-pix_fmt", "yuv420p", "-crf", "18"),
            *(("-movflags", "+faststart") if faststart else ()),
            str(path),
        )

    return media.made(f"layout-video-{'fast' if faststart else 'slow'}start.mp4", make)


def test_chunk_replaced_between_two_ranges_is_an_error(s3_url: str, proxy: Proxy) -> None:
    data = long_clip(faststart=True).read_bytes()
    url = put_chunk(s3_url, data)
    watched = FrameCache(s3_url).timeline("t")
    watched.extract([url], layout="video")
    forget()
    recorder = Recorder(proxy)

    def replace(number: int) -> None:
        if number == 1:
            recorder.before = lambda _: None
            put_chunk(s3_url, data[:-1] + bytes([data[-1] ^ 1]))

    recorder.before = replace
    with pytest.raises(ChunkChanged):
        watched.frame(LONG_FRAMES // 2)
    assert len(recorder.requests) >= 2


def test_chunk_that_went_is_an_error(s3_url: str) -> None:
    url = put_chunk(s3_url, clips.clip().read_bytes())
    watched = FrameCache(s3_url).timeline("t")
    watched.extract([url], layout="video")
    outside(s3_url).remove("chunks/c0.mp4")
    with pytest.raises(ChunkChanged):
        watched.frame(0)


def test_objects_give_what_extraction_stores(s3_url: str) -> None:
    url = put_chunk(s3_url, long_clip(faststart=False).read_bytes())
    stored, watched = both(s3_url, [Chunk(url)], fps=3)
    assert jpegs(watched) == jpegs(stored)


@pytest.mark.parametrize("layout", ["objects", "packs"])
@pytest.mark.parametrize("broken", [[], [clips.ends_in_garbage]], ids=["sound", "damaged"])
def test_repack_is_extraction(
    local_url: str, layout: Layout, broken: list[Callable[[], Path]]
) -> None:
    chunks = [*clips.chunks(), *(make() for make in broken)]
    stored = FrameCache(local_url).timeline("stored")
    stored.extract(chunks, layout=layout)
    watched = FrameCache(local_url).timeline("watched")
    watched.extract(chunks, layout="video")
    report = watched.repack(layout)
    assert report.frames_moved == int(stored.index.is_ok.sum())
    located = {"key", "offset"} if layout == "packs" else {"key"}
    for one, other in zip(rows(stored), rows(watched), strict=True):
        assert {**one, **dict.fromkeys(located)} == {**other, **dict.fromkeys(located)}
    assert jpegs(watched) == jpegs(stored)
    assert watched.verify(deep=True).frames_checked == len(stored)


def test_repack_of_a_changed_chunk_changes_nothing(local_url: str, chunk: Path) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([chunk], layout="video")
    chunk.write_bytes(clips.clip(keyframe_every=5).read_bytes())
    before = everything(outside(local_url))
    with pytest.raises(ChunkChanged):
        watched.repack("objects")
    assert frames_of(outside(local_url), "t") == {}
    assert before.items() <= everything(outside(local_url)).items()


def test_repack_to_video_is_refused_and_rebuild_does_it(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.chunks())
    before = jpegs(timeline)
    with pytest.raises(SettingsConflict, match="framecache rebuild t --layout video"):
        timeline.repack("video")
    timeline.rebuild(layout="video")
    assert frames_of(outside(local_url), "t") == {}
    assert jpegs(timeline) == before


@pytest.mark.parametrize("layout", ["objects", "packs", "video"])
def test_repack_with_a_chunk_of_which_no_frame_is_taken_works(
    local_url: str, layout: Layout
) -> None:
    stored, watched = both(local_url, clips.chunks(), every=30)
    assert [chunk.frame_count for chunk in watched.info().chunks] == [1, 0, 1]
    report = watched.repack(layout)
    assert report.frames_moved == (0 if layout == "video" else 2)
    assert jpegs(watched) == jpegs(stored)


def test_program_cannot_write_to_it(local_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    with pytest.raises(SettingsConflict):
        watched.write([frame(0)])
    with pytest.raises(SettingsConflict, match="layout video"):
        FrameCache(local_url).timeline("new").write([frame(0)], layout="video")
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    with pytest.raises(SettingsConflict):
        functional.cache_frames("t", [frame(0)])


def test_functional_reads_it(local_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    stored, watched = both(local_url, [clips.ends_in_garbage()])
    assert functional.cache_exists("watched")
    assert functional.load_cached_frames_b64("watched") == functional.load_cached_frames_b64(
        "stored"
    )
    assert [*map(key, functional.load_cached_frames("watched"))] == [*map(key, stored.frames())]
    assert len(watched) == len(stored)


def test_verify_checks_the_chunk_and_decodes_it_if_deep(local_url: str, chunk: Path) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([chunk, clips.ends_in_garbage()], layout="video")
    assert watched.verify().ok
    found = {one.sequence for one in watched.verify(deep=True).findings}
    stored = FrameCache(local_url).timeline("stored")
    stored.extract([chunk, clips.ends_in_garbage()])
    assert found == set(stored.index.sequence[~stored.index.is_ok].tolist())
    chunk.write_bytes(clips.clip(keyframe_every=5).read_bytes())
    assert {one.kind for one in watched.verify().findings} == {"source_changed"}


def test_lost_index_part_is_repaired_without_storing_frames(local_url: str) -> None:
    stored, watched = both(local_url, [clips.clip()])
    (part,) = [
        name
        for name in everything(outside(local_url))
        if name.startswith(f"{PREFIX}watched/") and name.endswith(".parquet")
    ]
    outside(local_url).put(part, b"damaged")
    assert all(one.repaired for one in watched.verify(repair=True).findings)
    again = FrameCache(local_url).timeline("watched")
    assert again.index.is_decoded_on_demand.all()
    assert frames_of(outside(local_url), "watched") == {}
    assert jpegs(again) == jpegs(stored)


def test_gc_and_clear_leave_nothing(local_url: str) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    before = everything(outside(local_url))
    FrameCache(local_url).plan_gc()
    assert everything(outside(local_url)) == before
    watched.clear()
    with pytest.raises(NotCached):
        watched.frame(0)


def test_clear_by_another_program_is_noticed(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_source, "MANIFEST_TTL_SECONDS", 0.0)
    for read in (lambda timeline: timeline.frame(5), lambda timeline: list(timeline.jpegs([5, 6]))):
        watched = FrameCache(local_url).timeline("t")
        watched.extract([clips.clip()], layout="video")
        watched.frame(3)
        FrameCache(local_url).timeline("t").delete()
        with pytest.raises(TimelineCleared):
            read(watched)


def test_scenes_and_change_are_found_by_decoding(local_url: str) -> None:
    stored, watched = both(local_url, clips.chunks())
    assert watched.scenes() == stored.scenes()
    wanted = [one.sequence for one in stored.frames(min_change=4)]
    assert 0 < len(wanted) < FRAMES
    assert [one.sequence for one in watched.frames(min_change=4)] == wanted
    assert [one.sequence for one in watched.frames(min_change=4, follow="complete")] == wanted
    with pytest.raises(InvalidValue, match="not stored in layout video"):
        watched.export_frames(f"{local_url}-out", format="images", min_change=4)


def test_disk_cache_keeps_jpegs(s3_url: str, tmp_path: Path, chunk: Path) -> None:
    url, kept = s3_url, str(tmp_path / "kept")
    FrameCache(url).timeline("t").extract([chunk], layout="video")
    with_disk = FrameCache(url, local_cache=kept).timeline("t")
    first = key(with_disk.frame(7))
    expected = [*map(key, with_disk.frames())]
    forget()
    chunk.unlink()
    again = FrameCache(url, local_cache=kept).timeline("t")
    assert key(again.frame(7)) == first
    assert [*map(key, again.frames())] == expected


def test_damaged_copy_on_disk_is_decoded_again(s3_url: str, tmp_path: Path, chunk: Path) -> None:
    url, kept = s3_url, tmp_path / "kept"
    FrameCache(url).timeline("t").extract([chunk], layout="video")
    timeline = FrameCache(url, local_cache=str(kept)).timeline("t")
    expected = timeline.jpeg(7)
    (copy,) = (kept / "frames").iterdir()
    copy.write_bytes(copy.read_bytes()[:-1] + b"\0")
    assert timeline.jpeg(7) == expected


def test_threads_read_the_same_and_other_frames(local_url: str) -> None:
    stored, watched = both(local_url, clips.chunks())
    expected = jpegs(stored)
    order = np.random.default_rng(3).permutation(np.tile(np.arange(FRAMES), 4)).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(watched.jpeg, order)) == [expected[one] for one in order]


def test_forked_process_reads_frames_after_its_parent(local_url: str) -> None:
    stored, watched = both(local_url, [clips.clip()])
    watched.frame(12)
    expected = jpegs(stored)
    reading, writing = os.pipe()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: os.write(writing, b"y" if jpegs(watched) == expected else b"n")
    )
    child.start()
    child.join(60)
    assert os.read(reading, 1) == b"y"
    assert jpegs(watched) == expected


def test_kept_pictures_stay_below_their_limit(local_url: str) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    watched.jpeg(9)
    size_bytes = pictures.value.size_bytes
    assert size_bytes >= clips.WIDTH * clips.HEIGHT * 3 // 2
    item = pictures.value.get(*next(iter(pictures.value._items)))  # noqa: SLF001
    assert item is not None
    small = PictureCache(2 * clips.WIDTH * clips.HEIGHT * 3)
    for number in range(100):
        small.put((str(number), "", 0), item)
        assert small.size_bytes <= 2 * clips.WIDTH * clips.HEIGHT * 3


def every_frame(timeline: Timeline) -> None:
    for sequence in range(FRAMES):
        timeline.frame(sequence)


def batches(timeline: Timeline, size: int, step: int) -> None:
    for start in range(0, FRAMES, step):
        timeline.batch(range(start, min(start + size, FRAMES)))


def shuffled_batches(timeline: Timeline) -> None:
    for batch in np.random.default_rng(7).permutation(FRAMES).reshape(-1, 5):
        timeline.batch(batch)


def overlapping_batches(timeline: Timeline) -> None:
    for last in range(8, FRAMES):
        timeline.batch([last - 8, last - 4, last])


def two_readers(timeline: Timeline) -> None:
    """Read both halves at the same time."""
    for sequence in range(FRAMES // 2):
        timeline.frame(sequence)
        timeline.frame(FRAMES // 2 + sequence)


@pytest.mark.parametrize(
    ("read", "most"),
    [
        (every_frame, 1.3),
        (partial(batches, size=1, step=1), 1.3),
        (partial(batches, size=4, step=4), 1.3),
        (partial(batches, size=16, step=16), 1.3),
        (partial(batches, size=4, step=8), 1.3),
        (shuffled_batches, 2.2),
        (overlapping_batches, 1.3),
        (two_readers, 2.5),
    ],
    ids=[
        *("frame", "batch-1", "batch-4", "batch-16", "every-second-batch"),
        *("shuffled-batches", "overlapping-batches", "two-readers"),
    ],
)
def test_neighbors_share_the_decoding(
    local_url: str, monkeypatch: pytest.MonkeyPatch, read: Callable[[Timeline], None], most: float
) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip(keyframe_every=45)], layout="video")
    decoded = []
    decode = Container.decode

    def count(container: Container, packet: Any) -> Any:  # noqa: ANN401 -- as the method
        decoded.append(packet)
        return decode(container, packet)

    monkeypatch.setattr(Container, "decode", count)
    read(watched)
    assert FRAMES <= len(decoded) < most * FRAMES


@pytest.mark.parametrize("limit_bytes", [1, 2**28])
def test_batches_in_any_order_are_those_of_stored_frames(
    local_url: str, monkeypatch: pytest.MonkeyPatch, limit_bytes: int
) -> None:
    stored, watched = both(local_url, [clips.clip(keyframe_every=45), *clips.chunks()])
    monkeypatch.setattr(pictures.value, "limit_bytes", limit_bytes)
    order = np.random.default_rng(11).integers(0, 2 * FRAMES, 6 * FRAMES)
    for batch in (order[:3], order[:40], order, np.sort(order), np.arange(2 * FRAMES)):
        assert np.array_equal(watched.batch(batch), stored.batch(batch))


def test_estimates_count_no_bytes(local_url: str) -> None:
    cache = FrameCache(local_url)
    plan = cache.timeline("t").plan_extract([clips.clip()], layout="video")
    assert plan.bytes_to_store == 0
    assert plan.footprints["objects"].stored_bytes > 0
    cache.timeline("t").extract([clips.clip()], layout="video")
    footprint = cache.timeline("t").footprint()
    assert (footprint.blobs, footprint.stored_bytes, footprint.frame_count) == (0, 0, FRAMES)
    assert footprint.layout == "video"


def test_planned_requests_are_those_of_the_extraction(s3_url: str, proxy: Proxy) -> None:
    chunks = [*clips.chunks(), clips.clip(frames=400)]
    FrameCache(s3_url).timeline("before").extract([clips.clip()])
    planned = FrameCache(s3_url).timeline("t").plan_extract(chunks, layout="video").requests
    proxy.requests.clear()
    FrameCache(s3_url).timeline("t").extract(chunks, layout="video", workers=1)
    made = Counter(method for method, _ in proxy.requests)
    assert made == {
        "PUT": planned.puts,
        "GET": planned.gets + planned.lists,
        "POST": planned.deletes,
    }


def test_copied_timeline_is_read(local_url: str) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    copy_timeline(open_store(local_url), open_store(f"{local_url}-2"), "t")
    assert jpegs(FrameCache(f"{local_url}-2").timeline("t")) == jpegs(watched)


def test_other_versions_of_the_decoder_are_reported(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([clips.clip()], layout="video")
    with warnings.catch_warnings(action="error"):
        watched.frame(0)
    forget()
    monkeypatch.setattr(video, "ffmpeg_version", lambda: "0.5")
    with pytest.warns(DecoderWarning, match=r"FFmpeg 0\.5"):
        watched.frame(0)


def test_missing_package_is_named_before_a_request(
    local_url: str, monkeypatch: pytest.MonkeyPatch, chunk: Path
) -> None:
    watched = FrameCache(local_url).timeline("t")
    watched.extract([chunk], layout="video")
    chunk.unlink()

    def lack(_: str, *, needed_by: str) -> None:
        raise MissingPackage(needed_by)

    monkeypatch.setattr(video, "require_extra", lack)
    for read in (lambda: watched.frame(0), lambda: list(watched.frames())):
        with pytest.raises(MissingPackage, match="layout video"):
            read()


def test_manifest_is_of_a_format_that_earlier_versions_refuse(local_url: str) -> None:
    for layout, expected in (("objects", 1), ("video", 2)):
        timeline = FrameCache(local_url).timeline(layout)
        timeline.extract([clips.clip()], layout=layout)  # type: ignore[arg-type]
        store = open_store(local_url)
        newest = max(one.key for one in store.list(f"{PREFIX}{layout}/timeline/"))
        assert json.loads(store.get(newest))["format"] == expected
