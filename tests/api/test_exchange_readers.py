"""Exported folders as other programs read them; nothing here imports with framecache."""

import csv
import gc
import io
import json
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image as Pillow

import exchanged
import tars
from framecache import FrameCache, Timeline
from framecache.model import FolderFormat
from media import ffprobe


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return exchanged.extract(FrameCache(tmp_path_factory.mktemp("readers") / "store"))


@pytest.fixture(scope="module")
def jpegs(source: Timeline) -> list[bytes]:
    """The stored bytes, as files of the store."""
    folder = Path(source._store.url.removeprefix("file://"), "cache/timelines/source/frames")  # noqa: SLF001
    return [(folder / f"{number}.jpg").read_bytes() for number in range(120)]


def export(
    source: Timeline,
    folder: Path,
    format_name: FolderFormat,
    **options: Any,  # noqa: ANN401 -- those of export_frames
) -> Path:
    source.export_frames(folder, format=format_name, **options)
    return folder


def edges(source: Timeline) -> list[Any]:
    return [source.overlays(job_id=exchanged.JOB, stage=exchanged.STAGE)]


def test_images_have_a_file_for_each_frame_and_a_table(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "images", overlays=edges(source))
    rows = list(csv.DictReader((folder / "frames.csv").read_text().splitlines()))
    assert [(folder / row["file"]).read_bytes() for row in rows] == jpegs
    assert [float(row["timestamp"]) for row in rows] == exchanged.times(source)
    assert [int(row["sequence"]) for row in rows] == list(range(120))
    overlay = folder / "overlays" / exchanged.JOB / exchanged.STAGE / "7_b.c.png"
    assert overlay.read_bytes() == exchanged.png(8)


@pytest.mark.parametrize("tool", tars.TOOLS)
def test_tools_read_the_members_of_a_tar(
    source: Timeline, jpegs: list[bytes], tmp_path: Path, tool: str
) -> None:
    folder = export(source, tmp_path / "out", "webdataset", overlays=edges(source))
    members = tars.TOOLS[tool](folder / "frames-000000.tar")
    assert [members[f"{number:06d}.jpg"] for number in range(120)] == jpegs
    described = [json.loads(members[f"{number:06d}.json"]) for number in range(120)]
    assert [one["timestamp"] for one in described] == exchanged.times(source)
    assert described[7]["overlays"][1] == {
        "job_id": exchanged.JOB,
        "stage": exchanged.STAGE,
        "name": "b.c",
    }
    assert members["000007.overlay-1.png"] == exchanged.png(8)
    assert len(members) == 2 * 120 + 6


def test_shards_of_webdataset_are_listed_with_their_sizes(source: Timeline, tmp_path: Path) -> None:
    folder = export(source, tmp_path / "out", "webdataset", shard_bytes=20_000)
    counts = {
        path.name: sum(name.endswith(".jpg") for name in tars.by_gnu_tar(path))
        for path in sorted(folder.glob("*.tar"))
    }
    assert json.loads((folder / "sizes.json").read_text()) == counts
    assert sum(counts.values()) == 120
    assert len(counts) > 3


def test_parquet_has_the_columns_and_features_of_datasets(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "parquet", overlays=edges(source))
    table = pq.read_table(folder)
    assert pc.struct_field(table["image"], "bytes").to_pylist() == jpegs
    assert table["timestamp"].to_pylist() == exchanged.times(source)
    drawn: Any = table["overlays"].to_pylist()
    assert [one["name"] for one in drawn[7]] == ["a", "b.c"]
    assert drawn[7][1]["image"]["bytes"] == exchanged.png(8)
    metadata = table.schema.metadata
    assert metadata is not None
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert list(features) == table.column_names


def test_video_has_a_keyframe_of_the_stored_bytes_for_each_row(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "mp4", fps="30000/1001")
    video = folder / "video.mp4"
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [bytes(packet) for packet in packets] == jpegs
        assert all(packet.is_keyframe for packet in packets)
    stream = ffprobe(video, "-show_streams", "-count_frames")["streams"][0]
    assert stream["r_frame_rate"] == stream["avg_frame_rate"] == "30000/1001"
    assert (stream["nb_frames"], stream["nb_read_frames"]) == ("120", "120")
    frames = ffprobe(video, "-show_frames", "-show_entries", "frame=pts_time,pict_type")["frames"]
    assert {frame["pict_type"] for frame in frames} == {"I"}
    expected = [float(number * Fraction(1001, 30000)) for number in range(120)]
    assert [float(frame["pts_time"]) for frame in frames] == pytest.approx(expected, abs=1e-5)
    rows = list(csv.DictReader((folder / "frames.csv").read_text().splitlines()))
    assert [float(row["timestamp"]) for row in rows] == exchanged.times(source)


