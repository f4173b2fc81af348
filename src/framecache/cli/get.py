"""``framecache get``: save a stored JPEG as a file, with unchanged bytes."""

import sys
from pathlib import Path
from typing import Final

import click

from framecache._core.times import format_time
from framecache._read import count_timestamp_decimals
from framecache.cli.errors import Refused
from framecache.cli.files import write_atomically
from framecache.cli.options import CacheSelection, cache_options, timeline_argument
from framecache.cli.output import format_size, print_result
from framecache.cli.sentences import escape_unprintable

_STDOUT: Final = "-"


@click.command()
@timeline_argument
@click.argument("sequence", metavar="[SEQ]", type=int, required=False)
@click.option("--at", metavar="TIME", help="Select the frame on screen at TIME instead of SEQ.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(),
    help="Output file; - is stdout.  [default: TIMELINE-SEQ.jpg]",
)
@click.option(
    "--max-side",
    type=int,
    metavar="PIXELS",
    help="Scale the frame down to at most this width and height; a rendition of this size is saved "
    "as it is stored.",
)
@click.option("--force", "-f", is_flag=True, help="Replace FILE if it exists.")
@cache_options
@click.pass_context
def get(
    context: click.Context,
    *,
    choice: CacheSelection,
    timeline_id: str,
    sequence: int | None,
    at: str | None,
    output: str | None,
    max_side: int | None,
    force: bool,
) -> None:
    """Save one frame as a JPEG, by default as it is stored.

    Select it by its number SEQ, from 0, or by a time with --at: 62.5, 62.5s, 1:02.5 or 1:01:02.5.
    Times may be rounded, as this program prints them.
    """
    if (sequence is None) == (at is None):
        raise click.UsageError("Give either SEQ or --at, not both.", context)
    timeline = choice.cache.timeline(timeline_id)
    if output == _STDOUT and sys.stdout.isatty():
        raise Refused("refusing to write binary data to a terminal: give -o FILE, or use a pipe")
    if at is not None:
        sequence = timeline.sequence_at(at)
    assert sequence is not None
    data = timeline.jpeg(sequence, max_side=max_side)
    if output == _STDOUT:
        sys.stdout.buffer.write(data)
        return
    path = _target(output, default=f"{timeline_id}-{sequence}.jpg")
    if path.is_file() and not force:
        raise Refused(
            f"the file {path} exists: give --force to replace it, or another file name with -o"
        )
    write_atomically(path, data)
    position = timeline.index.position(sequence)
    assert position is not None
    when = format_time(
        float(timeline.index.timestamp[position]),
        decimals=count_timestamp_decimals(timeline.index, position),
    )
    print_result(
        f"{escape_unprintable(str(path))}: frame {sequence} at {when}, {format_size(len(data))}"
    )


def _target(output: str | None, *, default: str) -> Path:
    path = Path(output if output is not None else default)
    return path / default if path.is_dir() else path
