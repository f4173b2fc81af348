"""``framecache import``: cache the frames and overlays of a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Final, get_args

import click

from framecache.cli.options import (
    CacheSelection,
    cache_options,
    json_option,
    layout_option,
    timeline_argument,
    workers_option,
)
from framecache.cli.output import format_count, format_elapsed, print_json, print_result
from framecache.cli.progress import frames_progress
from framecache.model import FolderFormat, Layout, OnConflict

_EXAMPLES: Final = """\b
Examples:
  framecache import match-42 shards
  framecache import scans coco --format coco-images --fps 10
"""


@click.command("import", epilog=_EXAMPLES)
@timeline_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(get_args(FolderFormat)),
    help="Format of the folder.  [default: that of its files]",
)
@click.option(
    "--fps",
    metavar="RATE",
    help="Rate of frames of which the folder has no times.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(get_args(OnConflict)),
    default="raise",
    help="For a frame that is cached with other content: refuse all, replace it, or keep it.",
)
@layout_option
@workers_option
@json_option
@cache_options
def import_folder(
    *,
    choice: CacheSelection,
    timeline_id: str,
    folder: Path,
    format_name: FolderFormat | None,
    fps: str | None,
    on_conflict: OnConflict,
    layout: Layout | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Cache the frames and overlays of FOLDER.

    JPEGs keep their bytes. FOLDER was written by 'framecache export --format' or by another
    program: JPEGs with frames.csv, WebDataset shards, Parquet with a column 'image', Lance, COCO
    images, a CVAT manifest, or video.mp4 of JPEGs with frames.csv. All is checked before anything
    becomes visible.
    """
    timeline = choice.cache.timeline(timeline_id)
    with frames_progress("importing") as progress:
        done = timeline.import_frames(
            folder,
            format=format_name,
            fps=fps,
            on_conflict=on_conflict,
            layout=layout,
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json({**asdict(done), "url": choice.cache.url})
        return
    counts = {
        "stored": done.frames_stored,
        "replaced": done.frames_replaced,
        "kept": done.frames_kept,
    }
    told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
    overlays = (
        f" and {format_count(done.overlays_imported, 'overlay')}" if done.overlays_imported else ""
    )
    print_result(
        f"{timeline_id}: {format_count(done.frames_imported, 'frame')}{overlays} from "
        f"{done.format} ({told or 'unchanged'}), {format_elapsed(done.seconds)}"
    )
