"""``framecache extract`` and ``framecache rebuild``: from videos to cached frames."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import click

from framecache import sampling
from framecache.cli import describe
from framecache.cli.cost import prices_in_use
from framecache.cli.dry_run import show_plan
from framecache.cli.options import (
    Choice,
    aspect_option,
    cache_options,
    json_option,
    layout_option,
    sampling_options,
    timeline_argument,
    workers_option,
    yes_option,
)
from framecache.cli.progress import frames_progress
from framecache.cli.remove import ask
from framecache.cli.show import (
    count,
    elapsed,
    print_facts,
    print_json,
    printable,
    size,
)
from framecache.errors import BadChunk
from framecache.info import TimelineInfo
from framecache.instants import clock
from framecache.keys import timeline_prefix
from framecache.manifest import Settings
from framecache.model import Aspect, ExtractReport, JpegSettings, Layout, ProgressCallback
from framecache.timeline import Timeline

_DEFAULT_QUALITY: Final = JpegSettings().quality
_REASONS_SHOWN: Final = 3
_EXAMPLES: Final = """\b
Examples:
  framecache extract match-42 half1.mp4 half2.mp4 --fps 5 --dry-run
  framecache extract match-42 half1.mp4 half2.mp4 --fps 5
  framecache extract match-42 s3://media/overtime.mp4 --append
"""


@click.command(epilog=_EXAMPLES)
@timeline_argument
@click.argument("chunks", metavar="CHUNK...", nargs=-1, required=True, type=click.Path())
@sampling_options
@click.option(
    "--quality", type=int, metavar="1-100", help=f"JPEG quality.  [default: {_DEFAULT_QUALITY}]"
)
@aspect_option
@layout_option
@click.option("--append", is_flag=True, help="Add the chunks at the end, with the settings it has.")
@click.option("--dry-run", is_flag=True, help="Say what it would do and cost; store nothing.")
@workers_option
@json_option
@cache_options
@click.pass_context
def extract(
    context: click.Context,
    *,
    choice: Choice,
    timeline_id: str,
    chunks: Sequence[str],
    fps: str | None,
    every: int | None,
    keyframes: bool,
    quality: int | None,
    aspect: Aspect | None,
    layout: Layout | None,
    append: bool,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Cache the frames of a timeline's videos.

    CHUNK is a video: a path, or the URL of an object in any store. Several follow each other in
    time. Without a way of sampling, every frame is taken. What is cached already is left alone,
    so the same command can be repeated, and goes on where it was interrupted.

    With --dry-run the videos are looked at, a few frames of each are encoded to tell how large all
    would be, and nothing is stored. $FRAMECACHE_PRICES names a TOML file of other prices.
    """
    timeline = choice.cache.timeline(timeline_id)
    if append:
        _refuse_settings(context)
        do, plan = timeline.append, timeline.plan_append
    else:
        chosen: dict[str, Any] = {
            "fps": fps,
            "every": every,
            "keyframes": keyframes,
            "quality": _DEFAULT_QUALITY if quality is None else quality,
            "aspect": aspect or "stored",
            "layout": layout,
        }
        do, plan = partial(timeline.extract, **chosen), partial(timeline.plan_extract, **chosen)
    if dry_run:
        prices = prices_in_use()
        show_plan(plan(chunks, workers=workers), prices, as_json=as_json)
        return
    with _filling("extracting") as progress:
        report = do(chunks, workers=workers, progress=progress)
    _conclude(choice, timeline, report, as_json=as_json)


