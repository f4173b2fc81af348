"""``framecache get`` and ``framecache export``: stored JPEGs as files, bytes untouched."""

import csv
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np

from framecache.cli.failure import Refused
from framecache.cli.files import write_whole
from framecache.cli.options import Choice, cache_options, json_option, timeline_argument
from framecache.cli.progress import frames_progress
from framecache.cli.show import count, elapsed, print_json, printable, size
from framecache.errors import NotCached
from framecache.index import Index
from framecache.instants import clock
from framecache.model import Progress
from framecache.reader import telling_decimals
from framecache.timeline import Timeline

_STDOUT: Final = "-"
_TABLE: Final = "frames.csv"
_COLUMNS: Final = ("sequence", "chunk_id", "timestamp", "perceptual_hash")


@click.command()
@timeline_argument
@click.argument("sequence", metavar="[SEQ]", type=int, required=False)
@click.option("--at", metavar="TIME", help="The frame on screen then, not SEQ.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(),
    help="Where to; - is stdout.  [default: TIMELINE-SEQ.jpg]",
)
@click.option("--force", "-f", is_flag=True, help="Replace FILE if it exists.")
@cache_options
@click.pass_context
def get(
    context: click.Context,
    *,
    choice: Choice,
    timeline_id: str,
    sequence: int | None,
    at: str | None,
    output: str | None,
    force: bool,
) -> None:
    """Save one frame: the stored JPEG, bytes untouched.

    Name it by its number SEQ, from 0, or by a time with --at: 62.5, 62.5s, 1:02.5 or 1:01:02.5,
    rounded to any digit, as this program prints times.
    """
    if (sequence is None) == (at is None):
        raise click.UsageError("Name the frame by SEQ or by --at, one of them.", context)
    timeline = choice.cache.timeline(timeline_id)
    if output == _STDOUT and sys.stdout.isatty():
        raise Refused("a JPEG is no text for a terminal: give -o FILE, or a pipe")
    if at is not None:
        sequence = timeline.sequence_at(at)
    assert sequence is not None
    data = timeline.jpeg(sequence)
    if output == _STDOUT:
        sys.stdout.buffer.write(data)
        return
    path = _target(output, default=f"{timeline_id}-{sequence}.jpg")
    if path.is_file() and not force:
        raise Refused(f"{path} exists: give --force to replace it, or another -o FILE")
    write_whole(path, data)
    position = timeline.index.position(sequence)
    assert position is not None
    when = clock(
        float(timeline.index.timestamp[position]),
        decimals=telling_decimals(timeline.index, position),
    )
    click.echo(f"{printable(str(path))}: frame {sequence} at {when}, {size(len(data))}")


@click.command()
@timeline_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--start", type=click.IntRange(min=0), metavar="SEQ", help="First frame.")
@click.option("--stop", type=click.IntRange(min=0), metavar="SEQ", help="One past the last frame.")
@click.option("--step", type=click.IntRange(min=1), default=1, metavar="N", help="Every N-th.")
@click.option(
    "--start-seconds",
    metavar="TIME",
    help="Frames that begin then or later: 62.5, 1:02.5.",
)
@click.option("--stop-seconds", metavar="TIME", help="Frames that begin before then.")
@click.option("--force", "-f", is_flag=True, help="Write into a folder that is not empty.")
@json_option
@cache_options
@click.pass_context
def export(
    context: click.Context,
    *,
    choice: Choice,
    timeline_id: str,
    folder: Path,
    start: int | None,
    stop: int | None,
    step: int,
    start_seconds: str | None,
    stop_seconds: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Save frames into a folder: SEQ.jpg each, and frames.csv.

    The JPEGs are the stored bytes, untouched. frames.csv has a line for each: sequence,
    chunk_id, timestamp and perceptual_hash. Frames that could not be decoded are passed over.
    """
    if start is not None and start_seconds is not None:
        raise click.UsageError("Give --start or --start-seconds, one of them.", context)
    if stop is not None and stop_seconds is not None:
        raise click.UsageError("Give --stop or --stop-seconds, one of them.", context)
    timeline = choice.cache.timeline(timeline_id)
    index = _index_of(choice, timeline)
    sequences = timeline.sequences(
        start, stop, step, start_seconds=start_seconds, stop_seconds=stop_seconds
    )
    if not sequences:
        raise NotCached(
            f"timeline {timeline_id} in {choice.cache.url} has no picture in that range: its "
            f"frames are {index.sequence[0]} to {index.sequence[-1]}, from "
            f"{index.timestamp[0]:.{telling_decimals(index, 0)}f} s on"
        )
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is a file, not a folder: give another one")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise Refused(f"{folder} is not empty: give --force to write into it, or another folder")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    size_bytes = _write_frames(timeline, sequences, folder)
    write_whole(folder / _TABLE, _table(index, np.searchsorted(index.sequence, sequences)))
    seconds = time.monotonic() - began
    if as_json:
        document = {
            "timeline_id": timeline_id,
            "url": choice.cache.url,
            "folder": str(folder),
            "table": str(folder / _TABLE),
            "frames_exported": len(sequences),
            "bytes_exported": size_bytes,
            "seconds": seconds,
        }
        print_json(document)
        return
    click.echo(
        f"{printable(str(folder))}: {count(len(sequences), 'frame')} and {_TABLE}, "
        f"{size(size_bytes)} in {elapsed(seconds)}"
    )


def _target(output: str | None, *, default: str) -> Path:
    path = Path(output if output is not None else default)
    return path / default if path.is_dir() else path


def _index_of(choice: Choice, timeline: Timeline) -> Index:
    index = timeline.index
    if not len(index):
        raise NotCached(
            f"timeline {timeline.timeline_id} in {choice.cache.url} has no cached frames: extract "
            f"it first"
        )
    return index


def _write_frames(timeline: Timeline, sequences: Sequence[int], folder: Path) -> int:
    """Write the JPEGs of these sequences; returns how many bytes they have."""
    size_bytes = 0
    with frames_progress("exporting") as progress:
        jpegs = zip(sequences, timeline.jpegs(sequences), strict=True)
        for done, (sequence, data) in enumerate(jpegs, start=1):
            write_whole(folder / f"{sequence}.jpg", data)
            size_bytes += len(data)
            if progress is not None:
                progress(Progress(done, len(sequences)))
    return size_bytes


def _table(index: Index, positions: np.ndarray) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    columns = [getattr(index, name)[positions].tolist() for name in _COLUMNS]
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()
