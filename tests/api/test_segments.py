"""Long chunks are extracted, committed and read in segments."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media
from framecache import FrameCache, NotCached, Progress, StoreUnavailable, Timeline
from framecache._core.manifest import Manifest
from framecache._index import current_manifest, lease
from framecache._index.lease import LeaseManager
from framecache._ingest import segments
from framecache._media.video.container import Container
from framecache.model import Layout
from framecache.store import Store, open_store
from framecache.testing import HookedStore
from outside import frames_of, outside
from proving import Proof

PREFIX = "cache/timelines/t/"
FRAMES = 200
SEGMENTS = 4
"""Segments of 50 frames: 2 s."""


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = segments.SegmentLimits(seconds=Fraction(2), min_frames=20)
    monkeypatch.setattr(segments, "LIMITS", limits)


def clip(kind: str = "mp4", *, codec: str = "libx264", extra: Sequence[str] = ()) -> Path:
    """200 frames with a keyframe each 10 frames."""
    options = ["-g", "10", "-keyint_min", "10", *extra]
    options += ["-sc_threshold", "0", "-bf", "2"] if codec == "libx264" else []
    return media.made(
        f"api-segments-{codec}-{len(extra)}.{kind}",
        lambda path: media.make_clip(
            path, codec=codec, size=(96, 64), frames=FRAMES, extra=options
        ),
    )


def manifest_of(store: Store) -> Manifest:
    manifest = current_manifest(store, "t")
    assert manifest is not None
    return manifest


def committed(store: Store) -> list[str]:
    """Return the parts with an index file."""
    keys = [blob.key.rpartition("/")[2] for blob in store.list(f"{PREFIX}index")]
    return sorted(key.partition("-")[0] for key in keys if key.endswith(".parquet"))


def jpegs(timeline: Timeline) -> list[bytes]:
    return list(timeline.jpegs(timeline.sequences()))


class Stopped(Exception):
    """Raised by a test's hook, in place of the end of a process."""


def stop_after(commits: int) -> Callable[[str, str], None]:
    """Return a hook that raises once this many index parts were created."""
    seen = Counter[str]()

    def check(action: str, key: str) -> None:
        if action == "create" and key.endswith(".parquet"):
            if seen["commits"] >= commits:
                raise Stopped
            seen["commits"] += 1

    return check


