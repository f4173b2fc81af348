from pathlib import Path

import pytest
from command_line import Terminal, clip, run

from framecache import FrameCache, Timeline


@pytest.fixture
def walk(local_url: str) -> Timeline:
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract(clip())
    return timeline


def test_get_saves_the_stored_bytes(
    walk: Timeline, local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = run("get", "walk", "7", "--cache", local_url).succeeded().text
    assert text.startswith("walk-7.jpg: frame 7 at 0:00.280, ")
    assert Path("walk-7.jpg").read_bytes() == walk.jpeg(7)


def test_get_by_time_saves_that_frame(walk: Timeline, local_url: str, tmp_path: Path) -> None:
    file = tmp_path / "frame.jpg"
    run("get", "walk", "--at", "1.99", "-o", file, "--cache", local_url).succeeded()
    assert file.read_bytes() == walk.jpeg(49)


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001"])
def test_printed_time_finds_its_frame(local_url: str, tmp_path: Path, rate: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clip(rate=rate))
    file = tmp_path / "frame.jpg"
    for sequence in range(0, 50, 7):
        words = ("-o", file, "--force", "--cache", local_url)
        line = run("get", "t", str(sequence), *words).succeeded().text
        printed = line.partition(" at ")[2].partition(",")[0]
        again = run("get", "t", "--at", printed, *words).succeeded().text
        assert f": frame {sequence} at {printed}," in again


@pytest.mark.parametrize("time", ["1.4", "1.40s", "0:01.4", "0:00:01.40", "1.4 s", " 1.4"])
def test_every_time_format_is_accepted(
    walk: Timeline, local_url: str, tmp_path: Path, time: str
) -> None:
    run("get", "walk", "--at", time, "-o", tmp_path / "one.jpg", "--cache", local_url).succeeded()
    assert (tmp_path / "one.jpg").read_bytes() == walk.jpeg(35)
    words = ("--start-seconds", time, "--stop-seconds", "0:01.60", "--cache", local_url)
    run("export", "walk", tmp_path / "some", *words).succeeded()
    names = {path.name for path in (tmp_path / "some").iterdir()}
    assert names == {*(f"{n:06d}.jpg" for n in range(35, 40)), "frames.csv"}


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("time", ["", "x", "1:75", "nan", "1e999"])
def test_invalid_time_is_refused_with_an_example(local_url: str, tmp_path: Path, time: str) -> None:
    line = run("get", "walk", "--at", time, "-o", "-", "--cache", local_url).failed(2)
    assert "a string such as 62.5, 62.5s or 1:02.5" in line
    run("export", "walk", tmp_path, "--start-seconds", time, "--cache", local_url).failed(2)


def test_get_writes_only_the_jpeg_to_stdout(walk: Timeline, local_url: str) -> None:
    outcome = run("get", "walk", "0", "-o", "-", "--cache", local_url).succeeded()
    assert outcome.output == walk.jpeg(0)


def test_get_refuses_to_write_a_jpeg_to_a_terminal(walk: Timeline, local_url: str) -> None:
    with Terminal(["get", walk.timeline_id, "0", "-o", "-", "--cache", local_url]) as terminal:
        code, shown = terminal.end()
    assert code == 2
    assert "framecache: Refusing to write binary data to a terminal" in shown


def test_get_into_a_folder_names_the_file(walk: Timeline, local_url: str, tmp_path: Path) -> None:
    run("get", "walk", "0", "-o", tmp_path, "--cache", local_url).succeeded()
    assert (tmp_path / "walk-0.jpg").read_bytes() == walk.jpeg(0)


@pytest.mark.usefixtures("walk")
def test_get_needs_force_to_replace_a_file(local_url: str, tmp_path: Path) -> None:
    file = tmp_path / "precious.jpg"
    file.write_bytes(b"precious")
    words = ("get", "walk", "0", "-o", file, "--cache", local_url)
    assert "--force" in run(*words).failed(2)
    assert file.read_bytes() == b"precious"
    run(*words, "--force").succeeded()
    assert file.read_bytes() != b"precious"


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("which", [(), ("0", "--at", "0")], ids=["none", "both"])
def test_get_needs_either_sequence_or_time(local_url: str, which: tuple[str, ...]) -> None:
    line = run("get", "walk", *which, "-o", "-", "--cache", local_url).failed(2)
    assert "SEQ or --at" in line


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("which", [("50",), ("--at", "2.0")])
def test_get_of_unknown_frame_is_not_cached(local_url: str, which: tuple[str, ...]) -> None:
    line = run("get", "walk", *which, "-o", "-", "--cache", local_url).failed(3)
    assert "it has 50 frames, 0 to 49" in line


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("which", [("-1",), ("--at", "nan")])
def test_get_of_invalid_sequence_or_time_is_refused(local_url: str, which: tuple[str, ...]) -> None:
    run("get", *which, "walk", "-o", "-", "--cache", local_url).failed(2)


@pytest.mark.usefixtures("walk")
def test_get_to_unwritable_path_is_reported(local_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "frame.jpg"
    line = run("get", "walk", "0", "-o", target, "--cache", local_url).failed(1)
    assert line == f"{target}: Not a directory."


def test_get_writes_to_a_device_without_replacing_it(walk: Timeline, local_url: str) -> None:
    run("get", walk.timeline_id, "0", "-o", "/dev/null", "--cache", local_url).succeeded()
    assert Path("/dev/null").is_char_device()
