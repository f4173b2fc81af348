"""Every bad input: its own exit code, one line on stderr, nothing on stdout, no traceback."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import DEADLINE_SECONDS, clip, command, other_clip, run, spawn

from framecache import FrameCache, cli, errors
from framecache.cli.errors import exit_code_of
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
def test_unreadable_chunk_is_named_and_stores_nothing(
    kind: str, local_url: str, tmp_path: Path
) -> None:
    chunk = chunk_that_is(kind, tmp_path)
    outcome = run("extract", "walk", chunk, "--cache", local_url)
    assert chunk.name in outcome.failed(5)
    assert outcome.output == b""
    assert FrameCache(local_url).timelines() == []


@pytest.mark.parametrize("timeline_id", ["a/b", "..", "", "é", "a\nb\x1b[2J", "x" * 10_000])
@pytest.mark.parametrize("name", ["extract", "info", "get", "export", "clear", "rm"])
def test_invalid_timeline_id_is_refused(name: str, timeline_id: str, local_url: str) -> None:
    more = {"extract": [str(clip())], "get": ["0"], "export": ["out"]}.get(name, [])
    line = run(name, timeline_id, *more, "--cache", local_url).failed(2)
    assert "is not a valid id: an id has 1 to 128" in line
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
def test_option_out_of_range_is_refused(options: tuple[str, ...], local_url: str) -> None:
    run("extract", "walk", clip(), *options, "--cache", local_url).failed(2)
    assert FrameCache(local_url).timelines() == []


def test_extract_with_other_settings_is_a_conflict(local_url: str) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    line = run("extract", "walk", clip(), "--fps", "10", "--cache", local_url).failed(4)
    assert "5 fps" in line
    assert "10 fps" in line
    assert "rebuild" in line


@pytest.mark.parametrize(
    ("options", "way_out"),
    [
        (("--fps", "10"), "rebuild walk --fps 10"),
        ((), "rebuild walk --every 1"),
        (("--fps", "5", "--quality", "40"), "rebuild walk --quality 40"),
        (("--keyframes", "--layout", "packs"), "rebuild walk --keyframes --layout packs"),
        (("--fps", "5", "--layout", "packs"), "repack walk --layout packs"),
    ],
    ids=str,
)
def test_settings_conflict_names_the_command_that_resolves_it(
    options: tuple[str, ...], way_out: str, local_url: str
) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    words = ["extract", "walk", str(clip()), *options, "--cache", local_url]
    line = run(*words).failed(4)
    _, _, resolving = line.rpartition(": framecache ")
    assert resolving == f"{way_out} --cache {local_url}"
    yes = [] if resolving.startswith("repack") else ["--yes"]
    assert line.count("framecache") == 1 + local_url.count("framecache")
    run(*resolving.split(), *yes).succeeded()
    run(*words).succeeded()


def test_chunk_conflict_names_the_command_that_resolves_it(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    words = ("extract", "walk", other_clip(), "--cache", local_url)
    line = run(*words).failed(4)
    _, _, resolving = line.rpartition(": framecache ")
    run(*resolving.split(), "--yes").succeeded()
    run(*words).succeeded()


def test_extract_with_other_chunks_is_a_conflict(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    run("extract", "walk", other_clip(), "--cache", local_url).failed(4)


def test_changed_chunk_is_refused(local_url: str, tmp_path: Path) -> None:
    chunk = tmp_path / "chunk.mp4"
    chunk.write_bytes(clip().read_bytes())
    run("extract", "walk", chunk, "--cache", local_url).succeeded()
    chunk.write_bytes(other_clip().read_bytes())
    line = run("extract", "walk", chunk, "--cache", local_url).failed(5)
    assert "changed since it was extracted" in line


def test_rebuild_with_missing_chunk_keeps_the_frames(local_url: str, tmp_path: Path) -> None:
    chunk = tmp_path / "chunk.mp4"
    chunk.write_bytes(clip().read_bytes())
    run("extract", "walk", chunk, "--cache", local_url).succeeded()
    chunk.unlink()
    run("rebuild", "walk", "--yes", "--cache", local_url).failed(5)
    assert len(FrameCache(local_url).timeline("walk")) == 50


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/media", "s3://", "file://host/folder", "s3:/foo", "s3//foo", "s3;//foo"),
        *(" s3://foo", "S 3://foo"),
    ],
)
def test_invalid_store_url_is_refused_and_creates_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = run("ls", "--cache", url).failed(2)
    assert repr(url) in line
    assert line.endswith(".")
    assert not list(tmp_path.iterdir())


def test_path_that_resembles_url_is_suggested_quoted_for_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = run("ls", "--cache", r"s3:\here there").failed(2)
    *_, path = shlex.split(line.partition("if it is a local path, ")[2])
    assert path == r"./s3:\here there."


@pytest.mark.parametrize("words", [("ls",), ("info", "walk"), ("extract", "walk", "CLIP")])
def test_missing_bucket_is_reported(words: tuple[str, ...], s3_url: str) -> None:
    clip_or_word = [str(clip()) if word == "CLIP" else word for word in words]
    line = run(*clip_or_word, "--cache", f"{s3_url}-missing").failed(7)
    assert "does not exist" in line


def test_unreachable_endpoint_is_named_with_its_variable(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        line = run("ls", "--cache", s3_url).failed(7)
    assert "AWS_ENDPOINT_URL" in line
    assert f"(endpoint {endpoint}, region us-east-1)" in line


def test_invalid_endpoint_is_refused(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    run("ls", "--cache", s3_url).failed(2)


@pytest.mark.ceph
def test_unknown_credentials_are_denied(ceph_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    run("ls", "--cache", ceph_url).failed(6)


@pytest.mark.parametrize("below", ["", "below"])
def test_cache_below_a_file_is_unavailable(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / below
    assert "file" in run("extract", "walk", clip(), "--cache", cache).failed(7)


def test_damaged_stored_frame_names_the_repair_command(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    jpeg = Path(local_url, "cache", "timelines", "walk", "frames", "3.jpg")
    jpeg.write_bytes(jpeg.read_bytes()[:-1])
    outcome = run("get", "walk", "3", "-o", "-", "--cache", local_url)
    assert outcome.failed(8).endswith(f": framecache verify walk --repair --cache {local_url}")
    assert outcome.output == b""


def test_every_error_message_is_a_sentence_or_ends_in_a_command(
    local_url: str, tmp_path: Path
) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    messages = [
        run("extract", "walk", tmp_path / "nowhere.mp4", "--cache", tmp_path / "new").failed(5),
        run("get", "walk", "99", "-o", "-", "--cache", local_url).failed(3),
        run("rm", "walk", "--cache", local_url).failed(2),
        run("export", "walk", local_url, "--cache", local_url).failed(2),
    ]
    assert [line for line in messages if not line.endswith(".")] == []
    line = run("info", "nothing", "--cache", local_url).failed(3)
    assert line.endswith(f"see framecache ls --cache {local_url}")


def test_every_error_has_an_exit_code_that_help_explains() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FrameCacheError)
    ]
    codes = {exit_code_of(kind("")) for kind in kinds}
    assert codes == set(range(1, 10))
    text = run("--help").text
    assert cli.__doc__ is not None
    for code in (0, *codes, 130, 141):
        assert re.search(rf"^ +{code}  \w", text, re.MULTILINE)
        assert re.search(rf"^{code} +\w", cli.__doc__, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "meant"), [("lss", "ls"), ("extrct", "extract"), ("delete", "rm"), ("list", "ls")]
)
def test_mistyped_command_gets_a_suggestion(name: str, meant: str) -> None:
    line = run(name).failed(2)
    assert line == f"No such command '{name}'. Did you mean {meant}? Try: framecache --help"


@pytest.mark.parametrize("name", ["info", "get", "export", "verify", "clear", "rm", "rebuild"])
def test_mistyped_timeline_gets_a_suggestion(name: str, local_url: str, tmp_path: Path) -> None:
    FrameCache(local_url).store.put("cache/timelines/match-42/frames/0.jpg", b"")
    more = {"get": ["0"], "export": [str(tmp_path / "out")]}.get(name, [])
    line = run(name, "mach-42", *more, "--cache", local_url).failed(3)
    assert "Did you mean match-42?" in line
    if ": framecache " in line or "see framecache " in line:
        assert run(*shlex.split(line.rpartition("framecache ")[2])).code == 0
    else:
        assert line.endswith(". Did you mean match-42?")


def test_command_named_by_library_error_uses_the_same_cache(local_url: str) -> None:
    walk = FrameCache(local_url).timeline("walk")
    walk.extract(clip())
    (part,) = (Path(local_url) / "cache/timelines/walk/index").rglob("*-0.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    for compaction in Path(local_url).rglob("*.compacted"):
        compaction.unlink()
    line = run("get", "walk", "0", "--cache", local_url).failed(8)
    (named,) = re.findall(r"'framecache ([^']+)'", line)
    assert f" --cache {local_url}" in named
    run(*named.split()).succeeded()
    assert len(FrameCache(local_url).timeline("walk")) == 50


@pytest.mark.parametrize("words", [("c0.mp4", "c1.mp4"), ("C0.MKV", "c1.mp4"), ("c0.mp4",)])
def test_video_in_place_of_timeline_id_is_refused(
    words: tuple[str, ...], local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in words:
        Path(name).write_bytes(clip().read_bytes())
    line = run("extract", *words, "--cache", local_url).failed(2)
    assert line.endswith(f"framecache extract my-video {' '.join(words)} --cache {local_url}")
    assert FrameCache(local_url).timelines() == []


def test_cache_origin_is_printed_unless_given_as_option(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    notice = f"framecache: The cache is file://{local_url} (from $FRAMECACHE_URL).\n"
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    assert run("info", "walk").errors == notice
    assert run("info", "walk", "-q").errors == ""
    assert run("-q", "info", "walk").errors == ""
    monkeypatch.delenv("FRAMECACHE_URL")
    monkeypatch.setenv("S3_BUCKET", "two words")
    assert "'s3://two words' has no valid bucket name" in run("ls").failed(2)


@pytest.mark.parametrize(
    ("words", "helping"),
    [
        (("lss",), "framecache --help"),
        (("--cache",), "framecache --help"),
        (("ls", "--jsn"), "framecache ls --help"),
        (("get",), "framecache get --help"),
        (("repack", "a", "b"), "framecache repack --help"),
        (("export", "walk", "out", "--with-overlays"), "framecache export --help"),
        (("overlays", "rm", "walk", "--cache"), "framecache overlays rm --help"),
    ],
)
def test_mistyped_command_line_names_the_help(words: tuple[str, ...], helping: str) -> None:
    assert run(*words).failed(2).endswith(f"Try: {helping}")


def test_extract_without_a_video_names_the_help(local_url: str) -> None:
    line = run("extract", "walk", "--cache", local_url).failed(2)
    assert line.startswith("Name at least one video")
    assert line.endswith("Try: framecache extract --help")


def test_missing_command_shows_the_help_and_fails() -> None:
    outcome = run()
    assert (outcome.code, outcome.output) == (2, b"")
    assert outcome.errors.startswith("Usage: framecache")


def test_unexpected_error_is_one_line(local_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FrameCache) -> list[str]:
        raise RuntimeError("first\nsecond \x1b[31m")

    monkeypatch.setattr(FrameCache, "timelines", fail)
    line = run("ls", "--cache", local_url).failed(1)
    assert line == r"Unexpected RuntimeError: first\nsecond \x1b[31m (--debug shows where)."


@pytest.mark.parametrize("position", ["before", "after"])
def test_debug_shows_the_traceback(local_url: str, position: str) -> None:
    words = ["info", "nothing", "--cache", local_url]
    words.insert(0 if position == "before" else 1, "--debug")
    outcome = run(*words)
    assert outcome.code == 3
    assert "Traceback" in outcome.errors
    assert outcome.errors.splitlines()[-1].startswith("framecache: There is no timeline")


def test_debug_variable_shows_the_traceback(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_DEBUG", "1")
    assert "Traceback" in run("info", "nothing", "--cache", local_url).errors


def test_closed_output_pipe_is_not_reported(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        command("info", "walk", "--cache", local_url), stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        _, text = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, text) == (141, b"")


def test_full_output_device_is_reported(local_url: str) -> None:
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
        expected = "framecache: Cannot write the output: No space left on device.\n"
        assert (finished.returncode, finished.stderr) == (1, expected)


def test_closed_standard_streams_are_not_an_error(local_url: str) -> None:
    for words in (("extract", "walk", clip()), ("ls",)):
        script = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command(*words, "--cache", local_url)]
        finished = subprocess.run(script, stderr=subprocess.PIPE, check=False, text=True)
        assert (finished.returncode, finished.stderr) == (0, "")


def test_failure_in_own_process_exits_with_one_line(local_url: str, tmp_path: Path) -> None:
    chunk = chunk_that_is("text", tmp_path)
    outcome = spawn("extract", "walk", chunk, "--cache", local_url)
    outcome.failed(5)
    assert outcome.output == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "t", "c.mp4"),
        ("extract", "t", "c.mp4", "--dry-run"),
        ("rebuild", "t", "--yes"),
        ("verify", "t", "--deep"),
        ("verify", "t", "--repair"),
        ("export", "t", "out.mp4"),
        ("export", "t", "out", "--with-overlays", "j"),
    ],
    ids=" ".join,
)
def test_command_that_needs_missing_package_names_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for module in ("av", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    message = run(*arguments, "--cache", "memory://").failed(1)
    assert message.endswith(": pip install 'framecache[extract]'")