def extract_partly(store: Store, path: Path, *, commits: int) -> None:
    with pytest.raises(Stopped):
        Timeline(HookedStore(store, before=stop_after(commits)), "t").extract(path, workers=1)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the pictures that decoders output."""
    count, lock, decode = Counter[str](), threading.Lock(), Container.decode

    def counting(self: Container, packet: Any) -> Any:  # noqa: ANN401 -- passed on
        found = list(decode(self, packet))
        with lock:
            count["decoded"] += len(found)
        return found

    monkeypatch.setattr(Container, "decode", counting)
    return count


@pytest.mark.parametrize("layout", ["objects", "packs"])
@pytest.mark.parametrize("sampling", [{}, {"every": 7}, {"fps": 3}])
@pytest.mark.parametrize(
    ("kind", "codec", "extra"),
    [
        ("mp4", "libx264", []),
        ("mkv", "libx265", ["-x265-params", "log-level=none:open-gop=1:bframes=3"]),
        ("webm", "libvpx-vp9", ["-deadline", "realtime", "-cpu-used", "8"]),
        ("mov", "mjpeg", []),
    ],
)
def test_segmented_extraction_gives_same_rows_and_bytes(
    kind: str,
    codec: str,
    extra: list[str],
    sampling: dict[str, Any],
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = clip(kind, codec=codec, extra=extra)
    whole = FrameCache("memory://whole").timeline("t")
    whole.delete()
    whole.extract(path, layout=layout, **sampling)
    limits = segments.SegmentLimits(seconds=Fraction(1), min_frames=3)
    monkeypatch.setattr(segments, "LIMITS", limits)
    parts = FrameCache("memory://parts").timeline("t")
    parts.delete()
    report = parts.extract(path, layout=layout, **sampling)
    assert report.segments_extracted > 3
    assert whole.info().segment_count == 1
    for name in ("sequence", "timestamp", "duration", "pts", "size", "crc32c", "perceptual_hash"):
        assert np.array_equal(getattr(parts.index, name), getattr(whole.index, name)), name
    assert jpegs(parts) == jpegs(whole)
    assert parts.verify(deep=True).ok


def test_five_minutes_are_planned_in_segments_of_30_seconds(store: Store) -> None:
    path = media.made(
        "api-segments-300s.mp4",
        lambda to: media.make_clip(
            to, size=(32, 32), frames=7500, extra=["-g", "30", "-keyint_min", "30", "-bf", "2"]
        ),
    )
    times = [frame.timestamp for frame in media.ffprobe_frames(path) if frame.key]
    expected = [Fraction(0)]
    while following := [time for time in times if time >= expected[-1] + 30]:
        expected.append(following[0])
    Timeline(store, "t").extract(path, every=10)
    Timeline(store, "t").rebuild(every=1)
    (entry,) = manifest_of(store).chunks
    assert [segment.start for segment in entry.segments] == expected
    assert [segment.frame_count for segment in entry.segments] == [750] * 10
    assert Timeline(store, "t").info().frame_count == 7500


@pytest.mark.usefixtures("short_segments")
def test_stopped_extraction_continues_with_the_segments_that_are_missing(
    store: Store, pictures: Counter[str]
) -> None:
    extract_partly(store, clip(), commits=3)
    assert len(committed(store)) == 3
    pictures.clear()
    progress: list[Progress] = []
    report = Timeline(store, "t").extract(clip(), progress=progress.append)
    assert (report.segments_extracted, report.segments_cached) == (1, 3)
    assert (report.chunks_extracted, report.frames_extracted) == (1, 50)
    assert pictures["decoded"] <= 55
    assert progress[-1] == Progress(FRAMES, FRAMES, segments_done=4, segments_total=4)
    assert Timeline(store, "t").complete


@pytest.mark.usefixtures("short_segments")
def test_frames_of_committed_segments_are_read_before_the_chunk_is_complete(
    store: Store,
) -> None:
    extract_partly(store, clip(), commits=2)
    timeline = Timeline(store, "t")
    info = timeline.info()
    assert (info.state, info.segments_cached, info.segment_count) == ("partial", 2, SEGMENTS)
    assert (info.chunks_cached, info.frame_count) == (0, 100)
    assert not timeline.complete
    assert timeline.sequences() == list(range(100))
    assert timeline.frame_at(3.96).sequence == 99
    assert len(list(timeline.frames(start_seconds=1, stop_seconds=4, missing="raise"))) == 75
    for read in (
        lambda: timeline.frame_at(4.0),
        lambda: timeline.frame(100),
        lambda: list(timeline.frames(start_seconds=1, stop_seconds=4.01, missing="raise")),
        lambda: list(timeline.frames(90, 101, missing="raise")),
    ):
        with pytest.raises(NotCached):
            read()


@pytest.mark.usefixtures("short_segments")
def test_gap_between_committed_segments_is_not_filled_with_the_frame_before_it(
    store: Store,
) -> None:
    extract_partly(store, clip(), commits=0)
    with LeaseManager(store, manifest_of(store)) as others:
        assert others.acquire("000000s000001")

        def end(progress: Progress) -> None:
            if progress.chunks_elsewhere:
                raise Stopped

        with pytest.raises(Stopped):
            Timeline(store, "t").extract(clip(), workers=1, progress=end)
    timeline = Timeline(store, "t")
    assert timeline.sequences() == [*range(50), *range(100, 200)]
    assert timeline.frame_at(4.0).sequence == 100
    for seconds in (2.0, 3.9):
        with pytest.raises(NotCached):
            timeline.frame_at(seconds)


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_programs_share_one_chunk_and_decode_it_once(
    store: Store, pictures: Counter[str], codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = segments.SegmentLimits(seconds=Fraction(1), min_frames=40)
    monkeypatch.setattr(segments, "LIMITS", limits)
    extra = ["-x265-params", "log-level=none"] if codec == "libx265" else []
    path = clip("mkv" if extra else "mp4", codec=codec, extra=extra)
    extract_partly(store, path, commits=0)
    pictures.clear()
    together = threading.Barrier(2)

    def extract(_: int) -> int:
        together.wait(timeout=60)
        return Timeline(store, "t").extract(path, workers=1).segments_extracted

    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(extract, range(2)))
    assert sum(shares) == len(manifest_of(store).parts)
    assert min(shares) > 0
    scans = 2  # each decodes the first picture
    assert FRAMES <= pictures["decoded"] - scans <= 1.05 * FRAMES
    assert Timeline(store, "t").verify(deep=True).ok


@pytest.mark.usefixtures("short_segments")
def test_lease_that_expires_inside_a_segment_leaves_the_others_committed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._ingest.chunk_frames.FRAMES_BETWEEN_CHECKS", 5)
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.2)
    is_asleep, may_wake = threading.Event(), threading.Event()

    def sleep(action: str, key: str) -> None:
        if (action, key) == ("put", f"{PREFIX}frames/57.jpg") or is_asleep.is_set():
            is_asleep.set()
            assert may_wake.wait(timeout=60)

    with ThreadPoolExecutor(1) as pool:
        hooked = HookedStore(store, before=sleep)
        delayed = pool.submit(Timeline(hooked, "t").extract, clip(), workers=1)
        assert is_asleep.wait(timeout=60)
        assert committed(store) == ["000000s000000"]
        report = Timeline(store, "t").extract(clip())
        may_wake.set()
        late = delayed.result(timeout=60)
    assert (report.segments_extracted, report.segments_cached) == (3, 1)
    assert (late.segments_extracted, late.segments_cached) == (1, 3)
    assert Timeline(store, "t").verify(deep=True).ok


@pytest.mark.usefixtures("short_segments")
def test_failure_in_one_segment_leaves_the_others_committed(store: Store) -> None:
    def refuse(action: str, key: str) -> None:
        if (action, key) == ("put", f"{PREFIX}frames/120.jpg"):
            raise StoreUnavailable(key)

    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(store, before=refuse), "t").extract(clip(), workers=1)
    assert committed(store) == ["000000s000000", "000000s000001"]
    assert list(store.list(f"{PREFIX}claims")) == []
    assert Timeline(store, "t").extract(clip()).segments_extracted == 2


@pytest.mark.usefixtures("short_segments")
def test_segment_that_cannot_be_decoded_has_rows_without_picture(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packets of frames 50 to 99 are overwritten with noise."""
    path = tmp_path / "damaged.mp4"
    body = bytearray(clip().read_bytes())
    packets = media.ffprobe(clip(), "-show_packets", "-show_entries", "packet=pos,size")["packets"]
    noise = np.random.default_rng(1)
    for packet in packets[50:100]:
        begin, size = int(packet["pos"]), int(packet["size"])
        body[begin : begin + size] = noise.bytes(size)
    path.write_bytes(body)
    report = Timeline(store, "t").extract(path)
    index = Timeline(store, "t").index
    lacking = set(index.sequence[~index.is_ok].tolist())
    assert report.frames_undecodable == len(lacking) > 0
    assert lacking <= set(range(48, 100))
    monkeypatch.setattr(segments, "LIMITS", segments.SegmentLimits())
    whole = FrameCache("memory://whole-damaged").timeline("t")
    whole.extract(path)
    assert set(whole.index.sequence[~whole.index.is_ok].tolist()) == lacking
    assert np.array_equal(whole.index.crc32c, index.crc32c)


