"""Frames as tables: in DuckDB, read from the store, and as pandas, Polars and Arrow objects."""

import importlib
import sys
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import clips
import duckdb
import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from framecache import Frame, FrameCache, Index, InvalidId, InvalidValue, MissingPackage, NotCached
from framecache.errors import CorruptFrame

_NUMBERS = count()
FRAMES = 45
WRITTEN = 17
"""Batches, one more than there may be parts next to a compaction."""
FILLED = 3 * FRAMES // 5 + WRITTEN
GLOBS = ["cache/timelines/*/index/*/*.parquet", "cache/**/*.parquet", "**/*.parquet"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a store"


@pytest.fixture
def cache(folder: Path) -> FrameCache:
    return FrameCache(folder)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of timelines in every layout, all of them compacted."""
    folder = tmp_path_factory.mktemp("filled")
    cache = FrameCache(folder)
    cache.timeline("objects").extract(clips.chunks(), every=5)
    cache.timeline("packs").extract(clips.chunks(), every=5, layout="packs")
    grown = cache.timeline("grown")
    grown.extract(clips.chunks()[:2], every=5)
    grown.append(clips.chunks()[2])
    for sequence in range(WRITTEN):
        cache.timeline("written").write([frame(sequence)])
    return folder


def frame(sequence: int, shade: int = 90) -> Frame:
    image = np.full((36, 64, 3), shade, np.uint8)
    return Frame(sequence, 0, sequence / 25, image)


def queried(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return rows


def counted(pattern: str) -> tuple[int, int]:
    """Return the numbers of rows and of frames that DuckDB reads."""
    [(rows, frames)] = queried(
        "select count(*), count(distinct (split_part(filename, '/index/', 1), sequence)) "
        f"from read_parquet('{pattern}', filename = true)"
    )
    return rows, frames


# A pattern over the store


@pytest.mark.parametrize("glob", GLOBS)
def test_glob_over_store_counts_each_frame_once(filled: Path, glob: str) -> None:
    compacted = {path.parents[2].name for path in filled.rglob("*.compacted")}
    assert compacted == {"objects", "packs", "grown", "written"}
    assert counted(f"{filled}/{glob}") == (FILLED, FILLED)


def test_glob_counts_each_frame_once_after_rebuild_and_gc(cache: FrameCache, folder: Path) -> None:
    match = cache.timeline("match")
    match.extract(clips.chunks())
    match.rebuild(every=2)
    match.append(clips.clip())
    cache.plan_gc(grace_seconds=0).execute()
    expected = len(match.index)
    assert counted(f"{folder}/{GLOBS[0]}") == (expected, expected)


def test_index_folder_read_by_arrow_has_each_frame_once(cache: FrameCache, folder: Path) -> None:
    cache.timeline("match").extract(clips.chunks())
    index = folder / "cache/timelines/match/index"
    assert ds.dataset(index, format="parquet").count_rows() == FRAMES


# The table of current rows


def test_table_has_id_url_and_location_of_each_frame(cache: FrameCache) -> None:
    cache.timeline("objects").extract(clips.chunks())
    cache.timeline("packs").extract(clips.chunks(), layout="packs")
    table = cache.frames_table()
    assert table.column_names == ["timeline_id", "url", *Index.empty().to_arrow().column_names]
    assert table["timeline_id"].to_pylist() == ["objects"] * FRAMES + ["packs"] * FRAMES
    for row in table.take([0, 44, 45, 70, 89]).to_pylist():
        with urlopen(row["url"]) as blob:
            stored = blob.read()
        jpeg = stored[row["offset"] : row["offset"] + row["size"]]
        assert jpeg == cache.timeline(row["timeline_id"]).jpeg(row["sequence"])


def test_duckdb_finds_same_near_duplicates_as_imagehash(cache: FrameCache) -> None:
    cache.timeline("a").extract(clips.chunks())
    cache.timeline("b").extract(clips.clip(), every=2)
    connection = duckdb.connect()
    connection.register("frames", cache.frames_table())
    found = connection.execute("""
        select a.sequence, b.sequence from frames a join frames b
          on a.timeline_id = 'a' and b.timeline_id = 'b' and bit_count(xor(
            ('0x' || a.perceptual_hash)::ubigint, ('0x' || b.perceptual_hash)::ubigint)) <= 4
    """).fetchall()
    first, second = (
        {
            sequence: imagehash.hex_to_hash(text)
            for sequence, text in enumerate(cache.timeline(name).index.perceptual_hash)
        }
        for name in "ab"
    )
    expected = {
        (m, n) for m, one in first.items() for n, other in second.items() if one - other <= 4
    }
    assert set(found) == expected
    assert {(2 * n, n) for n in second} <= expected
    assert len(expected) < len(first) * len(second)


def test_table_has_only_current_rows(cache: FrameCache) -> None:
    replaced = cache.timeline("replaced")
    replaced.write([frame(n) for n in range(10)])
    replaced.write([frame(n, shade=200) for n in range(3)], on_conflict="replace")
    cache.timeline("rebuilt").extract(clips.chunks())
    cache.timeline("rebuilt").rebuild(every=5)
    cache.timeline("repacked").extract(clips.chunks())
    cache.timeline("repacked").repack("packs")
    cache.timeline("cleared").extract(clips.chunks())
    cache.timeline("cleared").clear()
    frames = cache.frames_table()
    counts = (
        "select timeline_id, count(*), count(distinct sequence) from frames group by 1 order by 1"
    )
    with duckdb.connect() as connection:
        connection.register("frames", frames)
        assert connection.execute(counts).fetchall() == [
            ("rebuilt", 9, 9),
            ("repacked", FRAMES, FRAMES),
            ("replaced", 10, 10),
        ]
    crcs = {row["crc32c"] for row in frames.to_pylist() if row["timeline_id"] == "replaced"}
    assert crcs == set(replaced.index.crc32c.tolist())


def test_table_has_each_named_timeline_once(cache: FrameCache) -> None:
    for name in ("a", "b", "c"):
        cache.timeline(name).write([frame(0)])
    assert cache.frames_table(["c", "a", "c"])["timeline_id"].to_pylist() == ["a", "c"]
    assert len(cache.frames_table([])) == 0


def test_foreign_frames_are_in_table(cache: FrameCache) -> None:
    cache.store.put("cache/timelines/theirs/frames/7.jpg", b"jpeg")
    [row] = cache.frames_table().to_pylist()
    assert (row["timeline_id"], row["sequence"], row["size"]) == ("theirs", 7, 4)


def test_undecodable_frame_has_no_url(cache: FrameCache) -> None:
    cache.timeline("t").extract(clips.ends_in_garbage())
    states = {(row["status"], row["url"] is None) for row in cache.frames_table().to_pylist()}
    assert states == {("ok", False), ("undecodable", True)}


def test_table_of_empty_store_has_all_columns(cache: FrameCache) -> None:
    table = cache.frames_table()
    assert len(table) == 0
    assert table.schema.field("timestamp").type == pa.float64()
    assert {"timeline_id", "url", "key"} <= set(table.column_names)


def test_unknown_or_invalid_timeline_id_is_rejected(cache: FrameCache) -> None:
    cache.timeline("a").write([frame(0)])
    with pytest.raises(NotCached, match="no timeline b "):
        cache.frames_table(["a", "b"])
    with pytest.raises(InvalidId):
        cache.frames_table(["a/b"])


@pytest.mark.parametrize("given", ["a", b"a", 5, 0.5])
def test_timelines_argument_that_is_not_a_list_is_rejected(
    cache: FrameCache, given: list[str]
) -> None:
    with pytest.raises(InvalidValue, match="give a list"):
        cache.frames_table(given)
    with pytest.raises(InvalidValue, match="give a list"):
        cache.plan_gc(timelines=given)


def test_damaged_index_raises_corrupt_frame(cache: FrameCache, folder: Path) -> None:
    cache.timeline("a").write([frame(0)])
    [part] = folder.rglob("*.parquet")
    part.write_bytes(b"")
    with pytest.raises(CorruptFrame, match="verify a "):
        cache.frames_table()


# Tables of one timeline


def test_to_pandas_has_all_columns_with_types(cache: FrameCache) -> None:
    pandas = importlib.import_module("pandas")
    cache.timeline("t").extract(clips.chunks())
    index = cache.timeline("t").index
    table = index.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.columns.tolist() == index.to_arrow().column_names
    assert np.array_equal(table["timestamp"], index.timestamp)
    assert table["perceptual_hash"].tolist() == index.perceptual_hash.tolist()
    assert table.dtypes["crc32c"] == np.uint32


def test_to_polars_has_all_columns_with_types(cache: FrameCache) -> None:
    polars = importlib.import_module("polars")
    cache.timeline("t").extract(clips.chunks())
    index = cache.timeline("t").index
    table = index.to_polars()
    assert isinstance(table, polars.DataFrame)
    assert table.columns == index.to_arrow().column_names
    assert table["timestamp"].to_list() == index.timestamp.tolist()
    assert table["key"].to_list() == index.key.tolist()
    assert table.schema["crc32c"] == polars.UInt32


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    convert = getattr(Index.empty(), f"to_{package}")
    with pytest.raises(MissingPackage, match=f"Index.to_{package} needs {package}: pip install"):
        convert()
