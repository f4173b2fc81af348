"""Exports and imports that are refused: with a typed error, and with nothing half-visible."""

import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

import exchanged
from framecache import (
    CorruptFrame,
    Frame,
    FrameCache,
    InvalidId,
    InvalidValue,
    MissingPackage,
    NotCached,
    SettingsConflict,
    StoreFull,
    StoreUnavailable,
    Timeline,
    TimelineCleared,
    UndecodableFrame,
)
from framecache.model import FolderFormat
from media import make_clip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return exchanged.extract(FrameCache(tmp_path_factory.mktemp("bad") / "store"))


@pytest.fixture(scope="module")
def exported(source: Timeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each format, with 5 frames and, where the format has them, overlays."""
    root = tmp_path_factory.mktemp("exported")
    stages = [source.overlays(job_id=exchanged.JOB, stage=exchanged.STAGE)]
    for name in exchanged.FORMATS:
        drawn = stages if name in exchanged.WITH_OVERLAYS else []
        source.export_frames(root / name, format=name, stop=5, overlays=drawn)
    return root


@pytest.fixture
def folders(exported: Path, tmp_path: Path) -> Path:
    """A copy of those folders, to damage."""
    return Path(shutil.copytree(exported, tmp_path / "folders"))


@pytest.fixture
def target(memory_url: str) -> Timeline:
    return FrameCache(memory_url).timeline("t")


def refused(timeline: Timeline, folder: Path, message: str, **options: object) -> None:
    """Check that an import is refused, and that nothing of it is visible."""
    with pytest.raises(InvalidValue, match=message):
        timeline.import_frames(folder, **options)  # type: ignore[arg-type]
    assert not timeline.exists
    assert timeline.jobs() == {}


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_export_into_a_filled_folder_is_refused(
    source: Timeline, tmp_path: Path, format_name: FolderFormat
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").touch()
    with pytest.raises(InvalidValue, match="is not empty"):
        source.export_frames(tmp_path / "out", format=format_name)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "note.txt"]


def test_export_into_an_empty_folder_or_a_new_one_works(source: Timeline, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("link", "a/b/new"):
        source.export_frames(tmp_path / name, format="images", stop=1)
        assert (tmp_path / name / "000000.jpg").is_file()
    assert (tmp_path / "link").is_symlink()


def test_export_onto_a_file_is_refused(source: Timeline, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("kept")
    with pytest.raises(InvalidValue, match="is a file"):
        source.export_frames(tmp_path / "out", format="images")
    assert (tmp_path / "out").read_text() == "kept"


def test_export_into_a_folder_that_cannot_be_made_is_a_typed_error(
    source: Timeline, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StoreUnavailable, InvalidValue)):
        source.export_frames(tmp_path / "file" / "out", format="images")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        source.export_frames("/proc/framecache/out", format="images")


def test_export_to_a_full_disk_leaves_nothing(source: Timeline, small_disk: Path) -> None:
    (small_disk / "filling").write_bytes(bytes(900_000))
    with pytest.raises(StoreFull, match="free some space"):
        source.export_frames(small_disk / "out", format="images")
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_export_that_fails_leaves_nothing(
    local_url: str, tmp_path: Path, format_name: FolderFormat
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(make_clip(tmp_path / "clip.mp4", frames=30))
    damaged = Path(local_url, "cache/timelines/t/frames/20.jpg")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(CorruptFrame, match="frame 20"):
        timeline.export_frames(tmp_path / "out", format=format_name)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_export_of_a_timeline_that_is_cleared_meanwhile_leaves_nothing(
    local_url: str, tmp_path: Path, format_name: FolderFormat
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    frames = [Frame(n, 0, n / 25, np.full((48, 64, 3), n, np.uint8)) for n in range(200)]
    timeline.write(frames)
    before = sorted(path.name for path in tmp_path.iterdir())

    def clear(progress: object) -> None:
        del progress
        if timeline.exists:
            FrameCache(local_url).timeline("t").clear()

    with pytest.raises(TimelineCleared):
        timeline.export_frames(tmp_path / "out", format=format_name, progress=clear)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_export_of_a_timeline_that_is_rebuilt_meanwhile_leaves_nothing(
    local_url: str, tmp_path: Path
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(make_clip(tmp_path / "clip.mp4", frames=60))
    before = sorted(path.name for path in tmp_path.iterdir())
    rebuilt: list[object] = []

    def rebuild(progress: object) -> None:
        if not rebuilt:
            rebuilt.append(progress)
            FrameCache(local_url).timeline("t").rebuild(quality=20)

    with pytest.raises(TimelineCleared):
        timeline.export_frames(tmp_path / "out", format="images", progress=rebuild)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert timeline.export_frames(tmp_path / "out", format="images").frames_exported == 60


def test_export_of_frames_replaced_meanwhile_has_the_metadata_of_its_bytes(
    local_url: str, tmp_path: Path
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([Frame(n, 0, float(n), np.full((48, 64, 3), n, np.uint8)) for n in range(200)])
    other = [Frame(199, 0, 500.0, np.full((32, 32, 3), 9, np.uint8))]

    def replace(progress: object) -> None:
        del progress
        writer = FrameCache(local_url).timeline("t")
        if len(writer.index) and writer.index.timestamp[-1] != 500:
            writer.write(other, on_conflict="replace")

    timeline.export_frames(tmp_path / "out", format="images", progress=replace)
    lines = (tmp_path / "out" / "frames.csv").read_text().splitlines()
    last = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    with Pillow.open(tmp_path / "out" / last["file"]) as picture:
        assert picture.size == (int(last["width"]), int(last["height"]))
        assert (float(last["timestamp"]) == 500) == (picture.size == (32, 32))


def test_interrupted_export_leaves_nothing(source: Timeline, tmp_path: Path) -> None:
    def interrupt(progress: object) -> None:
        del progress
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.export_frames(tmp_path / "out", format="webdataset", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_filled_during_the_export_stays(source: Timeline, tmp_path: Path) -> None:
    def fill(progress: object) -> None:
        del progress
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "other.txt").touch()

    with pytest.raises(InvalidValue, match="no longer empty"):
        source.export_frames(tmp_path / "out", format="images", progress=fill)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other.txt"]


def test_export_of_nothing_is_refused(source: Timeline, target: Timeline, tmp_path: Path) -> None:
    with pytest.raises(NotCached, match="no picture in that range"):
        source.export_frames(tmp_path / "out", format="images", start=120)
    with pytest.raises(NotCached):
        target.export_frames(tmp_path / "out", format="images")
    assert list(tmp_path.iterdir()) == []


def test_undecodable_frame_is_left_out_or_refused(local_url: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", codec="mjpeg", frames=12)
    data = bytearray(clip.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 3] == b"\xff\xd8\xff"]
    data[starts[5] : starts[6] - 4] = bytes(starts[6] - 4 - starts[5])
    clip.write_bytes(data)
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clip)
    lacking = timeline.index.sequence[~timeline.index.is_ok].tolist()
    assert lacking == [5]
    timeline.export_frames(tmp_path / "out", format="mp4")
    lines = (tmp_path / "out" / "frames.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == [0, 1, 2, 3, 4, *range(6, 12)]
    with pytest.raises(UndecodableFrame):
        timeline.export_frames(tmp_path / "other", format="mp4", missing="raise")
    assert not (tmp_path / "other").exists()


def test_video_of_several_sizes_is_refused(target: Timeline, tmp_path: Path) -> None:
    images = [np.zeros((48, 64, 3), np.uint8), np.zeros((48, 80, 3), np.uint8)]
    target.write([Frame(n, 0, float(n), image) for n, image in enumerate(images)])
    with pytest.raises(InvalidValue, match="64x48 and 80x48"):
        target.export_frames(tmp_path / "out", format="mp4")
    assert list(tmp_path.iterdir()) == []
    target.export_frames(tmp_path / "out", format="mp4", stop=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "zip"}, "format must be one of"),
        ({"format": "images", "fps": 25}, "give no fps"),
        ({"format": "images", "shard_bytes": 9}, "has no shards"),
        ({"format": "webdataset", "shard_bytes": 0}, "shard_bytes must be"),
        ({"format": "mp4", "fps": 0}, "fps"),
        ({"format": "images", "overlays": "run-7"}, "overlays must be stages"),
        ({"format": "images", "step": 0}, "step"),
    ],
)
def test_invalid_option_of_an_export_is_refused(
    source: Timeline, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        source.export_frames(tmp_path / "out", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", exchanged.WITHOUT_OVERLAYS)
def test_overlays_in_a_format_without_them_are_refused(
    source: Timeline, tmp_path: Path, format_name: FolderFormat
) -> None:
    stage = source.overlays(job_id=exchanged.JOB, stage=exchanged.STAGE)
    with pytest.raises(InvalidValue, match="no place for overlays"):
        source.export_frames(tmp_path / "out", format=format_name, overlays=[stage])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["s3://bucket/out", "", 7, "a\0b"])
def test_folder_that_is_not_a_local_path_is_refused(source: Timeline, place: object) -> None:
    with pytest.raises(InvalidValue, match="must be a local path"):
        source.export_frames(place, format="images")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="must be a local path"):
        source.import_frames(place)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("format_name", "module", "extra"),
    [("parquet", "pyarrow", "arrow"), ("mp4", "av", "extract"), ("lance", "lance", "lance")],
)
def test_missing_package_is_named_before_anything_is_written(
    source: Timeline,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format_name: FolderFormat,
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=rf"pip install 'framecache\[{extra}\]'$"):
        source.export_frames(tmp_path / "out", format=format_name)
    with pytest.raises(MissingPackage, match=rf"pip install 'framecache\[{extra}\]'$"):
        source.import_frames(exported, format=format_name)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_no_format_is_refused(target: Timeline, tmp_path: Path) -> None:
    refused(target, tmp_path / "absent", "there is no folder")
    refused(target, tmp_path, "files of no format")
    for name in ("frames.csv", "manifest.jsonl"):
        (tmp_path / name).touch()
    refused(target, tmp_path, "may be of the formats images and cvat")
    formats: tuple[FolderFormat, ...] = ("webdataset", "parquet", "coco-images")
    for format_name in formats:
        refused(target, tmp_path, "has no|has 0", format=format_name)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -min(1500, path.stat().st_size // 2)])


def fill_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def make_text(path: Path) -> None:
    path.write_text("not a picture")


def turn(path: Path) -> None:
    """Have Pillow state that the picture is to be turned by 90°."""
    with Pillow.open(path) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(path, exif=exif)


def make_cmyk(path: Path) -> None:
    with Pillow.open(path) as picture:
        picture.convert("CMYK").save(path, "JPEG")


@pytest.mark.parametrize("format_name", ["images", "coco-images", "cvat"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "is missing"),
        (cut, "is not a complete JPEG"),
        (fill_with_zeros, "is not a complete JPEG"),
        (make_text, "is not a complete JPEG"),
        (make_cmyk, "is a JPEG in CMYK"),
        (turn, "is stored rotated or mirrored .Exif orientation 6"),
    ],
)
def test_damaged_picture_is_refused_by_name(
    folders: Path,
    target: Timeline,
    format_name: str,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    (picture,) = (folders / format_name).rglob("000003.jpg")
    damage(picture)
    refused(target, folders / format_name, f"000003.jpg.* {message}")


@pytest.mark.parametrize(
    ("format_name", "file"),
    [
        ("mp4", "video.mp4"),
        ("webdataset", "frames-000000.tar"),
        ("parquet", "frames-00000.parquet"),
        ("images", "frames.csv"),
        ("coco-images", "annotations/instances_default.json"),
        ("cvat", "manifest.jsonl"),
    ],
)
@pytest.mark.parametrize("damage", [cut, fill_with_zeros, make_text])
def test_damaged_container_is_refused_by_name(
    folders: Path,
    target: Timeline,
    format_name: FolderFormat,
    file: str,
    damage: Callable[[Path], None],
) -> None:
    path = folders / format_name / file
    damage(path)
    with pytest.raises(InvalidValue, match=path.name):
        target.import_frames(folders / format_name, format=format_name)
    assert not target.exists
    assert target.jobs() == {}


def test_damaged_overlay_is_refused(folders: Path, target: Timeline) -> None:
    (overlay,) = (folders / "images").rglob("0_a.png")
    cut(overlay)
    refused(target, folders / "images", "overlay 'a' is not a complete PNG")


def test_overlay_of_a_frame_that_is_not_there_is_refused(folders: Path, target: Timeline) -> None:
    (overlay,) = (folders / "images").rglob("0_a.png")
    overlay.rename(overlay.with_name("77_a.png"))
    refused(target, folders / "images", "no frame 77")


def test_overlay_of_an_invalid_name_is_refused(folders: Path, target: Timeline) -> None:
    (overlay,) = (folders / "images").rglob("0_a.png")
    overlay.rename(overlay.with_name("a.png"))
    refused(target, folders / "images", "is not named SEQ_NAME.png")
    job = folders / "coco-images" / "overlays" / exchanged.JOB
    job.rename(job.with_name("-x"))
    with pytest.raises(InvalidId, match="job_id"):
        target.import_frames(folders / "coco-images")
    assert not target.exists


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n3,0,", "\n2,0,", "have the same sequence, 2"),
        ("\n3,0,", "\n-3,0,", "sequence"),
        ("\n3,0,", "\nx,0,", "not a number"),
        ("\n3,0,", "\n,0,", "has no sequence"),
        ("\n3,0,", "\n3,-1,", "chunk_id"),
        ("\n3,0,0.1", "\n3,0,nan0.1", "not a number"),
        (",000003.jpg", ",../images/000003.jpg", "outside the folder"),
        (",000003.jpg", ",/etc/hostname", "outside the folder"),
        (",000003.jpg", ",", "not a file name"),
        (",000003.jpg", ",.", "is missing"),
        (",000003.jpg", ",9.jpg", "is missing"),
        (",000003.jpg", ",000003.jpg,1", "as many values"),
        (",000003.jpg", "", "as many values"),
        ("sequence,", "number,", "has no timestamp|has a sequence|unlike"),
        ("file", "name", "has no column 'file'"),
    ],
)
def test_invalid_table_is_refused(
    folders: Path, target: Timeline, old: str, new: str, message: str
) -> None:
    if new == "number,":
        edit(folders / "images" / "frames.csv", "timestamp", "time")
    edit(folders / "images" / "frames.csv", old, new)
    refused(target, folders / "images", message)


@pytest.mark.parametrize("value", ["nan", "inf", "1e40"])
def test_time_that_is_not_finite_is_refused(folders: Path, target: Timeline, value: str) -> None:
    table = folders / "images" / "frames.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    lines[2][2] = value
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    refused(target, folders / "images", "timestamp")


def test_link_that_leaves_the_folder_is_refused(
    folders: Path, target: Timeline, tmp_path: Path
) -> None:
    picture = folders / "images" / "000003.jpg"
    outside = tmp_path / "outside.jpg"
    picture.rename(outside)
    picture.symlink_to(outside)
    refused(target, folders / "images", "outside the folder")


def test_pipe_instead_of_a_picture_is_refused(folders: Path, target: Timeline) -> None:
    picture = folders / "images" / "000003.jpg"
    picture.unlink()
    os.mkfifo(picture)
    refused(target, folders / "images", "is missing")


def rewrite_tar(path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
    """Write a tar again by tarfile, with other members."""
    with tarfile.open(path) as tar:
        members = [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            for new_name, new_data in change(name, data):
                header = tarfile.TarInfo(new_name)
                header.size = len(new_data)
                tar.addfile(header, io.BytesIO(new_data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"000003.jpg": ["../000003.jpg"]}, "outside the tar's folder"),
        ({"000003.jpg": ["/000003.jpg"]}, "outside the tar's folder"),
        ({"000003.jpg": []}, "sizes.json|whose JPEG is missing"),
        ({"000003.jpg": ["000003.png"]}, "is not a JPEG"),
        ({"000003.jpg": ["000003.jpg", "000003.jpeg"]}, "several JPEGs"),
        ({"000000.overlay-1.png": []}, "is missing"),
        ({"000003.json": []}, "has no sequence"),
        ({"000003.jpg": [], "000003.json": []}, "sizes.json states 5"),
    ],
)
def test_tar_with_other_members_is_refused(
    folders: Path, target: Timeline, changes: dict[str, list[str]], message: str
) -> None:
    path = folders / "webdataset" / "frames-000000.tar"
    rewrite_tar(path, lambda name, data: [(one, data) for one in changes.get(name, [name])])
    refused(target, folders / "webdataset", message)


def test_members_that_are_not_of_frames_are_ignored(folders: Path, target: Timeline) -> None:
    path = folders / "webdataset" / "frames-000000.tar"

    def add(name: str, data: bytes) -> list[tuple[str, bytes]]:
        notes = [("README", b"text"), ("labels.txt", b"text"), (".hidden", b"text")]
        return [(name, data), (name.replace(".jpg", ".cls"), b"1"), *notes]

    rewrite_tar(
        path, lambda name, data: add(name, data) if name == "000002.jpg" else [(name, data)]
    )
    assert target.import_frames(folders / "webdataset").frames_stored == 5


def test_metadata_that_is_not_an_object_is_refused(folders: Path, target: Timeline) -> None:
    path = folders / "webdataset" / "frames-000000.tar"
    for body in (b"[1]", b"{", b"\xff\xfe", b"[" * 100_000):
        shutil.copy(path, folders / "copy.tar")
        rewrite_tar(
            path,
            lambda name, data, body=body: [(name, body if name == "000003.json" else data)],  # type: ignore[misc]
        )
        refused(target, folders / "webdataset", "000003.json .* is not (JSON|a JSON object)")
        shutil.copy(folders / "copy.tar", path)


def test_tar_without_its_end_is_refused(folders: Path, target: Timeline) -> None:
    path = folders / "webdataset" / "frames-000000.tar"
    path.write_bytes(path.read_bytes()[:-1024])
    (folders / "webdataset" / "sizes.json").unlink()
    refused(target, folders / "webdataset", "is damaged, or cut short")


def test_missing_shard_is_refused(source: Timeline, target: Timeline, tmp_path: Path) -> None:
    source.export_frames(tmp_path / "out", format="webdataset", shard_bytes=20_000)
    last = max((tmp_path / "out").glob("*.tar"))
    last.unlink()
    refused(target, tmp_path / "out", f"{last.name} is missing")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"sequence": [0]}), "has no column 'image'"),
        (pa.table({"image": ["a.jpg"]}), "has no column 'image' of pictures"),
        (
            pa.table({"image": [{"bytes": None, "path": "a.jpg"}]}),
            "no bytes of a picture|no column",
        ),
        (pa.table({"image": pa.array([None], pa.binary()), "sequence": [0]}), "no bytes"),
        (pa.table({"image": [b"no"], "sequence": ["0"], "timestamp": [0.0]}), "a sequence must be"),
        (pa.table({"image": [b"no"], "sequence": [0], "timestamp": ["0"]}), "timestamp"),
        (pa.table({"image": [b"no"], "sequence": [0], "timestamp": [0.0]}), "complete JPEG"),
        (
            pa.table({"image": [b"no"], "sequence": [0], "timestamp": [0.0], "quality": [101]}),
            "quality 101",
        ),
        (
            pa.table({"image": [b"no"], "sequence": [0], "timestamp": [0.0], "duration": [-1.0]}),
            "duration",
        ),
        (pa.table({"image": [b"no"], "sequence": [0], "overlays": [[{"name": "a"}]]}), "overlays"),
        (pa.table({"image": pa.array([], pa.binary())}), "has no frame"),
    ],
)
def test_parquet_of_other_columns_is_refused(
    target: Timeline, tmp_path: Path, table: pa.Table, message: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    refused(target, tmp_path, message)


def test_parquet_is_read_one_row_group_at_a_time(target: Timeline, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=95)
    table = pa.table({"image": [file.getvalue()] * 80})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=8, use_dictionary=False)
    before = pa.total_allocated_bytes()
    used: list[int] = []
    target.import_frames(
        tmp_path, fps=25, progress=lambda _: used.append(pa.total_allocated_bytes() - before)
    )
    assert len(used) == 80
    assert 0 < max(used) < table.nbytes / 2


def test_coco_with_invalid_entries_is_refused(folders: Path, target: Timeline) -> None:
    folder = folders / "coco-images"
    path = folder / "annotations" / "instances_default.json"
    document = json.loads(path.read_text())
    entries = document["images"]
    for images, message in (
        ("none", "has no list 'images'"),
        ([1], "has no list 'images'"),
        ([*entries, entries[0]], "two images of the id 0"),
        ([*entries, entries[0] | {"id": 99}], "have the same sequence"),
        ([entries[0] | {"file_name": "../../x.jpg"}], "outside the folder"),
        ([entries[0] | {"file_name": 7}], "not a file name"),
        ([], "has no frame"),
    ):
        path.write_text(json.dumps(document | {"images": images}))
        refused(target, folder, message)
    (folder / "annotations" / "other.json").write_text("{}")
    path.rename(path.with_name("more.json"))
    refused(target, folder, "has 2 JSON files")


def test_manifest_of_another_kind_is_refused(folders: Path, target: Timeline) -> None:
    path = folders / "cvat" / "manifest.jsonl"
    text = path.read_text()
    for old, new, message in (
        ('"images"', '"video"', "type images"),
        ('"1.1"', '"9"', "a version"),
        ('"extension":".jpg"', '"extension":7', "has the extension 7"),
        ('"name":"images/000003"', '"name":"../images/000003"', "outside the folder"),
        ('"name":"images/000003"', '"name":"images/9"', "is missing"),
    ):
        path.write_text(text.replace(old, new))
        refused(target, folders / "cvat", message)


def test_video_of_another_codec_is_refused(folders: Path, target: Timeline, tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=5).replace(folders / "mp4" / "video.mp4")
    refused(target, folders / "mp4", "not a video of JPEGs")


def test_video_and_table_of_different_lengths_are_refused(folders: Path, target: Timeline) -> None:
    table = folders / "mp4" / "frames.csv"
    lines = table.read_text().splitlines(keepends=True)
    for changed in (lines[:-1], [*lines, lines[-1].replace("4,", "5,", 1)]):
        table.write_text("".join(changed))
        refused(target, folders / "mp4", "has 5 frames, but its table has")


def test_frames_without_times_need_a_rate(target: Timeline, tmp_path: Path) -> None:
    pictures = tmp_path / "images"
    pictures.mkdir()
    for number in range(3):
        pixels = np.full((20, 30, 3), 40 * number, np.uint8)
        Pillow.fromarray(pixels).save(pictures / f"{number}.jpg", quality=90)
    (tmp_path / "annotations").mkdir()
    entries = [{"id": 7 - number, "file_name": f"{number}.jpg"} for number in range(3)]
    (tmp_path / "annotations" / "a.json").write_text(json.dumps({"images": entries}))
    refused(target, tmp_path, "has no timestamp: give fps")
    report = target.import_frames(tmp_path, fps=10)
    assert report.frames_stored == 3
    assert target.index.timestamp.tolist() == [0.0, 0.1, 0.2]
    assert list(target.jpegs(range(3))) == [
        (pictures / f"{number}.jpg").read_bytes() for number in range(3)
    ]


def test_rate_for_frames_with_times_is_refused(folders: Path, target: Timeline) -> None:
    refused(target, folders / "images", "give no fps", fps=25)


def test_import_to_a_timeline_of_chunks_is_refused(folders: Path, source: Timeline) -> None:
    before = list(source.jpegs(range(5)))
    with pytest.raises(SettingsConflict, match="was extracted from chunks"):
        source.import_frames(folders / "images")
    assert list(source.jpegs(range(5))) == before
