"""``export --format`` and ``import``."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import DEADLINE_SECONDS, Outcome, run

import exchanged
from framecache import FrameCache, Timeline


@pytest.fixture
def source(local_url: str) -> Timeline:
    return exchanged.extract(FrameCache(local_url))


@pytest.mark.parametrize("format_name", exchanged.FORMATS)
def test_export_and_import_keep_bytes_and_times(
    source: Timeline, local_url: str, tmp_path: Path, format_name: str
) -> None:
    words = ("export", "source", tmp_path / "out", "--format", format_name, "--cache", local_url)
    text = run(*words).succeeded().text
    assert text.startswith(f"{tmp_path / 'out'}: 120 frames as {format_name}, ")
    text = run("import", "t", tmp_path / "out", "--cache", local_url).succeeded().text
    assert text.startswith(f"t: 120 frames from {format_name} (120 stored), ")
    again = FrameCache(local_url).timeline("t")
    assert list(again.jpegs(range(120))) == list(source.jpegs(range(120)))
    assert again.index.timestamp.tolist() == exchanged.times(source)


def test_export_without_a_format_is_imported(
    source: Timeline, local_url: str, tmp_path: Path
) -> None:
    words = ("export", "source", tmp_path / "out", "--name", "{sequence}.jpg", "--stop", "9")
    run(*words, "--cache", local_url).succeeded()
    run("import", "t", tmp_path / "out", "--cache", local_url).succeeded()
    again = FrameCache(local_url).timeline("t")
    assert list(again.jpegs(range(9))) == list(source.jpegs(range(9)))
    assert again.index.timestamp.tolist() == exchanged.times(source)[:9]


def test_export_and_import_report_as_json(source: Timeline, local_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = ("--format", "webdataset", "--overlays", exchanged.JOB, "--json", "--cache", local_url)
    done = run("export", "source", folder, *words).succeeded().document
    assert (done["frames_exported"], done["overlays_exported"], done["overlays_stale"]) == (
        120,
        7,
        0,
    )
    assert done["format"] == "webdataset"
    read = run("import", "t", folder, "--json", "--cache", local_url).succeeded().document
    assert (read["frames_imported"], read["frames_stored"], read["overlays_imported"]) == (
        120,
        120,
        7,
    )
    assert exchanged.overlays_of(FrameCache(local_url).timeline("t")) == exchanged.overlays_of(
        source
    )


@pytest.mark.usefixtures("source")
def test_export_of_a_range_at_a_rate(local_url: str, tmp_path: Path) -> None:
    words = ("--format", "mp4", "--fps", "10", "--start-seconds", "1", "--step", "3")
    run("export", "source", tmp_path / "out", *words, "--cache", local_url).succeeded()
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines()))
    assert float(rows[0]["timestamp"]) >= 1
    numbers = [int(row["sequence"]) for row in rows]
    assert numbers == list(range(numbers[0], 120, 3))


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format mp4 --name {sequence}.jpg", "--name does not apply"),
        ("--format images --contiguous", "--contiguous does not apply"),
        ("--format images --with-overlays run:7", "--with-overlays does not apply"),
        ("--format images --force", "--force does not apply"),
        ("--overlays run:7", "need --format"),
        ("--fps 25", "need --format"),
        ("--format images --fps 25", "Give no fps|give no fps"),
        ("--format cvat --overlays run:7", "no place for overlays"),
        ("--format images --start 1 --start-seconds 2", "not both"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    local_url: str, tmp_path: Path, words: str, message: str
) -> None:
    line = run("export", "source", tmp_path / "out", *words.split(), "--cache", local_url).failed(2)
    assert any(one in line for one in message.split("|"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("source")
def test_refused_folders_name_the_reason(local_url: str, tmp_path: Path) -> None:
    cache = ("--cache", local_url)
    line = run("export", "source", tmp_path / "a.mp4", "--format", "mp4", *cache).failed(2)
    assert "writes a folder" in line
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").touch()
    line = run("export", "source", tmp_path / "out", "--format", "images", *cache).failed(2)
    assert "is not empty" in line
    assert "files of no format" in run("import", "t", tmp_path / "out", *cache).failed(2)
    assert "no overlays" in run(
        *("export", "source", tmp_path / "new", "--format", "images", "--overlays", "none", *cache)
    ).failed(3)
    assert "extracted from chunks" in run_import_of_itself(local_url, tmp_path / "own").failed(4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "own", "store"]


def run_import_of_itself(local_url: str, folder: Path) -> Outcome:
    run("export", "source", folder, "--format", "images", "--cache", local_url).succeeded()
    return run("import", "source", folder, "--cache", local_url)


def test_missing_package_is_one_line(
    local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    line = run("export", "t", tmp_path / "out", "--format", "lance", "--cache", local_url).failed(1)
    assert line.endswith("pip install 'framecache[lance]'")


# The progress bar, which is shown on a terminal only, sends the signal after the first frame.
_ENDED = """
import signal
import sys
from contextlib import nullcontext
from framecache.cli import export_folder
from framecache.cli.app import main
end = lambda _: signal.raise_signal(int(sys.argv[1]))
export_folder.frames_progress = lambda _: nullcontext(end)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -15), (signal.SIGINT, 130)])
def test_ended_export_leaves_nothing(
    local_url: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "place"
    words = ("export", "source", folder / "out", "--format", "images", "--cache", local_url)
    program = [sys.executable, "-c", _ENDED, str(int(number)), *map(str, words)]
    finished = subprocess.run(
        program, check=False, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert finished.returncode == code
    assert list(folder.iterdir()) == []
    assert "Traceback" not in finished.stderr
