"""``framecache extract`` and ``framecache rebuild``: cache the frames of videos."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from framecache._core.keys import timeline_prefix
from framecache._core.manifest import Settings
from framecache._core.times import format_time
from framecache._ingest.extract_arguments import settings_changer
from framecache._read.info import TimelineInfo
from framecache.cli import timeline_output
from framecache.cli.clear_rm import confirm
from framecache.cli.cost import load_prices
from framecache.cli.dry_run import show_plan
from framecache.cli.errors import Refused
from framecache.cli.extract_many import ENGINES, Engine, Fleet, extract_many, headline
from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import (
    CacheSelection,
    aspect_option,
    cache_options,
    chroma_option,
    given_options,
    json_option,
    layout_option,
    max_side_option,
    optional_timeline_argument,
    renditions_option,
    sampling_options,
    timeline_argument,
    workers_option,
    yes_option,
)
from framecache.cli.output import (
    format_count,
    format_size,
    is_quiet,
    print_fields,
    print_json,
    print_message,
)
from framecache.cli.progress import frames_progress
from framecache.cli.sentences import escape_unprintable
from framecache.cli.settings_remedy import RequestedSettings, remedy_command
from framecache.cli.suffixes import is_video_name
from framecache.cli.timelines_csv import read_timelines
from framecache.errors import SettingsConflict, UnreadableChunk
from framecache.model import (
    Aspect,
    Chroma,
    Chunk,
    ExtractReport,
    JpegSettings,
    Layout,
    ProgressCallback,
)
from framecache.timeline import Timeline

_DEFAULT_QUALITY: Final = JpegSettings().quality
_REASONS_SHOWN: Final = 3
_EXAMPLES: Final = """\b
Examples:
  framecache extract match-42 half1.mp4 half2.mp4 --fps 5 --dry-run
  framecache extract match-42 half1.mp4 half2.mp4 --fps 5
  framecache extract match-42 s3://media/overtime.mp4 --append
  framecache extract --from timelines.csv --engine ray --address 10.0.0.5:6379
"""


@click.command(epilog=_EXAMPLES)
@optional_timeline_argument
@click.argument("chunks", metavar="CHUNK...]", nargs=-1, type=click.Path())
@click.option(
    "--from",
    "listed",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Extract the timelines of a CSV file with the columns timeline_id, chunk and, if "
    "wanted, start_seconds, trim_start and trim_stop.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    help="Extract in this process, or as tasks of a Ray cluster.  [default: local]",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Ray cluster, or auto for that of this machine.  [default: $RAY_ADDRESS, else one is "
    "started]",
)
@click.option(
    "--start",
    "trim_start",
    metavar="TIME",
    help="Take only frames of CHUNK that begin at or after TIME, such as 90.5 or 1:30.5, by the "
    "video's own clock.",
)
@click.option(
    "--stop",
    "trim_stop",
    metavar="TIME",
    help="Take only frames of CHUNK that begin before TIME.",
)
@sampling_options
@click.option(
    "--quality", type=int, metavar="1-100", help=f"JPEG quality.  [default: {_DEFAULT_QUALITY}]"
)
@aspect_option
@max_side_option
@chroma_option
@renditions_option
@layout_option
@click.option("--append", is_flag=True, help="Append the chunks, with the timeline's settings.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be extracted and what it costs; store nothing."
)
@workers_option
@json_option
@cache_options
@click.pass_context
def extract(
    context: click.Context,
    *,
    choice: CacheSelection,
    timeline_id: str | None,
    chunks: Sequence[str],
    listed: Path | None,
    engine: Engine,
    address: str | None,
    trim_start: str | None,
    trim_stop: str | None,
    fps: str | None,
    every: int | None,
    keyframes: bool,
    quality: int | None,
    aspect: Aspect | None,
    max_side: int | None,
    chroma: Chroma | None,
    renditions: tuple[int, ...] | None,
    layout: Layout | None,
    append: bool,
    dry_run: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Cache the frames of a timeline's videos.

    CHUNK is a video: a path, or the URL of an object in any store. Give several in time order.
    Without a sampling option, every frame is extracted. What is already cached is
    skipped, so repeating an interrupted command continues it: at most the segments in work, of
    about 30 seconds each, are extracted again.

    With --dry-run the videos are scanned, a few frames of each are encoded to estimate the total
    size, and nothing is stored. $FRAMECACHE_PRICES names a TOML file with other prices.

    With --engine ray the tasks of the cluster are chunks, or segments of long ones; --workers is
    then the number of threads of a task, 1 by default. With that or --from, a line is printed for
    each timeline.
    """
    chosen: dict[str, Any] = {
        "fps": fps,
        "every": every,
        "keyframes": keyframes,
        "quality": _DEFAULT_QUALITY if quality is None else quality,
        "aspect": aspect or "stored",
        "max_side": max_side,
        "chroma": chroma or "420",
        "renditions": renditions,
        "layout": layout,
    }
    _check_engine(context)
    fleet = Fleet(engine, address, workers)
    if listed is not None:
        timelines = read_timelines(listed)
        extract_many(choice, timelines, chosen, fleet, as_json=as_json)
        return
    name = _require_timeline(context, choice, timeline_id, chunks)
    videos = [Chunk(chunk, trim_start=trim_start, trim_stop=trim_stop) for chunk in chunks]
    if engine == "ray":
        extract_many(choice, {name: videos}, chosen, fleet, as_json=as_json)
        return
    timeline = choice.cache.timeline(name)
    if append:
        _reject_settings(context)
        do, plan = timeline.append, timeline.plan_append
    else:
        do, plan = partial(timeline.extract, **chosen), partial(timeline.plan_extract, **chosen)
    try:
        if dry_run:
            prices = load_prices()
            show_plan(plan(videos, workers=workers), prices, as_json=as_json)
            return
        with _extraction_progress("extracting") as progress:
            report = do(videos, workers=workers, progress=progress)
    except SettingsConflict as error:
        asked = None if append else RequestedSettings.of(context.params)
        # The library's message may end in a command that is not for this cache.
        what, _, _ = str(error).partition(": framecache ")
        raise SettingsConflict(f"{what}{remedy_command(choice, timeline, asked)}") from error
    _print_outcome(choice, timeline, report, as_json=as_json)


