"""``framecache export --format``: write a folder of frames for other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click

from framecache.cli.errors import Refused
from framecache.cli.files import unwind_on_sigterm
from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import CacheSelection
from framecache.cli.output import (
    format_count,
    format_elapsed,
    format_size,
    is_quiet,
    print_json,
    print_message,
    print_result,
)
from framecache.cli.progress import frames_progress
from framecache.cli.sentences import escape_unprintable
from framecache.cli.stages import select_stages
from framecache.cli.suffixes import is_picture_name, is_video_name
from framecache.model import FolderFormat

_OTHER_OPTIONS: Final = {
    "template": "--name",
    "contiguous": "--contiguous",
    "stages": "--with-overlays",
    "force": "--force",
}
"""Options of ``export`` that do not apply to a format."""

Decorated = TypeVar("Decorated")


def folder_options(function: Decorated) -> Decorated:
    """Add the options of a format."""
    for option in (
        click.option(
            "--shard-bytes",
            type=click.IntRange(min=1),
            metavar="N",
            help="Bytes of a tar or Parquet file.  [default: 1 GiB]",
        ),
        click.option(
            "--fps",
            metavar="RATE",
            help="Frames per second of --format mp4.  [default: their mean rate]",
        ),
        click.option(
            "--overlays",
            "carried",
            multiple=True,
            metavar="JOB[/STAGE]",
            help="Export the overlays of a job with --format. May be repeated.",
        ),
        click.option(
            "--format",
            "format_name",
            type=click.Choice(get_args(FolderFormat)),
            help="Write FOLDER for other programs.",
        ),
    ):
        function = option(function)  # type: ignore[type-var]  # a command's function
    return function


def export_folder(
    context: click.Context,
    choice: CacheSelection,
    timeline_id: str,
    folder: Path,
    *,
    format_name: FolderFormat,
    carried: Sequence[str],
    selection: Mapping[str, Any],
    fps: str | None,
    shard_bytes: int | None,
    as_json: bool,
) -> None:
    """Export frames in a format, and print the result."""
    for name, option in _OTHER_OPTIONS.items():
        if context.params[name]:
            raise click.UsageError(f"{option} does not apply to --format.", context)
    if is_video_name(folder.name) or is_picture_name(folder.name):
        raise Refused(
            f"the target {folder} has the file name of a video or picture, but --format "
            f"{format_name} writes a folder: give a folder"
        )
    timeline = choice.cache.timeline(timeline_id)
    stages = select_stages(timeline, carried)
    with (
        unwind_on_sigterm(),
        add_interrupt_outcome("nothing was exported"),
        frames_progress("exporting") as progress,
    ):
        done = timeline.export_frames(
            folder,
            format=format_name,
            overlays=stages,
            fps=fps,
            shard_bytes=shard_bytes,
            progress=progress,
            **selection,
        )
    if as_json:
        print_json({**asdict(done), "url": choice.cache.url})
    else:
        overlays = f" and {format_count(done.overlays_exported, 'overlay')}" if carried else ""
        print_result(
            f"{escape_unprintable(str(folder))}: {format_count(done.frames_exported, 'frame')}"
            f"{overlays} as {done.format}, {format_size(done.bytes_exported)} in "
            f"{format_elapsed(done.seconds)}"
        )
    if done.overlays_stale and not is_quiet():
        print_message(
            f"note: {format_count(done.overlays_stale, 'overlay')} not exported: older than the "
            "frames"
        )
