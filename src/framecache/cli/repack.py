"""``framecache repack``: the same frames in another layout."""

from dataclasses import asdict
from typing import get_args

import click

from framecache.cli.options import (
    Choice,
    cache_options,
    json_option,
    timeline_argument,
)
from framecache.cli.progress import frames_progress
from framecache.cli.show import count, elapsed, print_json, size
from framecache.model import Layout
from framecache.repack import RepackReport


@click.command()
@timeline_argument
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    required=True,
    help="One blob a frame, or one tar a chunk.",
)
@click.option("--workers", type=int, metavar="N", help="Threads that move.  [default: cores]")
@json_option
@cache_options
def repack(
    *, choice: Choice, timeline_id: str, layout: Layout, workers: int | None, as_json: bool
) -> None:
    """Move a timeline's frames into another layout.

    Nothing is encoded again: the JPEGs stay as they are, and so do numbers, times and overlays.
    The timeline can be read meanwhile. In packs it takes far fewer requests to store and to read;
    as objects every frame has an address that other programs can read.
    """
    timeline = choice.cache.timeline(timeline_id)
    try:
        with frames_progress("repacking") as progress:
            report = timeline.repack(layout, workers=workers, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the timeline can be read as before") from None
    if as_json:
        print_json(asdict(report) | {"url": choice.cache.url})
    else:
        click.echo(_in_words(report))


def _in_words(report: RepackReport) -> str:
    if not report.parts_moved:
        return f"{report.timeline_id}: in layout {report.layout}, no frame had to be moved"
    return (
        f"{report.timeline_id}: {count(report.frames_moved, 'frame')} "
        f"({size(report.bytes_moved)}) now in layout {report.layout}, "
        f"{count(report.blobs_removed, 'blob')} of the one before removed, "
        f"{elapsed(report.seconds)}"
    )
