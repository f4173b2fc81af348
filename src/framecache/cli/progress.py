"""Progress bars on stderr, shown only on a terminal and removed at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from framecache.cli.output import format_count, is_quiet
from framecache.model import Progress, ProgressCallback

if TYPE_CHECKING:
    from framecache.ray import ExtractProgress


@contextmanager
def frames_progress(title: str) -> Iterator[ProgressCallback | None]:
    """Show a bar with frames per second and time left; yield None if there is no terminal.

    Args:
        title: name of the activity, in one or two words.
    """
    with _bar(title, status="reading", has_time_left=True) as update:
        speed = _Throughput()

        def show(progress: Progress) -> None:
            assert update is not None
            done, total = progress.frames_done, progress.frames_total
            frames = f"{done:,} of {total:,} frames"
            if progress.segments_total > 1:
                frames += f", {progress.segments_done:,} of {progress.segments_total:,} segments"
            status = f"{frames}{speed.format_rate(done)}"
            if progress.chunks_elsewhere:
                chunks = format_count(progress.chunks_elsewhere, "chunk")
                status = f"{frames}, other processes are extracting {chunks}"
            update(completed=done, total=total, status=status)

        yield None if update is None else show


@contextmanager
def chunks_progress(title: str) -> Iterator["Callable[[ExtractProgress], None] | None"]:
    """Show a bar with the chunks and frames of many timelines; yield None without a terminal.

    Args:
        title: name of the activity, in one or two words.
    """
    with _bar(title, status="connecting") as update:
        speed = _Throughput()

        def show(progress: "ExtractProgress") -> None:
            assert update is not None
            done = progress.frames_done
            timelines = format_count(progress.timelines_total, "timeline")
            chunks = format_count(progress.chunks_total, "chunk")
            status = (
                f"{progress.timelines_done:,} of {timelines}, {progress.chunks_done:,} of {chunks}"
                f"{speed.format_rate(done)}"
            )
            update(completed=done, total=progress.frames_total, status=status)

        yield None if update is None else show


@contextmanager
def timelines_progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar with the number of finished timelines; yield None if there is no terminal.

    Args:
        title: name of the activity, in one or two words.
    """
    with _bar(title, status="") as update:

        def show(done: int, total: int) -> None:
            assert update is not None
            update(completed=done, total=total, status=f"{done}/{total} timelines")

        yield None if update is None else show


@contextmanager
def _bar(
    title: str, *, status: str, has_time_left: bool = False
) -> Iterator[Callable[..., None] | None]:
    """Show a bar, and yield the function that updates it; None if there is no terminal."""
    if is_quiet() or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 -- needed on a terminal only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    ]
    if has_time_left:
        columns += [TimeRemainingColumn(), TextColumn("left")]
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield partial(bars.update, bars.add_task(title, total=None, status=status))


class _Throughput:
    """Frames per second since the first report, which excludes frames cached before."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def format_rate(self, done: int) -> str:
        """Return the speed as text; empty until it is known."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        seconds, frames = now - self._first[0], done - self._first[1]
        return f", {frames / seconds:,.0f} frames/s" if frames and seconds > 0 else ""
