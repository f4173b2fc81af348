"""``framecache://`` in fsspec and in the libraries that open files with it."""

import errno
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clips
import duckdb
import fsspec
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pytest

from framecache import (
    CorruptFrame,
    FrameCache,
    InvalidValue,
    StorePermissionDenied,
    Timeline,
)
from framecache.model import Layout
from framecache.testing import HookedStore
from outside import frame, frames_of, outside, png_by_pillow

IN_BOTH_LAYOUTS = pytest.mark.parametrize("layout", ["objects", "packs"])
ODD_ID = "cam:1@2026-11-30T05:00,x=1+2~a"


@pytest.fixture
def match(local_url: str) -> Timeline:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.chunks())
    return timeline


def files(url: str) -> Any:  # noqa: ANN401 -- fsspec has no types
    return fsspec.filesystem("framecache", cache=url, skip_instance_cache=True)


def opened(path: str, url: str, **options: Any) -> bytes:  # noqa: ANN401 -- of fsspec
    with fsspec.open(path, "rb", cache=url, **options) as file:
        return bytes(file.read())


@IN_BOTH_LAYOUTS
def test_frame_file_is_the_stored_jpeg_in_every_layout(local_url: str, layout: Layout) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.chunks())
    stored = frames_of(outside(local_url), "t")
    timeline.repack(layout)
    for n in (0, 20, 44):
        assert opened(f"framecache://t/frames/{n}.jpg", local_url) == stored[f"{n}.jpg"]
    listed = files(local_url).ls("framecache://t/frames")
    assert {one["name"]: one["size"] for one in listed} == {
        f"t/frames/{name}": len(data) for name, data in stored.items()
    }


@pytest.mark.usefixtures("match")
def test_cache_comes_from_environment_unless_given(
    local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FrameCache(tmp_path / "other").timeline("t")
    other.write([frame(7)])
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    names = fsspec.filesystem("framecache").ls("t/frames", detail=False)
    assert len(names) == 45
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "other"))
    assert fsspec.filesystem("framecache").ls("t/frames", detail=False) == ["t/frames/7.jpg"]
    assert len(files(local_url).ls("t/frames")) == 45


@pytest.mark.every_store
def test_frame_of_every_store_opens(store_url: str) -> None:
    FrameCache(store_url).timeline("t").write([frame(3)])
    data = opened("framecache://t/frames/3.jpg", store_url)
    assert data == frames_of(outside(store_url), "t")["3.jpg"]


def test_ids_are_percent_encoded(local_url: str) -> None:
    FrameCache(local_url).timeline(ODD_ID).write([frame(3)])
    encoded = quote(ODD_ID, safe="")
    fs = files(local_url)
    assert fs.ls("", detail=False) == [encoded]
    assert fs.glob(f"framecache://{encoded}/frames/*.jpg") == [f"{encoded}/frames/3.jpg"]
    assert fs.glob(f"{ODD_ID}/frames/?.jpg") == [f"{encoded}/frames/3.jpg"]
    stored = frames_of(outside(local_url), ODD_ID)["3.jpg"]
    for written in (encoded, ODD_ID):
        assert opened(f"framecache://{written}/frames/3.jpg", local_url) == stored


def test_folders_and_files_are_listed(match: Timeline, local_url: str) -> None:
    png = png_by_pillow(1)
    match.overlays(job_id="run-7", stage="edges").save(20, {"mask": png, "a_b": png})
    fs = files(local_url)
    assert fs.ls("framecache://", detail=False) == ["t"]
    assert fs.ls("t", detail=False) == ["t/frames", "t/index.parquet", "t/overlays"]
    assert fs.find("t/overlays") == [
        "t/overlays/run-7/edges/20_a_b.png",
        "t/overlays/run-7/edges/20_mask.png",
    ]
    assert fs.du("t/overlays") == 2 * len(png)
    assert fs.cat_file("t/overlays/run-7/edges/20_mask.png") == png
    assert len(fs.glob("framecache://t/frames/1?.jpg")) == 10
    assert [fs.isdir(one) for one in ("", "t", "t/frames", "t/overlays/run-7")] == [True] * 4
    assert fs.isfile("t/frames/0.jpg")
    assert fs.info("t/frames/3.jpg")["timestamp"] == match.index.timestamp[3]
    assert [len(names) for _, _, names in fs.walk("t/frames")] == [45]


