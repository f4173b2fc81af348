"""``framecache clear`` and ``framecache rm``: taking things away, after asking."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import click

from framecache import keys
from framecache.cli.failure import Declined, Refused
from framecache.cli.options import (
    Choice,
    cache_options,
    json_option,
    timeline_argument,
    yes_option,
)
from framecache.cli.show import count, print_json, printable, size
from framecache.errors import NotCached
from framecache.store import BlobInfo
from framecache.sweep import Removal


@click.command()
@timeline_argument
@yes_option
@json_option
@cache_options
def clear(*, choice: Choice, timeline_id: str, yes: bool, as_json: bool) -> None:
    """Remove a timeline's frames; keep its settings and overlays.

    Videos are never touched: "framecache rebuild" brings the frames back.
    """
    timeline = choice.cache.timeline(timeline_id)
    store = choice.cache.store
    met = _Contents.of(
        timeline_id,
        [
            *store.list(keys.frames_prefix(timeline_id)),
            *store.list(keys.packs_prefix(timeline_id)),
            *store.list(keys.indexes_prefix(timeline_id)),
            *store.list(keys.sprites_prefix(timeline_id)),
        ],
    )
    removal = Removal(0, 0)
    if met.blobs:
        ask(
            f"remove {met.in_words()} of timeline {timeline_id} in {store.url}; its settings and "
            f"overlays stay",
            action="clear",
            yes=yes,
        )
        removal = timeline.clear()
    elif timeline.info().epoch is None:
        raise _no_timeline(choice, timeline_id)
    if as_json:
        _print_removal(choice, timeline_id, met, removal)
    elif not met.blobs:
        click.echo(f"{timeline_id}: nothing is cached, nothing to do")
    else:
        click.echo(f"{timeline_id}: removed {met.in_words()}")
        click.echo(f"To bring them back: {choice.command_line('rebuild', timeline_id)}")


@click.command()
@timeline_argument
@yes_option
@json_option
@cache_options
def rm(*, choice: Choice, timeline_id: str, yes: bool, as_json: bool) -> None:
    """Remove a timeline altogether, overlays included.

    Videos are never touched.
    """
    timeline = choice.cache.timeline(timeline_id)
    store = choice.cache.store
    met = _Contents.of(timeline_id, store.list(keys.timeline_prefix(timeline_id)))
    if not met.blobs:
        raise _no_timeline(choice, timeline_id)
    question = f"remove timeline {timeline_id} from {store.url}: {met.in_words()}"
    ask(question, action="rm", yes=yes)
    removal = timeline.delete()
    if as_json:
        _print_removal(choice, timeline_id, met, removal)
    else:
        click.echo(f"{timeline_id}: removed {met.in_words()}")


def ask(what: str, *, action: str, yes: bool) -> None:
    """Go on only if the user agrees.

    Args:
        what: what will happen, beginning with a verb.
        action: the command's name.
        yes: whether the user agreed already.

    Raises:
        Refused: nobody is there to ask.
        Declined: the user said no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{action} would {what}: give --yes to confirm")
    # click.confirm writes to stdout, where only the JSON document belongs.
    click.echo(
        click.wrap_text(f"This will {printable(what)}.", shutil.get_terminal_size().columns),
        err=True,
    )
    click.echo("Go on? [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    if answer.strip().lower() not in {"y", "yes"}:
        raise Declined("nothing was changed")


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a listing of a timeline's blobs amounts to."""

    frames: int = 0
    packs: int = 0
    overlays: int = 0
    blobs: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, timeline_id: str, blobs: Iterable[BlobInfo]) -> "_Contents":
        frames = packs = overlays = number = size_bytes = 0
        for blob in blobs:
            number += 1
            size_bytes += blob.size_bytes
            frames += keys.parse_frame(timeline_id, blob.key) is not None
            packs += keys.parse_pack(timeline_id, blob.key) is not None
            overlays += keys.parse_overlay(blob.key) is not None
        return cls(frames, packs, overlays, number, size_bytes)

    def in_words(self) -> str:
        """``250 frames, 12 overlays and 3 other blobs (7.9 MB)``."""
        rest = self.blobs - self.frames - self.packs - self.overlays
        numbers = {
            "frame": self.frames,
            "pack": self.packs,
            "overlay": self.overlays,
            "other blob": rest,
        }
        parts = [count(number, noun) for noun, number in numbers.items() if number]
        listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
        return f"{listed} ({size(self.size_bytes)})"


def _no_timeline(choice: Choice, timeline_id: str) -> NotCached:
    return NotCached(
        f"there is no timeline {timeline_id} in {choice.cache.url}; see {choice.command_line('ls')}"
    )


def _print_removal(choice: Choice, timeline_id: str, met: _Contents, removal: Removal) -> None:
    print_json(
        {
            "timeline_id": timeline_id,
            "url": choice.cache.url,
            "frames_removed": met.frames,
            "packs_removed": met.packs,
            "overlays_removed": met.overlays,
            "blobs_removed": removal.blobs,
            "bytes_removed": removal.size_bytes,
        }
    )