@click.command()
@timeline_argument
@sampling_options
@click.option("--quality", type=int, metavar="1-100", help="JPEG quality.  [default: as cached]")
@aspect_option
@max_side_option
@chroma_option
@renditions_option
@layout_option
@workers_option
@yes_option
@json_option
@cache_options
def rebuild(
    *,
    choice: CacheSelection,
    timeline_id: str,
    fps: str | None,
    every: int | None,
    keyframes: bool,
    quality: int | None,
    aspect: Aspect | None,
    max_side: int | None,
    chroma: Chroma | None,
    renditions: tuple[int, ...] | None,
    layout: Layout | None,
    workers: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Discard a timeline's frames and extract its videos again.

    The videos are those it was extracted from; all are checked before anything is discarded.
    Without options, the settings do not change. Overlays stay.
    """
    timeline = choice.cache.timeline(timeline_id)
    wanted: dict[str, Any] = {
        "fps": fps,
        "every": every,
        "keyframes": keyframes,
        "quality": quality,
        "aspect": aspect,
        "max_side": max_side,
        "chroma": chroma,
        "renditions": renditions,
        "layout": layout,
    }
    change = settings_changer(**wanted)
    info = timeline.info()
    if info.chunks and info.settings and info.exists:
        old = info.settings
        confirm(_rebuild_question(info, old, change(old)), yes=yes)
    with _extraction_progress("rebuilding") as progress:
        report = timeline.rebuild(**wanted, workers=workers, progress=progress)
    _print_outcome(choice, timeline, report, as_json=as_json)


def _check_engine(context: click.Context) -> None:
    """Refuse options that are not for the engine, or not for many timelines."""
    given = context.params
    is_trimmed = given["trim_start"] is not None or given["trim_stop"] is not None
    if is_trimmed and len(given["chunks"]) != 1:
        raise click.UsageError(
            "--start and --stop are for one CHUNK; for several, append one at a time, or give "
            "--from a file with trim_start and trim_stop.",
            context,
        )
    if given["address"] is not None and given["engine"] != "ray":
        raise click.UsageError("--address is for --engine ray.", context)
    if given["listed"] is not None and (given["timeline_id"] is not None or given["chunks"]):
        raise click.UsageError("--from names the timelines: omit TIMELINE and CHUNK.", context)
    if given["listed"] is None and given["engine"] == "local":
        return
    for name, option in (("append", "--append"), ("dry_run", "--dry-run")):
        if given[name]:
            raise click.UsageError(
                f"{option} is for one timeline that this process extracts.", context
            )


def _require_timeline(
    context: click.Context, choice: CacheSelection, timeline_id: str | None, chunks: Sequence[str]
) -> str:
    """Return the timeline's name, if it and its videos were given."""
    if timeline_id is None:
        raise click.UsageError("Missing argument 'TIMELINE'.", context)
    _reject_video_as_name(context, choice, timeline_id, chunks)
    if not chunks:
        raise click.UsageError("Name at least one video after the timeline.", context)
    return timeline_id


def _reject_video_as_name(
    context: click.Context, choice: CacheSelection, timeline_id: str, chunks: Sequence[str]
) -> None:
    """Refuse a command line with a video in the place of the timeline's name."""
    if is_video_name(timeline_id):
        what, videos = "the file name of a video", (timeline_id, *chunks)
    elif _is_file(timeline_id):
        what, videos = "an existing file", tuple(chunks or [timeline_id])
    else:
        return
    example = choice.command_line("extract", "my-video", *videos, *given_options(context))
    raise Refused(
        f"the timeline's name comes before the videos, but {timeline_id!r} is {what}; give "
        f"the name first: {example}"
    )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # No file can have such a name. The error about the id explains the reason.
        return False


def _reject_settings(context: click.Context) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name in (
            "fps",
            "every",
            "quality",
            "aspect",
            "max_side",
            "chroma",
            "renditions",
            "layout",
        )
        if context.params[name] is not None
    ]
    given += ["--keyframes"] if context.params["keyframes"] else []
    if given:
        raise click.UsageError(
            f"--append uses the timeline's own settings: omit {' and '.join(given)}.",
            context,
        )


