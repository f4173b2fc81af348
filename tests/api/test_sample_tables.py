"""Chunks that are described by their sample tables: what is read of them, and what if they lie."""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framecache import AmbiguousFrame, Chunk, ChunkChanged, FrameCache, Timeline
from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest, Settings
from framecache._index import current_manifest
from framecache._ingest.segments import SegmentLimits
from framecache._media import video
from framecache.store import FetchedBytes, open_blob_file, open_store
from framecache.store.memory import MemoryStore
from media import ffmpeg, made
from table_clips import big_clip, changed, entry_at, fragmented_clip

Requests = list[tuple[int, int]]


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat a clip of three megabytes like a video of gigabytes."""
    package = "framecache._media.video"
    monkeypatch.setattr("framecache._ingest.chunk_scans._MIN_BYTES_FOR_TABLES", 0)
    monkeypatch.setattr(f"{package}.scanning._MIN_TABLES_FILE_BYTES", 0)
    monkeypatch.setattr(f"{package}.sample_tables._BEGINNING_BYTES", 2**15)
    monkeypatch.setattr(f"{package}.sample_tables._PROBE_BYTES", 2**10)
    monkeypatch.setattr("framecache.store.remote_chunk._BLOCK_SIZE_BYTES", 2**18)
    monkeypatch.setattr("framecache.store.remote_chunk._FIRST_STEP_BYTES", 2**13)
    monkeypatch.setattr("framecache.store.remote_chunk._NEXT_STEP_BYTES", 2**13)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """The ranges of chunks that are requested."""
    ranges: Requests = []
    get_block = MemoryStore.get_block

    def counted(self: MemoryStore, key: str, *, start: int, length: int) -> object:
        ranges.append((start, start + length))
        return get_block(self, key, start=start, length=length)

    monkeypatch.setattr(MemoryStore, "get_block", counted)
    return ranges


def matroska_clip() -> Path:
    return made(
        "tables-none.mkv",
        lambda path: ffmpeg("-i", str(big_clip()), "-map", "0:v", "-c", "copy", str(path)),
    )


def put(url: str, data: bytes, name: str = "c0.mp4") -> str:
    """Store a chunk and return its URL."""
    open_store(url).put(f"videos/{name}", data)
    return f"{url}/videos/{name}"


def frames_of(timeline: Timeline) -> dict[int, tuple[float, bytes]]:
    index = timeline.index
    numbers = index.sequence.tolist()
    return {
        number: (float(timestamp), timeline.jpeg(number) if is_ok else b"")
        for number, timestamp, is_ok in zip(
            numbers, index.timestamp.tolist(), index.is_ok.tolist(), strict=True
        )
    }


def entries_of(timeline: Timeline) -> tuple[ChunkEntry, ...]:
    return manifest_of(timeline).chunks


def manifest_of(timeline: Timeline) -> Manifest:
    found = current_manifest(timeline._store, timeline.timeline_id)  # noqa: SLF001 -- as stored
    assert found is not None
    return found


def scanned_timeline(
    url: str, chunk: str, monkeypatch: pytest.MonkeyPatch, **sampled: object
) -> Timeline:
    """Extract a chunk without using its sample tables."""
    with monkeypatch.context() as patched:
        patched.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 2**62)
        timeline = FrameCache(url).timeline("scanned")
        timeline.extract([chunk], **sampled)  # type: ignore[arg-type]
    [entry] = entries_of(timeline)
    assert entry.listed_from == "packets"
    return timeline


@pytest.mark.parametrize(
    ("sampled", "listed_from"),
    [
        ({}, "packets"),
        ({"fps": 10}, "packets"),
        ({"every": 25}, "packets"),
        ({"every": 60}, "tables"),
        ({"fps": 0.4}, "tables"),
        ({"keyframes": True}, "tables"),
    ],
)
def test_tables_are_used_where_they_save_reading(
    sampled: dict[str, object],
    listed_from: str,
    memory_url: str,
    requests: Requests,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All packets also tell what the frame numbers of other tools need."""
    monkeypatch.setattr("framecache._ingest.chunk_scans._MIN_BYTES_FOR_TABLES", 2**62)
    timeline = FrameCache(memory_url).timeline("t")
    data = big_clip().read_bytes()
    timeline.extract([put(memory_url, data)], **sampled)  # type: ignore[arg-type]
    assert [entry.listed_from for entry in entries_of(timeline)] == [listed_from]
    assert sum(stop - start for start, stop in requests) <= len(data)