@click.command()
@timeline_argument
@sampling_options
@click.option("--quality", type=int, metavar="1-100", help="JPEG quality.  [default: as cached]")
@aspect_option
@layout_option
@workers_option
@yes_option
@json_option
@cache_options
def rebuild(
    *,
    choice: Choice,
    timeline_id: str,
    fps: str | None,
    every: int | None,
    keyframes: bool,
    quality: int | None,
    aspect: Aspect | None,
    layout: Layout | None,
    workers: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Discard a timeline's frames and extract its videos again.

    The videos are those it was extracted from; all are looked at before anything is discarded.
    Without options the settings stay as they are. Overlays stay.
    """
    timeline = choice.cache.timeline(timeline_id)
    by = sampling.choose(fps=fps, every=every, keyframes=keyframes)
    is_sampled = fps is not None or every is not None or keyframes
    info = timeline.info()
    if info.chunks and info.settings and info.exists:
        old = info.settings
        new = Settings(
            by if is_sampled else old.sampling,
            old.jpeg.changed(quality=quality, aspect=aspect),
            layout or old.layout,
        )
        ask(_rebuild_question(info, old, new), action="rebuild", yes=yes)
    with _filling("rebuilding") as progress:
        report = timeline.rebuild(
            fps=fps,
            every=every,
            keyframes=keyframes,
            quality=quality,
            aspect=aspect,
            layout=layout,
            workers=workers,
            progress=progress,
        )
    _conclude(choice, timeline, report, as_json=as_json)


def _refuse_settings(context: click.Context) -> None:
    given = [
        f"--{name}"
        for name in ("fps", "every", "quality", "aspect", "layout")
        if context.params[name] is not None
    ]
    given += ["--keyframes"] if context.params["keyframes"] else []
    if given:
        raise click.UsageError(
            f"--append takes the timeline's own settings: leave out {' and '.join(given)}.",
            context,
        )


def _rebuild_question(info: TimelineInfo, old: Settings, new: Settings) -> str:
    how = f"as before: {old}" if new == old else f"now {old}; then {new}"
    return (
        f"discard {count(info.frame_count, 'cached frame')} ({size(info.size_bytes)}) of timeline "
        f"{info.timeline_id} in {info.url} and extract its {count(len(info.chunks), 'chunk')} "
        f"again ({how})"
    )


@contextmanager
def _filling(title: str) -> Iterator[ProgressCallback | None]:
    try:
        with frames_progress(title) as progress:
            yield progress
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; finished chunks stay cached, and extracting again goes on from there"
        ) from None


def _conclude(choice: Choice, timeline: Timeline, report: ExtractReport, *, as_json: bool) -> None:
    """Say what an extraction did; one that gave no picture at all has failed."""
    info = timeline.info()
    reasons = describe.undecodable(timeline.index)
    if as_json:
        document = asdict(report) | {
            "url": info.url,
            "undecodable": describe.undecodable_to_json(timeline.index),
        }
        print_json(document)
    if info.frame_count == info.frames_undecodable and not report.frames_extracted:
        _refuse_without_pictures(choice, report, reasons)
    if not as_json:
        _print_report(choice, info, report)
    for timing in report.timing:
        warning = f"chunk {timing.chunk_id}: {', '.join(timing.notes)} ({timing.url})"
        click.echo(f"framecache: note: {printable(warning)}", err=True)
    if info.frames_undecodable:
        number = f"{info.frames_undecodable:,} of {count(info.frame_count, 'frame')}"
        warning = f"{number} could not be decoded and are passed over: {_in_words(reasons)}"
        click.echo(f"framecache: warning: {printable(warning)}", err=True)


def _refuse_without_pictures(
    choice: Choice, report: ExtractReport, reasons: Sequence[tuple[str, int]]
) -> None:
    what = (
        f"none of its {count(report.frame_count, 'frame')} could be decoded ({_in_words(reasons)})"
        if report.frame_count
        else "its videos gave no frame"
    )
    remove = choice.command_line("rm", report.timeline_id)
    raise BadChunk(
        f"timeline {report.timeline_id}: {what}; check the videos, then start again after: {remove}"
    )


def _in_words(reasons: Sequence[tuple[str, int]]) -> str:
    shown = [f"{frames:,} × {reason}" for reason, frames in reasons[:_REASONS_SHOWN]]
    more = len(reasons) - len(shown)
    return "; ".join(shown + ([f"and {count(more, 'other reason')}"] if more else []))


def _print_report(choice: Choice, info: TimelineInfo, report: ExtractReport) -> None:
    place = f"{info.url}/{timeline_prefix(info.timeline_id)}"
    click.echo(_headline(info, report))
    facts = [
        ("cached", _cached_in_words(info)),
        ("settings", str(info.settings)),
        ("place", place),
    ]
    if report.chunks_extracted:
        chunks = count(report.chunks_extracted, "chunk")
        if report.chunks_cached:
            chunks += f", {report.chunks_cached:,} more cached already"
        facts.insert(0, ("new", f"{size(report.bytes_stored)} from {chunks}"))
    print_facts(facts)
    click.echo("Try next:")
    for name, *arguments in (("info",), ("get", "0"), ("export", "frames")):
        click.echo(f"  {printable(choice.command_line(name, info.timeline_id, *arguments))}")


def _headline(info: TimelineInfo, report: ExtractReport) -> str:
    if not report.chunks_extracted:
        return f"{info.timeline_id}: already cached, nothing to do"
    rate = report.frames_extracted / report.seconds if report.seconds else 0.0
    return (
        f"{info.timeline_id}: {count(report.frames_extracted, 'frame')} extracted in "
        f"{elapsed(report.seconds)}, {rate:,.0f} frames/s"
    )


def _cached_in_words(info: TimelineInfo) -> str:
    return (
        f"{count(info.frame_count, 'frame')} of {info.width}×{info.height}, "
        f"{clock(info.duration_seconds)}, {size(info.size_bytes)}"
    )
