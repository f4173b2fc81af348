"""Exports as their own libraries read them, and imports of what these libraries write."""

import csv
import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Pillow

import exchanged
from framecache import CorruptFrame, FrameCache, InvalidValue, Timeline
from framecache.model import FolderFormat
from media import make_clip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return exchanged.extract(FrameCache(tmp_path_factory.mktemp("peers") / "store"))


@pytest.fixture(scope="module")
def jpegs(source: Timeline) -> list[bytes]:
    """The stored bytes, as files of the store."""
    folder = Path(source._store.url.removeprefix("file://"), "cache/timelines/source/frames")  # noqa: SLF001
    return [(folder / f"{number}.jpg").read_bytes() for number in range(120)]


@pytest.fixture
def target(memory_url: str) -> Timeline:
    return FrameCache(memory_url).timeline("t")


def stages(source: Timeline) -> list[Any]:
    return [
        source.overlays(job_id=exchanged.JOB, stage=stage)
        for stage in (exchanged.STAGE, exchanged.OTHER_STAGE)
    ]


@pytest.mark.parametrize("format_name", ["parquet", "lance"])
def test_datasets_loads_decoded_images_and_overlays(
    source: Timeline, jpegs: list[bytes], tmp_path: Path, format_name: FolderFormat
) -> None:
    datasets = import_module("datasets")
    folder = tmp_path / f"rows.{format_name}"
    source.export_frames(folder, format=format_name, overlays=stages(source))
    rows = datasets.load_dataset(
        format_name, data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(rows) == 120
    image = rows[77]["image"]
    assert isinstance(image, Pillow.Image)
    assert np.array_equal(np.asarray(image), np.asarray(Pillow.open(io.BytesIO(jpegs[77]))))
    assert rows["timestamp"][:] == exchanged.times(source)
    assert [one["name"] for one in rows[7]["overlays"]] == ["a", "b.c", "a"]
    assert np.asarray(rows[7]["overlays"][1]["image"])[0, 0] == 8
    raw = rows.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in raw] == jpegs


def test_what_datasets_writes_is_imported_with_its_bytes(
    jpegs: list[bytes], target: Timeline, tmp_path: Path
) -> None:
    datasets = import_module("datasets")
    columns = {
        "image": [{"bytes": data, "path": None} for data in jpegs],
        "sequence": list(range(0, 240, 2)),
        "timestamp": [number / 7 for number in range(120)],
    }
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "sequence": datasets.Value("int32"),
            "timestamp": datasets.Value("float64"),
        }
    )
    (tmp_path / "rows").mkdir()
    rows = datasets.Dataset.from_dict(columns, features=features)
    rows.to_parquet(str(tmp_path / "rows" / "train.parquet"))
    target.import_frames(tmp_path / "rows")
    assert list(target.jpegs(range(0, 240, 2))) == jpegs
    assert target.index.timestamp.tolist() == columns["timestamp"]


def test_lance_round_trip_keeps_bytes_times_and_overlays(
    source: Timeline, jpegs: list[bytes], target: Timeline, tmp_path: Path
) -> None:
    lance = import_module("lance")
    folder = tmp_path / "rows.lance"
    source.export_frames(folder, format="lance", overlays=stages(source))
    found = lance.dataset(str(folder)).take([77, 5], columns=["image", "timestamp"])
    assert [row["bytes"] for row in found["image"].to_pylist()] == [jpegs[77], jpegs[5]]
    report = target.import_frames(folder)
    assert (report.format, report.frames_stored, report.overlays_imported) == ("lance", 120, 7)
    assert list(target.jpegs(range(120))) == jpegs
    assert target.index.timestamp.tolist() == exchanged.times(source)
    for name in exchanged.COLUMNS:
        assert getattr(target.index, name).tolist() == getattr(source.index, name).tolist()
    assert exchanged.overlays_of(target) == exchanged.overlays_of(source)


def test_lance_dataset_of_another_program_is_imported(
    jpegs: list[bytes], target: Timeline, tmp_path: Path
) -> None:
    lance = import_module("lance")
    rows = pa.table({"image": pa.array(jpegs, pa.large_binary()), "label": range(120)})
    lance.write_dataset(rows, str(tmp_path / "rows.lance"))
    target.import_frames(tmp_path / "rows.lance", fps=25)
    assert list(target.jpegs(range(120))) == jpegs
    assert target.index.timestamp.tolist() == [number / 25 for number in range(120)]


def test_failed_export_to_lance_leaves_nothing_and_keeps_its_error(
    local_url: str, tmp_path: Path
) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(make_clip(tmp_path / "clip.mp4", frames=30))
    damaged = Path(local_url, "cache/timelines/t/frames/20.jpg")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(CorruptFrame, match="frame 20"):
        timeline.export_frames(tmp_path / "out", format="lance")

    def interrupt(progress: object) -> None:
        del progress
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timeline.export_frames(tmp_path / "out", format="lance", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_damaged_lance_dataset_is_refused(
    source: Timeline, target: Timeline, tmp_path: Path
) -> None:
    source.export_frames(tmp_path / "a", format="lance", stop=9)
    source.export_frames(tmp_path / "b", format="lance", stop=9)
    (data,) = (tmp_path / "a" / "data").iterdir()
    data.write_bytes(data.read_bytes()[:-200])
    for version in (tmp_path / "b" / "_versions").iterdir():
        version.unlink()
    for name in ("a", "b"):
        with pytest.raises(InvalidValue, match="is not a complete Lance dataset"):
            target.import_frames(tmp_path / name, format="lance")
    assert not target.exists


def test_pycocotools_reads_the_images(
    source: Timeline, jpegs: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = import_module("pycocotools.coco")
    source.export_frames(tmp_path / "out", format="coco-images")
    index = coco.COCO(str(tmp_path / "out" / "annotations" / "instances_default.json"))
    assert "index created" in capsys.readouterr().out
    images = index.loadImgs(index.getImgIds())
    assert [one["id"] for one in images] == list(range(120))
    folder = tmp_path / "out" / "images"
    assert [(folder / one["file_name"]).read_bytes() for one in images] == jpegs
    assert [(one["width"], one["height"]) for one in images] == [(64, 96)] * 120


@pytest.mark.parametrize("tool", ["decord", "torchcodec"])
def test_frame_n_of_the_video_is_line_n_of_the_table(
    source: Timeline, jpegs: list[bytes], tmp_path: Path, tool: str
) -> None:
    source.export_frames(tmp_path / "out", format="mp4", start=3, step=2)
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines()))
    path = str(tmp_path / "out" / "video.mp4")
    reader: Any
    if tool == "decord":
        reader = import_module("decord").VideoReader(path)
    else:
        decoders = import_module("torchcodec.decoders")
        reader = decoders.VideoDecoder(path, dimension_order="NHWC")
    assert len(reader) == len(rows) == 59
    for number in np.random.default_rng(3).permutation(59).tolist():
        picture = reader[number]
        image = picture.asnumpy() if tool == "decord" else picture.numpy()
        stored = Pillow.open(io.BytesIO(jpegs[int(rows[number]["sequence"])])).convert("RGB")
        assert np.abs(image.astype(int) - np.asarray(stored)).mean() < 2