def test_opencv_reads_the_frame_of_each_row(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "mp4")
    capture = cv2.VideoCapture(str(folder / "video.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 120
    for data in jpegs:
        found, image = capture.read()
        expected = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))[:, :, ::-1]
        assert found
        assert np.abs(image.astype(int) - expected).mean() < 2
    assert not capture.read()[0]
    capture.set(cv2.CAP_PROP_POS_FRAMES, 77)
    expected = np.asarray(Pillow.open(io.BytesIO(jpegs[77])).convert("RGB"))[:, :, ::-1]
    assert np.abs(capture.read()[1].astype(int) - expected).mean() < 2
    capture.release()


def test_video_without_a_given_rate_has_the_mean_rate_of_its_frames(
    source: Timeline, tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "mp4", start=60)
    stream = ffprobe(folder / "video.mp4", "-show_streams")["streams"][0]
    assert stream["avg_frame_rate"] == "30000/1001"


def test_coco_has_an_entry_for_each_picture(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "coco-images")
    document = json.loads((folder / "annotations" / "instances_default.json").read_text())
    entries = document["images"]
    assert document["annotations"] == document["categories"] == []
    assert [one["id"] for one in entries] == list(range(120))
    assert [(folder / "images" / one["file_name"]).read_bytes() for one in entries] == jpegs
    for one in entries:
        with Pillow.open(folder / "images" / one["file_name"]) as picture:
            assert picture.size == (one["width"], one["height"])


def test_cvat_manifest_names_the_pictures_in_order(
    source: Timeline, jpegs: list[bytes], tmp_path: Path
) -> None:
    folder = export(source, tmp_path / "out", "cvat")
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    assert lines[:2] == ['{"version":"1.1"}', '{"type":"images"}']
    entries = [json.loads(line) for line in lines[2:]]
    names = [f"{one['name']}{one['extension']}" for one in entries]
    assert [(folder / name).read_bytes() for name in names] == jpegs
    with Pillow.open(folder / names[0]) as picture:
        assert picture.size == (entries[0]["width"], entries[0]["height"])
    assert {one["extension"] for one in entries} == {".jpg"}
    assert all(one["meta"]["related_images"] == [] for one in entries)


def test_webdataset_decodes_samples_with_their_times(source: Timeline, tmp_path: Path) -> None:
    folder = export(source, tmp_path / "out", "webdataset", shard_bytes=20_000)
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    # It leaves the files to the garbage collector.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        found = [(one["jpg"].shape, one["json"]["timestamp"]) for one in samples]
        gc.collect()
    assert found == [((96, 64, 3), time) for time in exchanged.times(source)]


def test_what_webdataset_writes_is_imported(
    jpegs: list[bytes], memory_url: str, tmp_path: Path
) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        for number, data in enumerate(jpegs):
            tar.write({"__key__": f"clip/{number:04d}", "jpg": data, "cls": number})
    timeline = FrameCache(memory_url).timeline("t")
    timeline.import_frames(tmp_path, fps=25)
    assert list(timeline.jpegs(range(120))) == jpegs
    assert timeline.index.timestamp.tolist() == [number / 25 for number in range(120)]


def test_manifest_as_cvat_writes_it_is_imported(
    jpegs: list[bytes], memory_url: str, tmp_path: Path
) -> None:
    """CVAT adds a checksum of the pixels, and an empty object for an image that it leaves out."""
    lines = ['{"version":"1.1"}', '{"type":"images"}']
    for number, data in enumerate(jpegs[:6]):
        (tmp_path / f"{number}.jpg").write_bytes(data)
        entry = {"name": str(number), "extension": ".jpg", "width": 64, "height": 96}
        lines += [json.dumps(entry | {"checksum": "548918ec4b56132a5cff1d4acabe9947"}), "{}"]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    timeline = FrameCache(memory_url).timeline("t")
    timeline.import_frames(tmp_path, fps=5)
    assert list(timeline.jpegs(range(6))) == jpegs[:6]
    assert timeline.index.timestamp.tolist() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