@pytest.mark.usefixtures("match")
@pytest.mark.parametrize(
    "path",
    [
        "t/frames/45.jpg",
        "t/frames/045.jpg",
        "t/frames/٣.jpg",
        "t/frames/3.png",
        "t/frames/x.jpg",
        "t/frames/3.jpg/x",
        f"t/frames/{10**20}.jpg",
        "t/other",
        "t/overlays/run-7",
        "t/overlays/run-7/edges",
        "t/overlays/run-7/edges/20_mask.png",
        "t/overlays/run-7/edges/mask.png",
        "t/overlays/run-7/edges/..%2Fedges%2F20_mask.png",
        "nothing",
        "nothing/frames",
        "nothing/frames/0.jpg",
        "nothing/index.parquet",
        "..%2Ft/frames/0.jpg",
        ".hidden/frames/0.jpg",
    ],
)
def test_missing_path_raises_file_not_found(local_url: str, path: str) -> None:
    fs = files(local_url)
    for call in (fs.info, fs.cat_file, fs.open, fs.ls, fs.modified):
        with pytest.raises(FileNotFoundError):
            call(path)
    assert not fs.exists(path)
    assert not fs.isfile(path)


@pytest.mark.usefixtures("match")
def test_read_of_folder_raises_is_a_directory(local_url: str) -> None:
    for path in ("", "t", "t/frames", "t/overlays"):
        with pytest.raises(IsADirectoryError):
            files(local_url).cat_file(path)


@pytest.mark.usefixtures("match")
def test_file_system_is_read_only(local_url: str) -> None:
    fs = files(local_url)
    before = outside(local_url).list()
    calls: list[Callable[[], object]] = [
        lambda: fs.open("t/frames/0.jpg", "wb"),
        lambda: fs.open("t/frames/0.jpg", "ab"),
        lambda: fs.pipe_file("t/frames/0.jpg", b"x"),
        lambda: fs.pipe("t/frames/0.jpg", b"x"),
        lambda: fs.rm("t", recursive=True),
        lambda: fs.rm_file("t/frames/0.jpg"),
        lambda: fs.delete("t/frames/0.jpg"),
        lambda: fs.mkdir("u"),
        lambda: fs.makedirs("u/v"),
        lambda: fs.rmdir("t"),
        lambda: fs.touch("t/frames/99.jpg"),
        lambda: fs.cp_file("t/frames/0.jpg", "t/frames/99.jpg"),
        lambda: fs.copy("t/frames/0.jpg", "t/frames/99.jpg"),
        lambda: fs.mv("t/frames/0.jpg", "t/frames/99.jpg"),
        lambda: fs.put_file(__file__, "t/frames/99.jpg"),
    ]
    for call in calls:
        with pytest.raises(OSError, match="read-only") as caught:
            call()
        assert caught.value.errno == errno.EROFS
    assert outside(local_url).list() == before


@pytest.mark.usefixtures("match")
def test_damaged_frame_raises_corrupt_frame(local_url: str) -> None:
    outside(local_url).put("cache/timelines/t/frames/3.jpg", b"damaged")
    with pytest.raises(CorruptFrame):
        opened("framecache://t/frames/3.jpg", local_url)


def test_open_file_system_finds_appended_frames(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    fs = files(local_url)
    assert not fs.exists("t/frames/0.jpg")
    timeline.extract(clips.chunks()[:1])
    assert fs.exists("t/frames/19.jpg")
    assert not fs.exists("t/frames/20.jpg")
    timeline.append(clips.chunks()[1])
    assert fs.exists("t/frames/29.jpg")
    assert len(fs.ls("t/frames")) == 30
    assert len(pd.read_parquet(io.BytesIO(fs.cat_file("t/index.parquet")))) == 30


def test_byte_ranges_of_a_file_are_read(match: Timeline, local_url: str) -> None:
    jpeg = match.jpeg(0)
    fs = files(local_url)
    assert fs.cat_file("t/frames/0.jpg", 2, 10) == jpeg[2:10]
    assert fs.cat_file("t/frames/0.jpg", -10) == jpeg[-10:]
    assert fs.head("t/frames/0.jpg", 4) == jpeg[:4]
    with fs.open("t/frames/0.jpg") as file:
        file.seek(5)
        assert file.read(7) == jpeg[5:12]


@IN_BOTH_LAYOUTS
def test_modified_time_of_file_is_that_of_its_blob(local_url: str, layout: Layout) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.chunks(), layout=layout)
    timeline.overlays(job_id="j", stage="s").save(3, {"o": png_by_pillow(1)})
    last = {
        "t/frames/3.jpg": "",
        "t/index.parquet": "timeline/0",
        "t/overlays/j/s/3_o.png": "3_o.png",
    }
    fs = files(local_url)
    for path, part in last.items():
        key = str(timeline.index.key[3]) if not part else ""
        blobs = [one for one in outside(local_url).list() if (part and part in one) or one == key]
        stored = Path(local_url, blobs[-1]).stat().st_mtime
        assert fs.modified(path).timestamp() == int(stored)
    for path in ("t", "t/frames/45.jpg", "t/overlays/j/s/4_o.png", "nothing/index.parquet"):
        with pytest.raises(FileNotFoundError):
            fs.modified(path)