def test_chunk_of_one_segment_keeps_the_keys_of_earlier_versions(store: Store) -> None:
    Timeline(store, "t").extract(clip(), layout="packs")
    assert committed(store) == ["000000"]
    (pack,) = [blob.key.rpartition("/")[2] for blob in store.list(f"{PREFIX}packs")]
    assert pack.startswith("000000-")
    assert b'"format": 1,' in store.get(f"{PREFIX}timeline/00000002.json")


@pytest.mark.usefixtures("short_segments")
def test_manifest_of_divided_chunks_is_refused_by_earlier_versions(store: Store) -> None:
    Timeline(store, "t").extract(clip(), layout="packs")
    assert b'"format": 2,' in store.get(f"{PREFIX}timeline/00000001.json")
    packs = [blob.key.rpartition("/")[2] for blob in store.list(f"{PREFIX}packs")]
    assert sorted(name.partition("-")[0] for name in packs) == [
        f"000000s{number:06d}" for number in range(SEGMENTS)
    ]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_repair_restores_damaged_segments(store: Store, layout: Layout) -> None:
    timeline = Timeline(store, "t")
    timeline.extract(clip(), layout=layout)
    expected = jpegs(timeline)
    epoch = manifest_of(store).epoch
    store.delete([f"{PREFIX}index/{epoch}/000000s000001-0.parquet"])
    store.delete([f"{PREFIX}index/{epoch}/_timeline-3.compacted"])
    if layout == "objects":
        store.delete([f"{PREFIX}frames/{number}.jpg" for number in (3, 149)])
    else:
        damaged = next(blob.key for blob in store.list(f"{PREFIX}packs") if "s000002" in blob.key)
        store.delete([damaged])
    report = Timeline(store, "t").verify(repair=True)
    assert report.ok
    assert report.chunks_checked == 1
    assert jpegs(Timeline(store, "t")) == expected
    assert Timeline(store, "t").verify(deep=True).ok


@pytest.mark.usefixtures("short_segments")
def test_divided_timeline_is_rebuilt_repacked_and_collected(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clip())
    frames = frames_of(outside(local_url), "t")
    timeline.repack("packs")
    assert jpegs(timeline) == [frames[f"{number}.jpg"] for number in range(FRAMES)]
    timeline.repack("objects")
    assert frames_of(outside(local_url), "t") == frames
    FrameCache(local_url).plan_gc(grace_seconds=0).execute(max_share=1)
    assert frames_of(outside(local_url), "t") == frames
    timeline.rebuild(every=2)
    assert timeline.verify(deep=True).ok
    assert timeline.info().segment_count == 4


