"""Runs of frames that are decoded without a seek between them. Pure: no I/O."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._media.video.scanning import VideoScan

_THREADED_CODECS: Final = frozenset({"av1", "h264", "hevc", "mjpeg", "prores", "vp8", "vp9", "vvc"})
"""Codecs whose decoders detect the same damage with several threads as with one."""

_MAX_THREADS: Final = 8

REORDER_DEPTH: Final = 16
"""Number of pictures that the H.264 decoder holds back, the maximum it supports.

A decoder thread records missing parts of a picture when it finishes the picture, and the record is
copied when the picture is output. If a picture waits for more others than there are threads, its
thread has finished by the time it is output, so no record is lost.
"""
_MAX_SHORT_RUN: Final = 2 * REORDER_DEPTH
"""Length, in frames, that a run must exceed to be decoded with several threads.

This is more pictures than threads can be working on when the decoder is drained.
"""

_MIN_PTS: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Wanted frames that are decoded without a seek between them."""

    start: int | None
    """PTS of the keyframe to begin at; None: begin at the start of the video."""
    wanted: list[int]

    @property
    def first_pts(self) -> int:
        """Earliest PTS that it can have."""
        return _MIN_PTS if self.start is None else self.start


def choose_runs(scan: VideoScan, wanted: list[int], threads: int) -> tuple[list[DecodeRun], int]:
    """Choose the runs and the number of threads that decode ascending ``wanted`` fastest."""
    runs, long_runs = split_runs(scan, wanted), split_runs(scan, wanted, min_skip=_MAX_SHORT_RUN)
    is_long = bool((_run_lengths(scan, long_runs) > _MAX_SHORT_RUN).all())
    most = min(threads, _MAX_THREADS) if is_long and scan.codec in _THREADED_CODECS else 1
    # An additional thread counts as half a thread, since pictures wait for their references.
    return min(
        [(runs, 1), (long_runs, most)],
        key=lambda plan: int(_run_lengths(scan, plan[0]).sum()) / (plan[1] + 1),
    )


def _run_lengths(scan: VideoScan, runs: list[DecodeRun]) -> npt.NDArray[np.int64]:
    """Return how many frames each run decodes, as if the decoding order were that of time."""
    first = np.searchsorted(scan.pts, [run.first_pts for run in runs])
    last = np.searchsorted(scan.pts, [run.wanted[-1] for run in runs])
    return last - first + 1


def split_runs(scan: VideoScan, wanted: list[int], *, min_skip: int = 1) -> list[DecodeRun]:
    """Split ascending ``wanted`` wherever that skips at least ``min_skip`` frames.

    A restart costs less than decoding one frame, even a small one.
    """
    positions = np.searchsorted(scan.pts, wanted)
    entries = np.flatnonzero(scan.is_random_access)
    # The last entry at or before each wanted frame; -1 if there is none.
    entry = np.concatenate([entries, [-1]])[np.searchsorted(entries, positions, "right") - 1]
    following = np.concatenate([[0], positions[:-1] + 1])
    # A leading picture is shown before its entry but decoded after it. If the previous wanted
    # frame is one, decoding has already passed this entry: do not go back to it.
    is_behind = np.searchsorted(scan.pts, scan.earliest_pts[entry]) >= following
    skips = (entry - following >= min_skip) & is_behind
    runs = [DecodeRun(None, [])]
    for pts, begin, skip in zip(wanted, entry.tolist(), skips.tolist(), strict=True):
        if skip:
            runs.append(DecodeRun(int(scan.pts[begin]), []))
        runs[-1].wanted.append(pts)
    return [run for run in runs if run.wanted]
