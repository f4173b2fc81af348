"""``framecache clear`` and ``framecache rm``: remove frames or timelines, after a confirmation."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import click

from framecache._core import keys
from framecache._ingest.deletion import DeletionSummary
from framecache.cli.errors import Declined, Refused
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    json_option,
    timelines_argument,
    yes_option,
)
from framecache.cli.output import format_count, format_size, print_json, print_result, unwrap_single
from framecache.cli.sentences import escape_unprintable
from framecache.errors import NotCached
from framecache.store import BlobInfo, Store


@click.command()
@timelines_argument(required=True)
@yes_option
@json_option
@cache_options
def clear(*, choice: CacheSelection, timeline_ids: Sequence[str], yes: bool, as_json: bool) -> None:
    """Remove the frames of timelines; keep settings and overlays.

    Videos are never changed: "framecache rebuild" restores the frames. With --json, one timeline
    is printed as one object, and several as {"timelines": [...]}.
    """
    store = choice.cache.store
    timelines = [choice.cache.timeline(name) for name in timeline_ids]
    met = {one.timeline_id: _contents_to_clear(store, one.timeline_id) for one in timelines}
    for one in timelines:
        if not met[one.timeline_id].blobs and one.info().epoch is None:
            raise timeline_not_found(choice, one.timeline_id)
    filled = [one for one in timelines if met[one.timeline_id].blobs]
    if filled:
        whose = " and ".join(
            f"{met[one.timeline_id].format_counts()} of timeline {one.timeline_id}"
            for one in filled
        )
        their = "its" if len(filled) == 1 else "their"
        confirm(
            f"remove {whose} in {store.url}; {their} settings and overlays stay",
            yes=yes,
        )
    done = []
    for one in timelines:
        name = one.timeline_id
        removal = one.clear() if met[name].blobs else DeletionSummary(0, 0)
        done.append(_removal_to_json(choice, name, met[name], removal))
        if as_json:
            continue
        if not met[name].blobs:
            print_result(f"{name}: nothing is cached, nothing to do")
        else:
            print_result(f"{name}: removed {met[name].format_counts()}")
            print_result(f"To restore them: {choice.command_line('rebuild', name)}")
    if as_json:
        print_json(unwrap_single(done))


@click.command()
@timelines_argument(required=True)
@yes_option
@json_option
@cache_options
def rm(*, choice: CacheSelection, timeline_ids: Sequence[str], yes: bool, as_json: bool) -> None:
    """Remove timelines completely, including overlays.

    Videos are never changed. With --json, one timeline is printed as one object, and several as
    {"timelines": [...]}.
    """
    store = choice.cache.store
    timelines = [choice.cache.timeline(name) for name in timeline_ids]
    met = {
        name: _Contents.from_blobs(name, store.list(keys.timeline_prefix(name)))
        for name in timeline_ids
    }
    for name, contents in met.items():
        # A timeline of which only a folder marker is left is listed, too.
        if not contents.blobs and name not in choice.cache.timelines():
            raise timeline_not_found(choice, name)
    whose = " and ".join(f"timeline {name}: {one.format_counts()}" for name, one in met.items())
    confirm(f"remove from {store.url} {whose}", yes=yes)
    done = []
    for timeline in timelines:
        name = timeline.timeline_id
        done.append(_removal_to_json(choice, name, met[name], timeline.delete()))
        if not as_json:
            print_result(f"{name}: removed {met[name].format_counts()}")
    if as_json:
        print_json(unwrap_single(done))


def confirm(action: str, *, yes: bool) -> None:
    """Ask the user for confirmation.

    Args:
        action: action to confirm, beginning with a verb.
        yes: True if the user has confirmed already.

    Raises:
        Refused: stdin is not a terminal.
        Declined: the user did not confirm.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"this would {action}: give --yes to confirm")
    # click.confirm writes to stdout, which is reserved for the JSON document.
    click.echo(
        click.wrap_text(
            f"This will {escape_unprintable(action)}.", shutil.get_terminal_size().columns
        ),
        err=True,
    )
    click.echo("Continue? [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    if answer.strip().lower() not in {"y", "yes"}:
        raise Declined("nothing was changed")


@dataclass(frozen=True, slots=True)
class _Contents:
    """Counts and total size of a timeline's blobs."""

    frames: int = 0
    packs: int = 0
    overlays: int = 0
    blobs: int = 0
    size_bytes: int = 0

    @classmethod
    def from_blobs(cls, timeline_id: str, blobs: Iterable[BlobInfo]) -> "_Contents":
        frames = packs = overlays = number = size_bytes = 0
        for blob in blobs:
            number += 1
            size_bytes += blob.size_bytes
            frames += keys.parse_frame(timeline_id, blob.key) is not None
            packs += keys.parse_pack(timeline_id, blob.key) is not None
            overlays += keys.parse_overlay(blob.key) is not None
        return cls(frames, packs, overlays, number, size_bytes)

    def format_counts(self) -> str:
        """Format the counts, as in ``250 frames, 12 overlays and 3 other blobs (7.9 MB)``."""
        rest = self.blobs - self.frames - self.packs - self.overlays
        numbers = {
            "frame": self.frames,
            "pack": self.packs,
            "overlay": self.overlays,
            "other blob": rest,
        }
        parts = [format_count(number, noun) for noun, number in numbers.items() if number] or [
            "no blobs"
        ]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        return f"{listed} ({format_size(self.size_bytes)})"


def timeline_not_found(choice: CacheSelection, timeline_id: str) -> NotCached:
    """Return the error for a timeline that the cache does not have."""
    return NotCached(
        f"there is no timeline {timeline_id} in {choice.cache.store.display_name}; see "
        f"{choice.command_line('ls')}"
    )


def _contents_to_clear(store: Store, timeline_id: str) -> _Contents:
    prefixes = (
        keys.frames_prefix(timeline_id),
        keys.packs_prefix(timeline_id),
        keys.renditions_prefix(timeline_id),
        keys.indexes_prefix(timeline_id),
        keys.sprites_prefix(timeline_id),
    )
    return _Contents.from_blobs(timeline_id, chain.from_iterable(map(store.list, prefixes)))


def _removal_to_json(
    choice: CacheSelection, timeline_id: str, contents: _Contents, removal: DeletionSummary
) -> dict[str, Any]:
    return {
        "timeline_id": timeline_id,
        "url": choice.cache.url,
        "frames_removed": contents.frames,
        "packs_removed": contents.packs,
        "overlays_removed": contents.overlays,
        "blobs_removed": removal.blobs,
        "bytes_removed": removal.size_bytes,
    }
