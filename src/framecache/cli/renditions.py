"""``framecache renditions``: store smaller copies of cached frames."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from framecache._core.frame_size import list_sides
from framecache._maintain.renditions import RenditionsReport
from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import CacheSelection, cache_options, json_option, timeline_argument
from framecache.cli.output import (
    format_count,
    format_elapsed,
    format_size,
    print_json,
    print_result,
)
from framecache.cli.progress import frames_progress
from framecache.model import require_renditions


@click.command("renditions")
@timeline_argument
@click.argument("sizes", type=int, nargs=-1, required=True)
@click.option(
    "--workers", type=int, metavar="N", help="Number of threads that encode.  [default: cores]"
)
@json_option
@cache_options
def renditions(
    *,
    choice: CacheSelection,
    timeline_id: str,
    sizes: Sequence[int],
    workers: int | None,
    as_json: bool,
) -> None:
    """Store smaller copies of frames.

    Jobs that read at a model's size then decode the smallest copy that suffices. SIZES are the
    lengths of their longer sides in pixels, such as 640 224. They are made from the stored frames,
    which do not change. Chunks that are appended later have them too. The timeline can be read in
    the meantime.
    """
    timeline = choice.cache.timeline(timeline_id)
    sides = require_renditions(sorted(sizes, reverse=True))
    with (
        add_interrupt_outcome("the timeline can still be read"),
        frames_progress("adding renditions") as progress,
    ):
        done = timeline.add_renditions(sides, workers=workers, progress=progress)
    if as_json:
        print_json(asdict(done) | {"url": choice.cache.url})
    else:
        print_result(_format_report(done))


def _format_report(report: RenditionsReport) -> str:
    sizes = list_sides(report.renditions)
    if not report.renditions_stored:
        return f"{report.timeline_id}: all frames that are larger already have renditions {sizes}"
    return (
        f"{report.timeline_id}: {format_count(report.renditions_stored, 'rendition')} "
        f"({format_size(report.bytes_stored)}) of {format_count(report.frames_changed, 'frame')} "
        f"stored; the timeline has renditions {sizes}, {format_elapsed(report.seconds)}"
    )