def test_overlay_has_one_path(match: Timeline, local_url: str) -> None:
    match.overlays(job_id="j", stage="s").save(3, {"o": png_by_pillow(1)})
    fs = files(local_url)
    assert fs.isfile("t/overlays/j/s/3_o.png")
    for call in (fs.cat_file, fs.modified):
        with pytest.raises(FileNotFoundError, match="framecache://t/overlays/j/s/"):
            call("t/overlays/j/s/x%2F3_o.png")


def test_store_that_denies_access_raises_store_permission_denied(locked_folder: Path) -> None:
    fs = files(str(locked_folder / "store"))
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.cat_file, fs.glob):
        with pytest.raises(StorePermissionDenied):
            call("t/frames/0.jpg")


def test_invalid_cache_raises_invalid_value() -> None:
    for call in (files("xx://a").exists, files("xx://a").cat_file):
        with pytest.raises(InvalidValue, match="not supported"):
            call("t/frames/0.jpg")


def test_open_file_has_a_size_and_is_read_only(match: Timeline, local_url: str) -> None:
    jpeg = match.jpeg(0)
    fs = files(local_url)
    assert fs.read_block("t/frames/0.jpg", 10, None) == jpeg[10:]
    with fs.open("t/frames/0.jpg") as file:
        assert not file.writable()
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")


def test_file_system_can_be_pickled(match: Timeline, local_url: str) -> None:
    fs = pickle.loads(pickle.dumps(files(local_url)))
    assert fs.cat_file("t/frames/0.jpg") == match.jpeg(0)


def test_get_downloads_frames(match: Timeline, local_url: str, tmp_path: Path) -> None:
    files(local_url).get("t/frames/*.jpg", f"{tmp_path / 'out'}{os.sep}")
    assert len(list((tmp_path / "out").iterdir())) == 45
    assert (tmp_path / "out" / "7.jpg").read_bytes() == match.jpeg(7)


@IN_BOTH_LAYOUTS
def test_frame_read_of_open_file_system_takes_one_request(local_url: str, layout: Layout) -> None:
    FrameCache(local_url).timeline("t").extract(clips.chunks(), layout=layout)
    fs = files(local_url)
    fs.cat_file("t/frames/0.jpg")
    [cache] = fs._caches.values()  # noqa: SLF001 -- its requests are counted
    store = HookedStore(cache.store)
    fs._timelines[cache.url, "t"] = Timeline(store, "t")  # noqa: SLF001 -- same
    fs.cat_file("t/frames/0.jpg")
    store.requests.clear()
    fs.cat_file("t/frames/5.jpg")
    fs.info("t/frames/6.jpg")
    assert [action for action, _ in store.requests] == ["get"]


# Libraries


def test_pillow_opens_frame_file(match: Timeline, local_url: str) -> None:
    with (
        fsspec.open("framecache://t/frames/12.jpg", "rb", cache=local_url) as file,
        PIL.Image.open(file) as image,
    ):
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - match.frame(12).image).mean() <= 0.5


def test_pandas_polars_and_duckdb_read_the_index(match: Timeline, local_url: str) -> None:
    path = "framecache://t/index.parquet"
    by_pandas = pd.read_parquet(path, storage_options={"cache": local_url})
    with fsspec.open(path, "rb", cache=local_url) as file:
        by_polars = pl.read_parquet(file)
    connection = duckdb.connect()
    connection.register_filesystem(files(local_url))
    by_duckdb = connection.sql(f"select sequence, perceptual_hash from '{path}'").fetchall()
    expected = [*zip(range(45), match.index.perceptual_hash.tolist(), strict=True)]
    assert [*zip(by_pandas["sequence"], by_pandas["perceptual_hash"], strict=True)] == expected
    assert by_polars.select("sequence", "perceptual_hash").rows() == expected
    assert sorted(by_duckdb) == expected


def test_missing_fsspec_error_names_its_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from framecache import MissingPackage\n"
        "try:\n    import framecache.fsspec\n"
        "except MissingPackage as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == ("framecache.fsspec needs fsspec: pip install 'framecache[fsspec]'\n")
