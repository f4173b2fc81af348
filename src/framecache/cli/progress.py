"""The progress bar: on stderr, only where that is a terminal, and gone when it is done."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framecache.cli.show import count
from framecache.model import Progress, ProgressCallback


@contextmanager
def frames_progress(title: str) -> Iterator[ProgressCallback | None]:
    """A bar with frames per second and time left; None where there is no terminal to draw on.

    Args:
        title: what is being done, in one word or two.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 -- a pipe need not wait for rich
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None, status="reading")
        speed = _Speed()

        def show(progress: Progress) -> None:
            done, total = progress.frames_done, progress.frames_total
            status = f"{done:,} of {total:,} frames{speed.after(done)}"
            if progress.chunks_elsewhere:
                chunks = count(progress.chunks_elsewhere, "chunk")
                status = f"{done:,} of {total:,} frames, others are extracting {chunks}"
            bars.update(task, completed=done, total=total, status=status)

        yield show


@contextmanager
def timelines_progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar of timelines that are done, of how many; None where there is no terminal.

    Args:
        title: what is being done, in one word or two.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 -- a pipe need not wait for rich
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("timelines"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


class _Speed:
    """Frames a second since the first report, so that what was cached before does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def after(self, done: int) -> str:
        """The speed as text, once there is one."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        seconds, frames = now - self._first[0], done - self._first[1]
        return f", {frames / seconds:,.0f} frames/s" if frames and seconds > 0 else ""
