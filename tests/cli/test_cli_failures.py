"""Every bad input: its own exit code, one line on stderr, nothing on stdout, no traceback."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from command_line import DEADLINE_SECONDS, clip, command, other_clip, run, spawn

from framecache import FrameCache, cli, errors
from framecache.cli.failure import code_of
from media import ffmpeg, made


def audio() -> Path:
    return made("cli-audio.wav", lambda path: ffmpeg("-f", "lavfi", "-i", "sine=d=1", str(path)))


def chunk_that_is(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.mp4"
    match kind:
        case "empty":
            path.touch()
        case "text":
            path.write_text("This is not a video.\n" * 100)
        case "truncated":
            path.write_bytes(clip().read_bytes()[:2000])
        case "audio":
            path.write_bytes(audio().read_bytes())
        case "a folder":
            path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "audio", "a folder"])
def test_a_chunk_that_is_no_video(kind: str, local_url: str, tmp_path: Path) -> None:
    chunk = chunk_that_is(kind, tmp_path)
    outcome = run("extract", "walk", chunk, "--cache", local_url)
    assert chunk.name in outcome.failed(5)
    assert outcome.output == b""
    assert FrameCache(local_url).timelines() == []


@pytest.mark.parametrize("timeline_id", ["a/b", "..", "", "é", "a\nb\x1b[2J", "x" * 10_000])
@pytest.mark.parametrize("name", ["extract", "info", "get", "export", "clear", "rm"])
def test_an_id_that_cannot_be_one(name: str, timeline_id: str, local_url: str) -> None:
    more = {"extract": [str(clip())], "get": ["0"], "export": ["out"]}.get(name, [])
    line = run(name, timeline_id, *more, "--cache", local_url).failed(2)
    assert "cannot be used: an id has 1 to 128" in line
    assert len(line) < 300


@pytest.mark.parametrize(
    "options",
    [
        ("--quality", "0"),
        ("--quality", "101"),
        ("--quality", "high"),
        ("--fps", "0"),
        ("--fps", "-1"),
        ("--fps", "nan"),
        ("--fps", "1/0"),
        ("--every", "0"),
        ("--workers", "0"),
        ("--fps", "5", "--keyframes"),
        ("--colour", "red"),
    ],
    ids=" ".join,
)
def test_a_value_out_of_its_range(options: tuple[str, ...], local_url: str) -> None:
    run("extract", "walk", clip(), *options, "--cache", local_url).failed(2)
    assert FrameCache(local_url).timelines() == []


def test_other_settings_than_the_cached_ones(local_url: str) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    line = run("extract", "walk", clip(), "--fps", "10", "--cache", local_url).failed(4)
    assert "5 fps" in line
    assert "10 fps" in line
    assert "rebuild" in line


def test_other_chunks_than_the_cached_ones(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    run("extract", "walk", other_clip(), "--cache", local_url).failed(4)


def test_a_chunk_that_changed(local_url: str, tmp_path: Path) -> None:
    chunk = tmp_path / "chunk.mp4"
    chunk.write_bytes(clip().read_bytes())
    run("extract", "walk", chunk, "--cache", local_url).succeeded()
    chunk.write_bytes(other_clip().read_bytes())
    line = run("extract", "walk", chunk, "--cache", local_url).failed(5)
    assert "changed since it was described" in line


def test_a_chunk_that_is_gone_keeps_a_rebuild_from_starting(local_url: str, tmp_path: Path) -> None:
    chunk = tmp_path / "chunk.mp4"
    chunk.write_bytes(clip().read_bytes())
    run("extract", "walk", chunk, "--cache", local_url).succeeded()
    chunk.unlink()
    run("rebuild", "walk", "--yes", "--cache", local_url).failed(5)
    assert len(FrameCache(local_url).timeline("walk")) == 50


@pytest.mark.parametrize("url", ["ftp://host/media", "s3://", "file://host/folder"])
def test_an_address_of_no_store(url: str) -> None:
    run("ls", "--cache", url).failed(2)


@pytest.mark.parametrize("words", [("ls",), ("info", "walk"), ("extract", "walk", "CLIP")])
def test_a_bucket_that_does_not_exist(words: tuple[str, ...], s3_url: str) -> None:
    clip_or_word = [str(clip()) if word == "CLIP" else word for word in words]
    line = run(*clip_or_word, "--cache", f"{s3_url}-missing").failed(7)
    assert "does not exist" in line


def test_an_endpoint_where_nobody_listens(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        line = run("ls", "--cache", s3_url).failed(7)
    assert "AWS_ENDPOINT_URL" in line


def test_an_endpoint_that_is_no_address(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    run("ls", "--cache", s3_url).failed(2)


@pytest.mark.ceph
def test_credentials_that_the_store_does_not_know(
    ceph_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    run("ls", "--cache", ceph_url).failed(6)


@pytest.mark.parametrize("below", ["", "below"])
def test_a_folder_that_cannot_be_one(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / below
    assert "file" in run("extract", "walk", clip(), "--cache", cache).failed(7)


def test_stored_bytes_that_are_not_those_committed(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    jpeg = Path(local_url, "cache", "timelines", "walk", "frames", "3.jpg")
    jpeg.write_bytes(jpeg.read_bytes()[:-1])
    outcome = run("get", "walk", "3", "-o", "-", "--cache", local_url)
    assert "framecache verify walk --repair" in outcome.failed(8)
    assert outcome.output == b""


def test_every_error_has_a_code_that_the_help_explains() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FrameCacheError)
    ]
    codes = {code_of(kind("")) for kind in kinds}
    assert codes == set(range(1, 10))
    text = run("--help").text
    assert cli.__doc__ is not None
    for code in (0, *codes, 130, 141):
        assert re.search(rf"^ +{code}  \w", text, re.MULTILINE)
        assert re.search(rf"^{code} +\w", cli.__doc__, re.MULTILINE)


@pytest.mark.parametrize("words", [("lss",), ("ls", "--jsn"), ("get",), ("info", "a", "b")])
def test_a_mistyped_command_line_names_the_help(words: tuple[str, ...]) -> None:
    assert "--help" in run(*words).failed(2)


def test_no_command_shows_the_help_and_fails() -> None:
    outcome = run()
    assert (outcome.code, outcome.output) == (2, b"")
    assert outcome.errors.startswith("Usage: framecache")


def test_an_unexpected_error_is_one_line(local_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FrameCache) -> list[str]:
        raise RuntimeError("first\nsecond \x1b[31m")

    monkeypatch.setattr(FrameCache, "timelines", fail)
    line = run("ls", "--cache", local_url).failed(1)
    assert line == r"unexpected RuntimeError: first\nsecond \x1b[31m (--debug shows where)"


@pytest.mark.parametrize("position", ["before", "after"])
def test_debug_shows_the_traceback(local_url: str, position: str) -> None:
    words = ["info", "nothing", "--cache", local_url]
    words.insert(0 if position == "before" else 1, "--debug")
    outcome = run(*words)
    assert outcome.code == 3
    assert "Traceback" in outcome.errors
    assert outcome.errors.splitlines()[-1].startswith("framecache: there is no timeline")


def test_debug_is_also_a_variable(local_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMECACHE_DEBUG", "1")
    assert "Traceback" in run("info", "nothing", "--cache", local_url).errors


def test_a_reader_that_goes_away_is_no_error(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        command("info", "walk", "--cache", local_url), stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        _, text = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, text) == (141, b"")


def test_an_output_that_is_full(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    for words in (("ls",), ("get", "walk", "0", "-o", "-")):
        with Path("/dev/full").open("wb") as full:
            finished = subprocess.run(
                command(*words, "--cache", local_url),
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                text=True,
                timeout=DEADLINE_SECONDS,
            )
        expected = "framecache: cannot write the output: No space left on device\n"
        assert (finished.returncode, finished.stderr) == (1, expected)


def test_closed_streams_are_no_error(local_url: str) -> None:
    for words in (("extract", "walk", clip()), ("ls",)):
        script = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command(*words, "--cache", local_url)]
        finished = subprocess.run(script, stderr=subprocess.PIPE, check=False, text=True)
        assert (finished.returncode, finished.stderr) == (0, "")


def test_failures_look_the_same_in_a_process_of_its_own(local_url: str, tmp_path: Path) -> None:
    chunk = chunk_that_is("text", tmp_path)
    outcome = spawn("extract", "walk", chunk, "--cache", local_url)
    outcome.failed(5)
    assert outcome.output == b""