def test_part_of_a_chunk_is_read_alone(
    memory_url: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._ingest.chunk_scans._MIN_BYTES_FOR_TABLES", 2**62)
    data = big_clip().read_bytes()
    chunk = put(memory_url, data)
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(Chunk(chunk, trim_start=4, trim_stop=6))
    assert [entry.listed_from for entry in entries_of(timeline)] == ["tables"]
    assert sum(stop - start for start, stop in requests) <= len(data) // 3
    whole = scanned_timeline(memory_url, chunk, monkeypatch)
    jpegs = [jpeg for _, jpeg in frames_of(timeline).values()]
    assert jpegs == [frames_of(whole)[number][1] for number in range(100, 150)]


@pytest.mark.parametrize("stop", [5, 9], ids=["from tables", "from packets"])
def test_video_of_several_chunks_is_read_once(
    stop: int, memory_url: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._ingest.chunk_scans._MIN_BYTES_FOR_TABLES", 2**62)
    chunk = put(memory_url, big_clip().read_bytes())
    parts = [Chunk(chunk, trim_start=second, trim_stop=second + 1) for second in range(1, stop)]
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(parts)
    listed_from = {entry.listed_from for entry in entries_of(timeline)}
    assert listed_from == {"tables" if stop == 5 else "packets"}
    assert size_of(requests) == distinct_size(requests)


def test_scan_from_tables_is_not_used_for_a_chunk_that_was_listed_from_packets(
    memory_url: str,
) -> None:
    chunk = Chunk(put(memory_url, big_clip().read_bytes()))
    store = FrameCache(memory_url).store
    resolved = ingest.plan(store, "t", [chunk], resolve_settings=lambda _: Settings())
    [entry] = resolved.entries
    assert resolved.scan_of(entry) is not None
    assert resolved.scan_of(replace(entry, listed_from="packets")) is None


@pytest.mark.parametrize("sampled", [{}, {"fps": 0.5}, {"every": 40}, {"keyframes": True}], ids=str)
def test_frames_equal_those_of_a_scan(
    sampled: dict[str, object], memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = put(memory_url, big_clip().read_bytes())
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([chunk], **sampled)  # type: ignore[arg-type]
    assert [entry.listed_from for entry in entries_of(timeline)] == ["tables"]
    scanned = scanned_timeline(memory_url, chunk, monkeypatch, **sampled)
    assert frames_of(timeline) == frames_of(scanned)


def size_of(ranges: Requests) -> int:
    return sum(end - begin for begin, end in ranges)


def distinct_size(ranges: Requests) -> int:
    total = end = 0
    for begin, stop in sorted(ranges):
        total += max(stop - max(begin, end), 0)
        end = max(end, stop)
    return total


def needed_bytes(data: bytes, timeline: Timeline) -> int:
    """The bytes of the samples from each needed keyframe to the last wanted frame after it."""
    samples = video.describe(io.BytesIO(data), name="chunk").samples
    assert samples is not None
    order = {pts: number for number, pts in enumerate(samples.pts.tolist())}
    sync = np.flatnonzero(samples.is_sync)
    needed = set[int]()
    for pts in timeline.index.pts.tolist():
        last = order[pts]
        first = int(sync[np.searchsorted(sync, last, "right") - 1])
        needed.update(range(first, last + 1))
    return int(samples.size_bytes[sorted(needed)].sum())


def test_sparse_extraction_reads_the_needed_groups_once(
    memory_url: str, requests: Requests
) -> None:
    data = big_clip().read_bytes()
    chunk = put(memory_url, data)
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([chunk], every=75)
    assert size_of(requests) == distinct_size(requests)
    tables = len(data) - data.rindex(b"moov")
    probes = 3 * 2**10
    beginning = 2 * 2**16
    limit = 1.3 * needed_bytes(data, timeline) + tables + probes + beginning
    assert size_of(requests) <= limit < len(data) / 2


def test_every_byte_is_fetched_once_if_every_frame_is_wanted(
    memory_url: str, requests: Requests
) -> None:
    data = big_clip().read_bytes()
    FrameCache(memory_url).timeline("t").extract([put(memory_url, data)])
    assert size_of(requests) == distinct_size(requests) <= len(data)


def test_describing_takes_few_requests(memory_url: str, requests: Requests) -> None:
    chunk = put(memory_url, big_clip().read_bytes())
    with open_blob_file(chunk, fetched=FetchedBytes()) as file:
        assert video.describe(file, name="chunk").samples is not None
    # The beginning, the index, and two of the sync samples that are checked. Another request
    # identifies the object.
    assert len(requests) == 4


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "dash+global_sidx"])
def test_listed_fragments_are_described_without_their_media_data(
    flags: str, memory_url: str, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._media.video.mp4._LARGE_MEDIA_BYTES", 2**14)
    monkeypatch.setattr("framecache._media.video.mp4._FRAGMENT_HEAD_BYTES", 2**11)
    monkeypatch.setattr("framecache._media.video.masked_file._BEGINNING_BYTES", 2**18)
    data = fragmented_clip(flags).read_bytes()
    fragments = [found.start() - 4 for found in re.finditer(b"moof", data)]
    assert len(fragments) > 5
    chunk = put(memory_url, data)
    with open_blob_file(chunk, fetched=FetchedBytes()) as file:
        assert video.describe(file, name="chunk").samples is not None
    assert {(begin, begin + 2**11) for begin in fragments[1:]} <= set(requests)
    assert size_of(requests) == distinct_size(requests) < len(data) / 4
    requests.clear()
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([chunk], every=75)
    assert len(timeline) == 4
    assert size_of(requests) == distinct_size(requests) < len(data) / 2


def test_file_without_tables_is_fetched_once(memory_url: str, requests: Requests) -> None:
    data = matroska_clip().read_bytes()
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([put(memory_url, data, "c0.mkv")], every=30)
    assert [entry.listed_from for entry in entries_of(timeline)] == ["packets"]
    assert size_of(requests) == distinct_size(requests) == len(data)


def test_chunk_replaced_between_two_groups_commits_nothing(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = big_clip().read_bytes()
    chunk = put(memory_url, data)
    get_block = MemoryStore.get_block
    count = 0

    def replaced(self: MemoryStore, key: str, *, start: int, length: int) -> object:
        nonlocal count
        count += 1
        if count == 12:
            put(memory_url, data[:-1] + b"?")
        return get_block(self, key, start=start, length=length)

    monkeypatch.setattr(MemoryStore, "get_block", replaced)
    timeline = FrameCache(memory_url).timeline("t")
    with pytest.raises(ChunkChanged):
        timeline.extract([chunk], every=30)
    assert count >= 12
    assert len(timeline) == 0


def _without_picture(data: bytes, number: int) -> bytes:
    """Replace a sample by filler data."""
    samples = video.describe(io.BytesIO(data), name="chunk").samples
    assert samples is not None
    at, size = int(samples.offset[number]), int(samples.size_bytes[number])
    filler = (size - 4).to_bytes(4) + b"\x0c" + b"\xff" * (size - 6) + b"\x80"
    return data[:at] + filler + data[at + size :]


def _hidden_picture(data: bytes) -> bytes:
    return _without_picture(data, 85)


def _wrong_sync_sample(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stss", 3), 80)


@pytest.mark.parametrize("lie", [_hidden_picture, _wrong_sync_sample])
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_contradicted_tables_are_replaced_by_a_scan_in_a_new_epoch(
    lie: Callable[[bytes], bytes], layout: str, memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = big_clip().read_bytes()
    sound = put(memory_url, data, "c0.mp4")
    lying = put(memory_url, lie(data), "c1.mp4")
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([sound], layout=layout)  # type: ignore[arg-type]
    before = manifest_of(timeline)
    timeline.extract([sound, lying])
    after = manifest_of(timeline)
    assert int(after.epoch[:6]) == int(before.epoch[:6]) + 1
    assert [entry.listed_from for entry in after.chunks] == ["packets", "packets"]
    with monkeypatch.context() as patched:
        patched.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 2**62)
        expected = FrameCache(memory_url).timeline("scanned")
        expected.extract([sound, lying])
    assert frames_of(timeline) == frames_of(expected)
    assert not timeline.verify().findings


@pytest.mark.parametrize("lie", [_hidden_picture, _wrong_sync_sample])
def test_contradicted_tables_of_layout_video_give_no_frame_of_another_time(
    lie: Callable[[bytes], bytes], memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = put(memory_url, lie(big_clip().read_bytes()))
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(lying, layout="video")
    assert [entry.listed_from for entry in entries_of(timeline)] == ["tables"]
    expected = scanned_timeline(memory_url, lying, monkeypatch)
    index = timeline.index
    for sequence in (10, 78, 84, 86, 95, 290):
        with suppress(ChunkChanged):
            found = timeline.jpeg(sequence)
            assert found == expected.jpeg(expected.sequence_at(float(index.timestamp[sequence])))
    timeline.rebuild()
    assert [entry.listed_from for entry in entries_of(timeline)] == ["packets"]
    sequences = [*range(0, 299, 25), 78, 80, 86, 95]
    assert [timeline.jpeg(one) for one in sequences] == [expected.jpeg(one) for one in sequences]


@pytest.mark.parametrize("sampled", [{}, {"every": 7}], ids=str)
def test_repack_of_layout_video_with_contradicted_tables_changes_nothing(
    sampled: dict[str, object], memory_url: str
) -> None:
    """Without checks of the tables, frames after the contradiction would become undecodable."""
    lying = put(memory_url, _hidden_picture(big_clip().read_bytes()))
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract(lying, layout="video", **sampled)  # type: ignore[arg-type]
    before = manifest_of(timeline)
    with pytest.raises(ChunkChanged, match="rebuild the timeline"):
        timeline.repack("packs")
    assert manifest_of(timeline) == before
    assert not [*timeline._store.list(keys.packs_prefix("t"))]  # noqa: SLF001 -- as stored
    timeline.rebuild(layout="packs")
    assert timeline.index.is_ok.all()


def test_layout_video_whose_new_listing_has_other_frames_is_refused(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = put(memory_url, _hidden_picture(big_clip().read_bytes()))
    FrameCache(memory_url).timeline("t").extract(lying, layout="video")
    monkeypatch.setattr("framecache._media.video.description.SCAN_RULES", 0)
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 2**62)
    timeline = FrameCache(memory_url).timeline("t")
    for sequence in (10, 85, 290):
        with pytest.raises(ChunkChanged, match="had 300 frames when it was planned and now has"):
            timeline.jpeg(sequence)


def test_worker_with_contradicted_tables_commits_nothing(memory_url: str) -> None:
    lying = put(memory_url, _wrong_sync_sample(big_clip().read_bytes()))
    store = FrameCache(memory_url).store
    planned = ingest.plan(store, "t", [Chunk(lying)], resolve_settings=lambda _: Settings())
    assert [entry.listed_from for entry in planned.entries] == ["tables"]
    with pytest.raises(ChunkChanged, match="rebuild the timeline"):
        ingest.extract_segments(store, planned.manifest, planned.manifest.segments, workers=2)
    timeline = FrameCache(memory_url).timeline("t")
    assert len(timeline) == 0
    timeline.rebuild()
    assert len(timeline) == 300


def test_plan_of_contradicted_tables_has_no_sizes(memory_url: str) -> None:
    data = big_clip().read_bytes()
    for number in (25, 50, 75, 100, 150, 175, 200, 225, 250):
        data = _without_picture(data, number)
    plan = FrameCache(memory_url).timeline("t").plan_extract([put(memory_url, data)])
    assert plan.frame_count == 300
    assert plan.bytes_to_store < 300 * 100


def test_damaged_picture_keeps_the_epoch(memory_url: str) -> None:
    data = bytearray(big_clip().read_bytes())
    samples = video.describe(io.BytesIO(bytes(data)), name="chunk").samples
    assert samples is not None
    at = int(samples.offset[85])
    data[at + 60 : at + 400] = bytes(340)
    timeline = FrameCache(memory_url).timeline("t")
    report = timeline.extract([put(memory_url, bytes(data))])
    assert report.frames_undecodable > 0
    assert [entry.listed_from for entry in entries_of(timeline)] == ["tables"]


def test_video_with_damage_in_several_segments_is_scanned_once(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = SegmentLimits(seconds=Fraction(1), min_frames=25)
    monkeypatch.setattr("framecache._ingest.segments.LIMITS", limits)
    data = bytearray(big_clip().read_bytes())
    samples = video.describe(io.BytesIO(bytes(data)), name="chunk").samples
    assert samples is not None
    for number in (85, 185, 285):
        at = int(samples.offset[number])
        data[at + 60 : at + 400] = bytes(340)
    scans = []

    def scan(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 -- as those of the function
        scans.append(arguments)
        return video.scan(*arguments, **named)

    monkeypatch.setattr("framecache._media.video.decoding.scan_packets", scan)
    timeline = FrameCache(memory_url).timeline("t")
    report = timeline.extract([put(memory_url, bytes(data))], workers=1)
    assert report.segments_extracted > 3
    assert report.frames_undecodable > 2
    assert len(scans) == 1


def test_numbers_of_tools_that_depend_on_the_packets_are_ambiguous(memory_url: str) -> None:
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([put(memory_url, big_clip().read_bytes())])
    assert timeline.translate(100, of="opencv").sequence == 100
    for tool in ("decord", "torchcodec", "ffmpeg"):
        with pytest.raises(AmbiguousFrame, match="from its index"):
            timeline.translate(100, of=tool)


def test_repair_uses_what_the_plan_used(memory_url: str, requests: Requests) -> None:
    data = big_clip().read_bytes()
    timeline = FrameCache(memory_url).timeline("t")
    timeline.extract([put(memory_url, data)], every=75, layout="objects")
    before = frames_of(timeline)
    store = FrameCache(memory_url).store
    [*_, lost] = store.list("cache/timelines/t/frames/")
    store.delete([lost.key])
    requests.clear()
    timeline.verify(repair=True)
    assert frames_of(timeline) == before
    assert size_of(requests) < len(data) / 2
