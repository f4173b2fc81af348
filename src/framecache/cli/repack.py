"""``framecache repack``: move frames to another layout."""

from dataclasses import asdict
from typing import get_args

import click

from framecache._maintain.repack import RepackReport
from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    json_option,
    timeline_argument,
)
from framecache.cli.output import (
    format_count,
    format_elapsed,
    format_size,
    print_json,
    print_result,
)
from framecache.cli.progress import frames_progress
from framecache.model import Layout


@click.command()
@timeline_argument
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    required=True,
    help="One blob per frame, or one tar per segment of a chunk; video only for a timeline in it.",
)
@click.option(
    "--workers", type=int, metavar="N", help="Number of threads that move frames.  [default: cores]"
)
@json_option
@cache_options
def repack(
    *, choice: CacheSelection, timeline_id: str, layout: Layout, workers: int | None, as_json: bool
) -> None:
    """Move a timeline's frames into another layout.

    Nothing is encoded again: JPEGs, numbers, times and overlays do not change. From layout video,
    in which no frame is stored, frames are extracted. The timeline can be read in the meantime.
    Packs need far fewer requests to store and to read; as objects, every frame has a URL that other
    programs can read.
    """
    timeline = choice.cache.timeline(timeline_id)
    with (
        add_interrupt_outcome("the timeline can still be read"),
        frames_progress("repacking") as progress,
    ):
        done = timeline.repack(layout, workers=workers, progress=progress)
    if as_json:
        print_json(asdict(done) | {"url": choice.cache.url})
    else:
        print_result(_format_report(done))


def _format_report(report: RepackReport) -> str:
    if not report.parts_moved:
        return f"{report.timeline_id}: all frames are already in layout {report.layout}"
    return (
        f"{report.timeline_id}: {format_count(report.frames_moved, 'frame')} "
        f"({format_size(report.bytes_moved)}) moved to layout {report.layout}, "
        f"{format_count(report.blobs_removed, 'blob')} of the previous layout removed, "
        f"{format_elapsed(report.seconds)}"
    )
