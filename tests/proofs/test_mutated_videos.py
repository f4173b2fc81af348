"""Extraction of any video file ends soon, in bounded memory, with a report or a typed error.

Files are those of every container and codec in the sample clips, mutated at random, in ways that
hit what the formats read lengths, counts and times from. Each is extracted by another process,
which a watchdog ends when it takes too long. Half of the videos are listed from their sample tables
where these can be trusted, also into layout ``video``; all frames must be those of all packets.
"""

import multiprocessing
import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Final

import pytest
from extracting import SAMPLINGS, Attempt, How, Outcome, serve
from mutations import TABLE_MUTATIONS, mutate

import media
from proving import Proof
from sample_clips import clip

CLIPS: Final = (
    *("h264.mp4", "h264.mkv", "h264.ts", "h264.avi", "h264-open-cut.mp4", "h264-interlaced.ts"),
    *("hevc.mp4", "hevc.ts", "vp8.webm", "vp9-hidden.webm", "vp9.mp4", "av1.mkv", "av1.mp4"),
    *("mjpeg.avi", "mjpeg.mp4", "mpeg2-interlaced.ts", "theora.ogg", "mpeg4.avi", "vfr.mp4"),
    *("edit-list.mp4", "negative.mkv", "turned-90.mp4", "odd.webm", "fragments.mp4"),
    *("h264.flv", "h264.h264", "hevc.hevc", "mpeg2.mpg", "mpeg2.mxf", "wmv2.wmv", "vp8.ivf"),
    *("animation.gif", "animation.apng", "raw.y4m", "tape.dv", "h264-index.flv"),
)
TABLE_CLIPS: Final = (
    *("h264.mp4", "sound.mp4", "hevc.mp4", "vp9.mp4", "av1.mp4", "vfr.mp4", "edit-list.mp4"),
    *("fragments.mp4", "sound.mp4", "sidx.mp4"),
)
"""Videos with sample tables."""
WAYS: Final[tuple[How, ...]] = ("packets", "packets", "tables", "video")
PROCESSES: Final = 2
MOST_SECONDS: Final = 90
"""Limit for one file, above that of a packet. Intact files take a tenth of a second."""
MOST_BYTES: Final = 2 << 30
"""For one file, of a few dozen kB; docs/frames.md says so."""
FIRST_SEED: Final = int(os.environ.get("FRAMECACHE_PROOF_SEED", "0"))


@dataclass(slots=True)
class Found:
    """Outcome of the files of one run."""

    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def test_mutated_videos_end_in_frames_or_a_clear_error(proof: Proof) -> None:
    files = proof.size(short=120, long=10_000)
    kept = Path(tempfile.mkdtemp(prefix="framecache-mutated-"))
    seeds: SimpleQueue[int | None] = SimpleQueue()
    for seed in [*range(FIRST_SEED, FIRST_SEED + files), *[None] * PROCESSES]:
        seeds.put(seed)
    clips = {name: _clip(name).read_bytes() for name in {*CLIPS, *TABLE_CLIPS}}
    found = Found()
    with ThreadPoolExecutor(PROCESSES) as watchdogs:
        for watching in [
            watchdogs.submit(_watch, seeds, clips, kept, found) for _ in range(PROCESSES)
        ]:
            watching.result()
    if not found.failures:
        kept.rmdir()
    kinds = [outcome.kind for outcome in found.outcomes]
    proof.found(
        files=files,
        extracted=kinds.count("extracted"),
        refused=kinds.count("refused"),
        listed_from_tables=sum(one.is_from_tables for one in found.outcomes),
        slowest_seconds=round(max(one.seconds for one in found.outcomes), 1),
        peak_mb=max(one.peak_bytes for one in found.outcomes) >> 20,
    )
    assert found.failures == []
    assert any(one.is_from_tables for one in found.outcomes)
    assert len(found.outcomes) == files


def test_watchdog_reports_a_dead_and_a_hanging_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = Attempt(str(clip("h264.mp4")), {}, 1)
    dead, hanging, alive = Worker(), Worker(), Worker()
    dead.process.kill()
    assert dead.extract(attempt) == f"the process died with {-signal.SIGKILL}"
    os.kill(hanging.process.pid or 0, signal.SIGSTOP)
    monkeypatch.setattr("test_mutated_videos.MOST_SECONDS", 0.5)
    assert hanging.extract(attempt) == "no end after 0.5 s"
    monkeypatch.undo()
    outcome = alive.extract(attempt)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.frames) == ("extracted", 50)
    assert outcome.peak_bytes < MOST_BYTES
    alive.close()


def _watch(
    seeds: "SimpleQueue[int | None]", clips: dict[str, bytes], kept: Path, found: Found
) -> None:
    worker = Worker()
    while (seed := seeds.get()) is not None:
        attempt = _attempt(seed, clips, kept)
        outcome = worker.extract(attempt)
        if not isinstance(outcome, Outcome):
            worker = Worker()
            found.failures.append(f"{outcome}: seed {seed}, {attempt}")
            continue
        found.outcomes.append(outcome)
        if outcome.kind == "failed" or outcome.peak_bytes > MOST_BYTES:
            found.failures.append(f"{outcome}: seed {seed}, {attempt}")
        else:
            Path(attempt.path).unlink()
    worker.close()


def _attempt(seed: int, clips: dict[str, bytes], folder: Path) -> Attempt:
    dice = Random(seed)
    how = dice.choice(WAYS)
    name, donor = dice.choice(CLIPS if how == "packets" else TABLE_CLIPS), dice.choice(CLIPS)
    path = folder / f"{seed}-{name}"
    if how == "packets":
        path.write_bytes(mutate(clips[name], clips[donor], dice))
    else:
        path.write_bytes(mutate(clips[name], clips[donor], dice, TABLE_MUTATIONS))
    return Attempt(str(path), dice.choice(SAMPLINGS), dice.choice((1, 4)), how)


def _clip(name: str) -> Path:
    makers = {"sound.mp4": _make_sound, "sidx.mp4": _make_sidx}
    return media.made(f"mutated-{name}", makers[name]) if name in makers else clip(name)


def _make_sidx(path: Path) -> None:
    """Make a video in fragments with an index of them."""
    flags = ("-movflags", "dash+global_sidx", "-frag_duration", "400000")
    media.ffmpeg("-i", str(clip("h264.mp4")), "-c", "copy", *flags, str(path))


def _make_sound(path: Path) -> None:
    """Make a video whose samples alternate with those of its sound."""
    media.ffmpeg(
        *("-i", str(clip("h264.mp4")), "-f", "lavfi", "-i", "sine=duration=2"),
        *("-c:v", "copy", "-c:a", "aac", "-shortest", str(path)),
    )


class Worker:
    """A process that extracts, as long as it lives."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, str(clip("h264.mp4"))))
        self.process.start()
        theirs.close()
        assert self._pipe.poll(60), "the process does not begin"
        self._pipe.recv()

    def extract(self, attempt: Attempt) -> Outcome | str:
        """Return the outcome, or how the process ended, which then no longer runs."""
        try:
            self._pipe.send(attempt)
            if self._pipe.poll(MOST_SECONDS):
                outcome: Outcome = self._pipe.recv()
                return outcome
        except (EOFError, OSError):
            self.process.join()
            return f"the process died with {self.process.exitcode}"
        self.process.kill()
        self.process.join()
        return f"no end after {MOST_SECONDS} s"

    def close(self) -> None:
        self._pipe.close()
        self.process.join()
