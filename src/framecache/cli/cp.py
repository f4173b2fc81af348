"""``framecache cp``: copy a timeline to another store without decoding it again."""

from dataclasses import asdict
from typing import Final

import click

from framecache._maintain.copying import CopyReport, copy_timeline
from framecache.cache import FrameCache
from framecache.cli.options import CacheSelection, cache_options, json_option, timeline_argument
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
from framecache.errors import SettingsConflict

_EXAMPLES: Final = """\b
Examples:
  framecache cp match-42 s3://archive/frames
  framecache cp match-42 ./local --cache s3://archive/frames
"""


@click.command(epilog=_EXAMPLES)
@timeline_argument
@click.argument("url")
@json_option
@cache_options
def cp(*, choice: CacheSelection, timeline_id: str, url: str, as_json: bool) -> None:
    """Copy a timeline to another cache, at URL; nothing is decoded.

    Frames, index, settings and overlays keep their bytes. Blobs that already exist are skipped, so
    repeating an interrupted command continues it, and repeating a finished one adds new chunks and
    overlays; a different timeline with that name is refused.
    Overlays that are older than their frames are left out. Do not extract the copy meanwhile.
    """
    choice.cache.timeline(timeline_id)
    there = FrameCache(url)
    try:
        with frames_progress("copying") as progress:
            done = copy_timeline(choice.cache.store, there.store, timeline_id, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; copy again to continue") from None
    except SettingsConflict as error:
        remove = CacheSelection(there, url).command_line("rm", timeline_id)
        raise SettingsConflict(f"{error}: {remove}") from error
    if as_json:
        print_json(asdict(done) | {"from_url": choice.cache.url})
    else:
        print_result(escape_unprintable(_format_report(done)))
    if done.overlays_stale and not is_quiet():
        print_message(
            f"note: {format_count(done.overlays_stale, 'overlay')} not copied: older than the "
            "frames"
        )


def _format_report(done: CopyReport) -> str:
    numbers = {"frame": done.frames_there, "overlay": done.overlays_there}
    met = " and ".join(format_count(number, noun) for noun, number in numbers.items() if number)
    there = f", already there: {met}" if met else ""
    return (
        f"{done.timeline_id}: {format_count(done.frames_copied, 'frame')} and "
        f"{format_count(done.overlays_copied, 'overlay')} ({format_size(done.bytes_copied)}) "
        f"copied to {done.url}{there}, {format_elapsed(done.seconds)}"
    )
