"""Loaders with worker processes, each in a program of its own."""

import json
import subprocess
import sys
from pathlib import Path

import clips
import pytest
from gray_frames import all_frames, timelines

from framecache import FrameCache

_HERE = Path(__file__).parent
_DEADLINE_SECONDS = 250
_CONNECTION_ERRORS = {
    "ConnectionResetError",
    "ConnectionRefusedError",
    "BrokenPipeError",
    "FileNotFoundError",
    "EOFError",
}


def output_of(program: str, *arguments: str) -> list[str]:
    """Lines that a program of this folder prints."""
    run = subprocess.run(
        [sys.executable, str(_HERE / program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def loaded(url: str, workers: int, start: str, *, opened: bool) -> list[list[tuple[str, int]]]:
    """The names of the frames that a loader delivers in two epochs."""
    arguments = (url, str(workers), start, "opened" if opened else "unopened")
    return [
        [(name, sequence) for name, sequence in json.loads(line)]
        for line in output_of("loading.py", *arguments)
    ]


@pytest.mark.parametrize(
    ("workers", "start"),
    [(0, "fork"), (2, "fork"), (2, "spawn"), (8, "fork"), (8, "spawn")],
)
def test_workers_deliver_every_frame_once_per_epoch(
    tmp_path: Path, workers: int, start: str
) -> None:
    timelines(tmp_path)
    epochs = loaded(str(tmp_path), workers, start, opened=True)
    assert [sorted(epoch) for epoch in epochs] == [all_frames()] * 2
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("opened", [True, False], ids=["opened", "unopened"])
def test_workers_read_from_a_bucket(s3_url: str, start: str, *, opened: bool) -> None:
    timelines(s3_url)
    epochs = loaded(s3_url, 2, start, opened=opened)
    assert [sorted(epoch) for epoch in epochs] == [all_frames()] * 2


def test_killed_worker_loses_no_frame(tmp_path: Path) -> None:
    timelines(tmp_path)
    killed, *names = output_of("killing.py", str(tmp_path))
    error, _, message = killed.partition(" ")
    if error == "RuntimeError":
        assert message.startswith("DataLoader worker")
    else:
        # The connection to the worker ended before its signal came.
        assert error in _CONNECTION_ERRORS
    found = [(name, int(sequence)) for name, sequence in map(str.split, names)]
    assert sorted(found) == all_frames()


def test_epoch_started_by_two_ranks_is_completed_by_three(tmp_path: Path) -> None:
    timelines(tmp_path / "store")
    first = of_ranks(tmp_path, ranks=2, batches=2)
    assert [len(names) for names in first] == [6, 6]
    rest = of_ranks(tmp_path, ranks=3, batches=0)
    assert [len(names) for names in rest] == [8, 8, 8]
    found = [name for names in (*first, *rest) for name in names]
    assert sorted(found) == all_frames()


def of_ranks(folder: Path, *, ranks: int, batches: int) -> list[list[tuple[str, int]]]:
    """The frames that each rank was given; 0 batches: to the end of the epoch."""
    started = [
        subprocess.Popen(
            [
                *(sys.executable, str(_HERE / "training.py"), str(folder)),
                *(str(rank), str(ranks), str(batches)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    found = []
    for process in started:
        output, _ = process.communicate(timeout=_DEADLINE_SECONDS)
        assert process.returncode == 0
        lines = [line.split() for line in output.splitlines()]
        found.append([(name, int(sequence)) for name, sequence in lines])
    return found


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("change", ["clear", "rebuild"])
def test_timeline_changed_while_workers_read_raises_a_typed_error(
    tmp_path: Path, change: str, start: str
) -> None:
    FrameCache(tmp_path).timeline("match").extract(clips.chunks())
    last = output_of("changing.py", str(tmp_path), change, start)[-1]
    assert last.startswith("TimelineCleared: ")
    assert "create the dataset again" in last