def _rebuild_question(info: TimelineInfo, old: Settings, new: Settings) -> str:
    now, then = old.describe(new), new.describe(old)
    how = f"as before: {old}" if new == old else f"now {now}; then {then}"
    return (
        f"discard {format_count(info.frame_count, 'cached frame')} "
        f"({format_size(info.size_bytes)}) of timeline {info.timeline_id} in {info.url} and "
        f"extract its {format_count(len(info.chunks), 'chunk')} again ({how})"
    )


@contextmanager
def _extraction_progress(title: str) -> Iterator[ProgressCallback | None]:
    outcome = "finished segments stay cached; extract again to continue"
    with add_interrupt_outcome(outcome), frames_progress(title) as progress:
        yield progress


def _print_outcome(
    choice: CacheSelection, timeline: Timeline, report: ExtractReport, *, as_json: bool
) -> None:
    """Print the result of an extraction; raise an error if it gave no picture at all."""
    info = timeline.info()
    reasons = timeline_output.count_undecodable(timeline.index)
    if as_json:
        document = asdict(report) | {
            "url": info.url,
            "undecodable": timeline_output.undecodable_to_json(timeline.index),
        }
        print_json(document)
    if info.frame_count == info.frames_undecodable and not report.frames_extracted:
        _raise_no_pictures(choice, report, reasons)
    if not (as_json or is_quiet()):
        _print_report(choice, info, report)
    for timing in () if is_quiet() else report.timing:
        note = f"chunk {timing.chunk_id}: {', '.join(timing.notes)} ({timing.url})"
        print_message(f"note: {note}")
    if info.frames_undecodable:
        number = f"{info.frames_undecodable:,} of {format_count(info.frame_count, 'frame')}"
        warning = f"{number} could not be decoded and were skipped: {_format_reasons(reasons)}"
        print_message(f"warning: {warning}")


def _raise_no_pictures(
    choice: CacheSelection, report: ExtractReport, reasons: Sequence[tuple[str, int]]
) -> None:
    what = (
        f"none of its {format_count(report.frame_count, 'frame')} could be decoded "
        f"({_format_reasons(reasons)})"
        if report.frame_count
        else "its videos contain no frames"
    )
    remove = choice.command_line("rm", report.timeline_id)
    raise UnreadableChunk(
        f"timeline {report.timeline_id}: {what}; check the videos, then start over with: {remove}"
    )


def _format_reasons(reasons: Sequence[tuple[str, int]]) -> str:
    shown = [f"{frames:,} × {reason}" for reason, frames in reasons[:_REASONS_SHOWN]]
    more = len(reasons) - len(shown)
    return "; ".join(shown + ([f"and {format_count(more, 'other reason')}"] if more else []))


def _print_report(choice: CacheSelection, info: TimelineInfo, report: ExtractReport) -> None:
    place = f"{info.url}/{timeline_prefix(info.timeline_id)}"
    click.echo(headline(report))
    facts = [
        ("cached", _format_cached(info)),
        ("settings", str(info.settings)),
        ("place", place),
    ]
    if report.chunks_extracted:
        chunks = format_count(report.chunks_extracted, "chunk")
        if report.segments_extracted > report.chunks_extracted:
            chunks = f"{format_count(report.segments_extracted, 'segment')} of {chunks}"
        if report.chunks_cached:
            chunks += f", {report.chunks_cached:,} more were already cached"
        facts.insert(0, ("new", f"{format_size(report.bytes_stored)} from {chunks}"))
    print_fields(facts)
    click.echo("Try next:")
    for name, *arguments in (("info",), ("get", "0"), ("export", "frames")):
        click.echo(
            f"  {escape_unprintable(choice.command_line(name, info.timeline_id, *arguments))}"
        )


def _format_cached(info: TimelineInfo) -> str:
    return (
        f"{format_count(info.frame_count, 'frame')} of {info.width}×{info.height}, "
        f"{format_time(info.duration_seconds)}, {format_size(info.size_bytes)}"
    )
