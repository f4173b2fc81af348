"""``framecache extract --from``: timelines that a CSV file lists."""

from pathlib import Path

import clips
import pytest
from command_line import run

from framecache import FrameCache

CHUNKS = 3


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def listed(folder: Path, *lines: str, header: str = "timeline_id,chunk") -> Path:
    """A CSV file of these lines."""
    path = folder / "timelines.csv"
    path.write_text("\n".join([header, *lines, ""]))
    return path


def test_each_timeline_of_the_file_is_extracted(tmp_path: Path, cache: Path) -> None:
    rows = [f"a,{chunk}" for chunk in clips.chunks()] + [f"b, {clips.clip()}"]
    path = listed(tmp_path, *rows)
    shown = run("extract", "--from", path, "--every", "5", "--cache", cache).succeeded()
    first, second = shown.text.splitlines()
    assert first.startswith("a: 9 frames extracted in ")
    assert second.startswith("b: 9 frames extracted in ")
    assert FrameCache(cache).timeline("a").info().chunks_cached == CHUNKS
    again = run("extract", "--from", path, "--every", "5", "--cache", cache).succeeded()
    assert again.text.splitlines()[0] == "a: already cached, nothing to do"


def test_a_start_of_the_file_places_the_chunk(tmp_path: Path, cache: Path) -> None:
    first, second, _ = clips.chunks()
    header = "chunk,start_seconds,timeline_id"
    path = listed(tmp_path, f"{first},,a", f'"{second}",0:05,a', header=header)
    run("extract", "--from", path, "--cache", cache).succeeded()
    assert FrameCache(cache).timeline("a").index.timestamp[20] == 5.0


def test_trim_of_the_file_takes_a_part_of_the_chunk(tmp_path: Path, cache: Path) -> None:
    header = "timeline_id,chunk,trim_start,trim_stop"
    path = listed(tmp_path, f"a,{clips.clip()},0.4,0:00.8", header=header)
    run("extract", "--from", path, "--cache", cache).succeeded()
    assert len(FrameCache(cache).timeline("a").index) == 10


def test_the_others_are_extracted_if_a_timeline_fails(tmp_path: Path, cache: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    path = listed(tmp_path, f"bad,{broken}", f"good,{clips.clip()}")
    outcome = run("extract", "--from", path, "--json", "--cache", cache)
    assert "1 of 2 timelines could not be extracted: bad: " in outcome.failed(5)
    (good,) = outcome.document["timelines"]
    assert (good["timeline_id"], good["frames_extracted"]) == ("good", 45)
    (bad,) = outcome.document["failed"]
    assert (bad["timeline_id"], bad["error"]) == ("bad", "UnreadableChunk")


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("timeline_id,chunk,fps\na,b,5\n", 2, "has unknown column 'fps'"),
        ("timeline_id\na\n", 2, "has no column 'chunk'"),
        ("timeline_id,chunk,chunk\na,b,c\n", 2, "has several times the column 'chunk'"),
        ("", 2, "has no column 'timeline_id'"),
        ("timeline_id,chunk\n", 2, "has no rows"),
        ("timeline_id,chunk\na,CLIP,5\n", 2, "line 2 has not as many fields"),
        ("timeline_id,chunk\na\n", 2, "line 2 has not as many fields"),
        ("timeline_id,chunk\na,\n", 2, "line 2 names no chunk"),
        ("timeline_id,chunk\na/b,CLIP\n", 2, "line 2: "),
        ("timeline_id,chunk\na,CLIP\nb,CLIP\na,CLIP\n", 2, "line 4: timeline a begins again"),
        ("timeline_id,chunk\na,CLIP\nb,none.mp4\n", 5, "line 3: there is no file none.mp4"),
        ("timeline_id,chunk\na,ftp://x/y\n", 2, "line 2: "),
        ('timeline_id,chunk\na,"CLIP\n', 2, "is not a CSV file in UTF-8"),
        ("timeline_id,chunk\na,\xff", 2, "is not a CSV file in UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_stored(
    tmp_path: Path, cache: Path, content: str, code: int, message: str
) -> None:
    path = tmp_path / "timelines.csv"
    path.write_bytes(content.replace("CLIP", str(clips.clip())).encode("latin-1"))
    told = run("extract", "--from", path, "--cache", cache).failed(code)
    assert message in told
    assert not cache.exists()


def test_a_missing_file_is_named(tmp_path: Path, cache: Path) -> None:
    told = run("extract", "--from", tmp_path / "none.csv", "--cache", cache).failed(2)
    assert told.endswith("none.csv cannot be read: No such file or directory.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["match", "clip.mp4"], "--from names the timelines: omit TIMELINE and CHUNK."),
        (["--append"], "--append is for one timeline that this process extracts."),
        (["--dry-run"], "--dry-run is for one timeline that this process extracts."),
        (["--address", "host:6379"], "--address is for --engine ray."),
    ],
)
def test_options_that_contradict_the_file_are_refused(
    tmp_path: Path, options: list[str], message: str
) -> None:
    path = listed(tmp_path, f"a,{clips.clip()}")
    told = run("extract", "--from", path, *options, "--cache", tmp_path / "cache").failed(2)
    assert told.startswith(message)


def test_a_command_without_timeline_or_file_says_so(tmp_path: Path) -> None:
    assert run("extract", "--cache", tmp_path).failed(2).startswith("Missing argument 'TIMELINE'.")
