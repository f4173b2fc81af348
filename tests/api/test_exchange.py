"""Round trips: what is exported and imported again has the same bytes, numbers and times."""

import os
from pathlib import Path

import numpy as np
import pytest

import exchanged
from framecache import Frame, FrameCache, SettingsConflict, Timeline
from framecache.model import FolderFormat, Layout
from outside import outside


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("exchange") / "store")


@pytest.fixture(scope="module")
def source(url: str) -> Timeline:
    return exchanged.extract(FrameCache(url))


def stored(url: str, timeline_id: str) -> list[bytes]:
    """The JPEGs of a timeline as its store has them, in the order of their sequences."""
    blobs = outside(url)
    keys = blobs.list(f"cache/timelines/{timeline_id}/frames/")
    return [blobs.read(key) for key in sorted(keys, key=lambda key: int(Path(key).stem))]


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_round_trip_keeps_bytes_numbers_and_times(
    source: Timeline, url: str, tmp_path: Path, format_name: FolderFormat
) -> None:
    done = source.export_frames(tmp_path / "folder", format=format_name)
    again = FrameCache(url).timeline(f"from-{format_name}")
    report = again.import_frames(tmp_path / "folder")
    assert (report.format, report.frames_imported) == (format_name, 120)
    assert stored(url, f"from-{format_name}") == stored(url, "source")
    assert again.index.timestamp.tolist() == exchanged.times(source)
    for name in exchanged.COLUMNS:
        assert getattr(again.index, name).tolist() == getattr(source.index, name).tolist()
    assert set(again.index.quality.tolist()) == {70}
    assert done.frames_exported == 120
    assert done.bytes_exported == sum(map(len, stored(url, "source")))
    assert again.frame(0).image.shape == (96, 64, 3)
    assert again.verify(deep=True).ok


@pytest.mark.parametrize("format_name", exchanged.WITH_OVERLAYS)
def test_round_trip_keeps_overlays(
    source: Timeline, url: str, tmp_path: Path, format_name: FolderFormat
) -> None:
    stages = [
        source.overlays(job_id=exchanged.JOB, stage=stage)
        for stage in (exchanged.STAGE, exchanged.OTHER_STAGE)
    ]
    done = source.export_frames(tmp_path / "folder", format=format_name, overlays=stages)
    again = FrameCache(url).timeline(f"drawn-{format_name}")
    report = again.import_frames(tmp_path / "folder", format=format_name)
    assert (done.overlays_exported, report.overlays_imported) == (7, 7)
    assert exchanged.overlays_of(again) == exchanged.overlays_of(source)
    assert len(exchanged.overlays_of(again)) == 7
    assert again.overlays(job_id=exchanged.JOB, stage=exchanged.STAGE).stale() == []


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_export_of_a_range_keeps_its_sequences(
    source: Timeline, memory_url: str, tmp_path: Path, format_name: FolderFormat
) -> None:
    numbers = list(range(30, 100, 7))
    source.export_frames(tmp_path / "folder", format=format_name, start=30, stop=100, step=7)
    again = FrameCache(memory_url).timeline("t")
    again.import_frames(tmp_path / "folder")
    assert again.sequences() == numbers
    assert list(again.jpegs(numbers)) == list(source.jpegs(numbers))


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_import_stores_the_bytes_in_either_layout(
    source: Timeline, memory_url: str, tmp_path: Path, layout: Layout
) -> None:
    source.export_frames(tmp_path / "folder", format="images", stop=9)
    again = FrameCache(memory_url).timeline("t")
    again.import_frames(tmp_path / "folder", layout=layout)
    settings = again.info().settings
    assert settings is not None
    assert settings.layout == layout
    assert list(again.jpegs(range(9))) == list(source.jpegs(range(9)))


def test_import_of_the_same_folder_again_changes_nothing(
    source: Timeline, memory_url: str, tmp_path: Path
) -> None:
    source.export_frames(tmp_path / "folder", format="images", stop=9)
    again = FrameCache(memory_url).timeline("t")
    first, second = (again.import_frames(tmp_path / "folder") for _ in range(2))
    assert (first.frames_stored, second.frames_stored, second.frames_imported) == (9, 0, 9)


def test_import_compares_with_the_cached_frames(
    source: Timeline, memory_url: str, tmp_path: Path
) -> None:
    source.export_frames(tmp_path / "folder", format="images", stop=3)
    image = np.full((96, 64, 3), 77, np.uint8)
    written = FrameCache(memory_url).timeline("t")
    written.write([Frame(1, 0, 0.04, image)])
    before = written.jpeg(1)
    with pytest.raises(SettingsConflict, match="frame 1 of timeline t is cached with another"):
        written.import_frames(tmp_path / "folder")
    assert written.sequences() == [1]
    kept = written.import_frames(tmp_path / "folder", on_conflict="keep")
    assert (kept.frames_stored, kept.frames_kept) == (2, 1)
    assert written.jpeg(1) == before
    replaced = written.import_frames(tmp_path / "folder", on_conflict="replace")
    assert (replaced.frames_stored, replaced.frames_replaced) == (0, 1)
    assert list(written.jpegs(range(3))) == list(source.jpegs(range(3)))


def test_stale_overlays_are_left_out_and_counted(local_url: str, tmp_path: Path) -> None:
    timeline = exchanged.extract(FrameCache(local_url))
    overlays = timeline.overlays(job_id=exchanged.JOB, stage=exchanged.STAGE)
    drawn = Path(local_url, "cache/timelines/source/overlays", exchanged.JOB, exchanged.STAGE)
    for name in ("7_a", "119_a", "119_b.c"):
        os.utime(drawn / f"{name}.png", (0, 0))  # as if drawn before the frames were extracted
    done = timeline.export_frames(tmp_path / "folder", format="images", overlays=[overlays])
    assert (done.overlays_exported, done.overlays_stale) == (3, 3)
    left = {path.stem for path in (tmp_path / "folder" / "overlays").rglob("*.png")}
    assert left == {"0_a", "0_b.c", "7_b.c"}


def test_shards_hold_about_the_bytes_that_were_asked_for(
    source: Timeline, memory_url: str, tmp_path: Path
) -> None:
    formats: tuple[FolderFormat, ...] = ("webdataset", "parquet")
    for format_name in formats:
        folder = tmp_path / format_name
        source.export_frames(folder, format=format_name, shard_bytes=20_000)
        sizes = [path.stat().st_size for path in sorted(folder.glob("frames-*"))]
        assert len(sizes) >= 5
        assert max(sizes) < 40_000
        again = FrameCache(memory_url).timeline(format_name)
        again.import_frames(folder)
        assert list(again.jpegs(range(120))) == list(source.jpegs(range(120)))


def test_export_reads_frames_while_it_writes_them(source: Timeline, tmp_path: Path) -> None:
    seen: list[int] = []
    source.export_frames(
        tmp_path / "folder",
        format="images",
        progress=lambda _: seen.append(len(list(tmp_path.glob(".*.part/*.jpg")))),
    )
    assert seen == list(range(1, 121))
