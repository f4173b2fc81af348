"""Unusual file names, including bytes that are not valid text.

The bytes of a name open a file: ``open(os.fsencode(path))`` shows which are right.
"""

import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote_to_bytes

import clips
import numpy as np
import pytest

from framecache import Chunk, FrameCache, InvalidValue, UnreadableChunk
from framecache.store import normalized_url, open_store, path_of_url, url_of_path

LATIN = os.fsdecode(b"caf\xe9.mp4")
NAMES = [
    *("with space.mp4", "100%.mp4", "a%20b.mp4", "a#b.mp4", "a?b.mp4", "a+b.mp4", "a&b=c;d.mp4"),
    *("2024-01-02 03:04:05.mp4", "caf\xe9.mp4", unicodedata.normalize("NFD", "caf\xe9.mp4")),
    *("C:\\clips\\a.mp4", "'quote'\".mp4", "a\nb.mp4", "tab\t.mp4", "-rf.mp4", "~home.mp4"),
    *("trailing .mp4 ", "a*b[1].mp4", "http:x.mp4", ".hidden", "a..b.mp4", "{x}.mp4", LATIN),
    os.fsdecode(b"\xff\xfe\x80"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("given", ["text", "bytes", "path", "relative", "url"])
def test_chunk_of_any_name_is_extracted_and_resolved_again(
    memory_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    path = tmp_path / name
    shutil.copyfile(clips.chunks()[1], path)
    monkeypatch.chdir(tmp_path)
    forms: dict[str, str | bytes | Path] = {
        "text": str(path),
        "bytes": os.fsencode(path),
        "path": path,
        "relative": name,
        "url": url_of_path(str(path)),
    }
    chunk = forms[given]
    t = FrameCache(memory_url).timeline("t")
    t.extract(chunk)
    url = t.info().chunks[0].url
    assert url.isascii()
    assert unquote_to_bytes(url.removeprefix("file://")) == os.fsencode(path)
    assert t.extract([chunk]).chunks_cached == 1
    assert t.rebuild(every=2).frame_count == 5
    assert t.verify(deep=True).counts["ok"] == 5


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_url_of_path_converts_back_to_path(name: str) -> None:
    assert path_of_url(url_of_path(f"/a/{name}")) == f"/a/{name}"
    assert normalized_url(url_of_path(f"/a/{name}")) == url_of_path(f"/a/{name}")


@pytest.mark.parametrize("layout", ["objects", "packs"])
@pytest.mark.parametrize("given", [str, os.fsencode, Path])
def test_cache_works_in_folder_with_undecodable_name(
    tmp_path: Path, layout: str, given: type
) -> None:
    folder = str(tmp_path / os.fsdecode(b"d\xe9") / "cache")
    t = FrameCache(given(folder)).timeline("t")
    t.extract(clips.chunks(), layout=layout)  # type: ignore[arg-type]
    assert [one.sequence for one in FrameCache(given(folder)).timeline("t").frames()] == [
        *range(45)
    ]
    t.overlays(job_id="j", stage="s").save(3, {"a": np.zeros((64, 96), np.uint8)})
    assert t.overlays(job_id="j", stage="s").frames() == [3]
    t.repack("packs" if layout == "objects" else "objects")
    assert t.verify(deep=True).counts["ok"] == 45
    assert len(t.sprites().sheet(0)) > 0
    FrameCache(given(folder)).plan_gc(grace_seconds=0).execute()
    assert t.verify().counts["ok"] == 45
    t.delete()
    assert list(open_store(folder).list("cache/timelines")) == []


def test_second_create_of_blob_in_undecodable_folder_raises_blob_exists(tmp_path: Path) -> None:
    store = open_store(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    store.create("a/b", b"first")
    with pytest.raises(Exception, match="a/b") as raised:
        store.create("a/b", b"second")
    assert type(raised.value).__name__ == "BlobExists"
    assert store.get("a/b") == b"first"
    assert [blob.key for blob in store.list("")] == ["a/b"]


def test_missing_chunk_with_undecodable_name_is_rejected(memory_url: str, tmp_path: Path) -> None:
    for chunk in (tmp_path / LATIN, os.fsencode(tmp_path / LATIN), Chunk(str(tmp_path / LATIN))):
        with pytest.raises(UnreadableChunk, match="no such file"):
            FrameCache(memory_url).timeline("t").extract(chunk)


@pytest.mark.parametrize(
    "url",
    ["/a\ud800b", "file:///a%00b", "s3://media/\udce9", "memory://\udce9", "gs://\udce9/a"],
    ids=ascii,
)
def test_url_that_is_neither_file_nor_key_is_rejected(memory_url: str, url: str) -> None:
    with pytest.raises(InvalidValue):
        FrameCache(memory_url).timeline("t").extract(url)
    with pytest.raises(InvalidValue):
        FrameCache(url)


@pytest.mark.parametrize("key", ["a//b", "/a", "a/./b", "a/../b", "a/", "a\tb", "a\nb", "a\x7f"])
def test_ambiguous_key_is_rejected_as_chunk(memory_url: str, key: str) -> None:
    open_store(memory_url).put("a", clips.chunks()[0].read_bytes())
    with pytest.raises(InvalidValue):
        FrameCache(memory_url).timeline("t").extract(f"{memory_url}/{key}")


def test_commands_accept_and_show_undecodable_names(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/d\xe9"
    os.mkdir(folder)  # noqa: PTH102 -- its name is bytes
    shutil.copyfile(os.fsencode(clips.clip()), folder + b"/a.mp4")

    def run(*words: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [os.fsencode(sys.executable), b"-m", b"framecache", *words]
        return subprocess.run(
            [*command, b"--cache", folder + b"/cache"], check=False, capture_output=True
        )

    for words in (
        (b"extract", b"t", folder + b"/a.mp4"),
        (b"ls",),
        (b"ls", b"--json"),
        (b"info", b"t"),
        (b"info", b"t", b"--json"),
        (b"get", b"t", b"--at", b"0:00.40", b"-o", folder + b"/one.jpg"),
        (b"export", b"t", folder + b"/all", b"--json"),
        (b"verify", b"t"),
        (b"rebuild", b"t", b"--yes"),
        (b"gc",),
        (b"rm", b"t", b"--yes"),
    ):
        ended = run(*words)
        assert (ended.returncode, ended.stderr) == (0, b"")
        ended.stdout.decode()
    exported = Path(os.fsdecode(folder + b"/all"), "000010.jpg").read_bytes()
    assert Path(os.fsdecode(folder + b"/one.jpg")).read_bytes() == exported
    failed = run(b"extract", b"t", folder + b"/none.mp4")
    assert failed.returncode == 5
    assert b"d\\udce9/none.mp4: there is no such file" in failed.stderr
    assert b"file://" in run(b"ls").stderr  # a hint that can be pasted