@pytest.mark.usefixtures("short_segments")
def test_follower_yields_frames_as_segments_are_committed(store: Store) -> None:
    extract_partly(store, clip(), commits=1)

    def follow() -> Iterator[int]:
        for frame in Timeline(store, "t").frames(follow=True, stop=120):
            yield frame.sequence

    following = follow()
    seen = [next(following) for _ in range(50)]
    with ThreadPoolExecutor(1) as pool:
        extraction = pool.submit(Timeline(store, "t").extract, clip())
        seen += list(following)
        extraction.result(timeout=60)
    assert seen == list(range(120))


@pytest.mark.usefixtures("short_segments")
def test_timeline_of_one_segment_is_extended_with_segments(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a timeline of an earlier version, whose entries name no segments."""
    short = segments.LIMITS
    monkeypatch.setattr(segments, "LIMITS", segments.SegmentLimits())
    Timeline(store, "t").extract(clip())
    monkeypatch.setattr(segments, "LIMITS", short)
    second = clip("mkv")
    Timeline(store, "t").append(second)
    assert manifest_of(store).parts[:2] == ("000000", "000001s000000")
    assert len(list(Timeline(store, "t").frames())) == 2 * FRAMES
    entries = manifest_of(store).chunks
    assert replace(entries[0]).segments[0].stop_sequence == entries[1].first_sequence


MANY = segments.SegmentLimits(seconds=Fraction(0), min_frames=5)
"""Segments of 10 frames, 20 in all."""


def opening_requests(store: Store) -> Sequence[tuple[str, str]]:
    hooked = HookedStore(store)
    assert Timeline(hooked, "t").sequences()
    return hooked.requests


@pytest.mark.parametrize("workers", [1, 2])
def test_timeline_is_opened_with_few_requests_at_any_moment_of_its_extraction(
    store: Store, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LIMITS", MANY)
    counts: list[int] = []

    def look(progress: Progress) -> None:
        assert progress.segments_total == 20
        if progress.segments_done and progress.frames_done % 5 == 0:
            counts.append(len(opening_requests(store)))

    Timeline(store, "t").extract(clip(), workers=workers, progress=look)
    assert len(counts) > 20
    assert max(counts) <= 16
    assert len(opening_requests(store)) == 3
    compacted = [blob.key for blob in store.list(f"{PREFIX}index") if "compacted" in blob.key]
    assert 1 < len(compacted) <= 3
    assert Timeline(store, "t").verify(deep=True).ok


def test_programs_that_share_a_chunk_compact_it_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LIMITS", MANY)
    extract_partly(store, clip(), commits=0)
    with ThreadPoolExecutor(3) as pool:
        for done in [
            pool.submit(Timeline(store, "t").extract, clip(), workers=1) for _ in range(3)
        ]:
            done.result(timeout=60)
    assert len(opening_requests(store)) == 3
    assert Timeline(store, "t").sequences() == list(range(FRAMES))
    assert Timeline(store, "t").verify(deep=True).ok


def test_extraction_stopped_at_any_commit_or_compaction_is_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setattr(segments, "LIMITS", MANY)
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 0.05)
    created: list[str] = []

    def note(action: str, key: str) -> None:
        if action == "create" and ("/index/" in key or "/timeline/" in key):
            created.append(key)

    Timeline(HookedStore(store, before=note), "t").extract(clip(), workers=1)
    assert sum("compacted" in key for key in created) >= 3
    whole = jpegs(Timeline(store, "t"))
    Timeline(store, "t").delete()
    every = proof.size(short=3, long=1)
    stops = [
        nth for nth, key in enumerate(created) if nth and (nth % every == 0 or "compacted" in key)
    ]
    for nth in stops:
        seen = Counter[str]()

        def stop(action: str, key: str, nth: int = nth, seen: Counter[str] = seen) -> None:
            is_index = action == "create" and ("/index/" in key or "/timeline/" in key)
            if is_index and seen["index"] >= nth:
                raise Stopped
            seen["index"] += is_index

        timeline = Timeline(store, "t")
        with pytest.raises(Stopped):
            Timeline(HookedStore(store, before=stop), "t").extract(clip(), workers=1)
        assert timeline.sequences() == list(range(10 * timeline.info().segments_cached))
        assert timeline.verify().ok
        timeline.extract(clip())
        assert jpegs(timeline) == whole
        assert len(opening_requests(store)) == 3
        timeline.delete()
    proof.found(stops=len(stops), creates=len(created))
