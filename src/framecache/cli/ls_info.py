"""``framecache ls`` and ``framecache info``: show the contents of a cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self, get_args

import click

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.prices import Prices
from framecache._core.times import format_time
from framecache._estimate import Footprint
from framecache._index import Index, load_snapshot
from framecache._index.access_log import last_access
from framecache._overlays import StageCounts
from framecache._read import count_timestamp_decimals
from framecache._read.info import TimelineInfo, timeline_info
from framecache.cache import FrameCache
from framecache.cli import cost, timeline_output
from framecache.cli.errors import exit_code_of
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    complete_timeline,
    json_option,
    timelines_argument,
)
from framecache.cli.output import (
    format_size,
    is_quiet,
    print_fields,
    print_json,
    print_message,
    print_table,
    unwrap_single,
)
from framecache.cli.suggest import suggest_names
from framecache.errors import FrameCacheError, NotCached, StorePermissionDenied, StoreUnavailable
from framecache.model import Layout
from framecache.store import map_requests, path_of_url
from framecache.timeline import Timeline

_CONCURRENT_LOADS: Final = 32
_LONG_CHUNK_SECONDS: Final = 60
"""Length from which a chunk that cannot be divided into segments is pointed out."""

_Jobs = Mapping[str, Mapping[str, StageCounts]]
"""Counts of overlays, by job and stage."""
_Counts = Mapping[str, Mapping[str, int]]
"""One number about overlays, by job and stage."""


@click.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=complete_timeline)
@json_option
@cache_options
@click.pass_context
def ls(
    context: click.Context, *, choice: CacheSelection, patterns: tuple[str, ...], as_json: bool
) -> None:
    """List the timelines of the cache.

    PATTERN is a name in which * matches any characters, ? one character and [ab] one of these;
    quote it, so that the shell does not expand it. With --quiet, one name per line is printed.
    """
    names = _matching(choice, patterns)
    if is_quiet() and not as_json:
        for name in names:
            click.echo(name)
        return
    found = _load_all(choice.cache, names)
    infos = [one for one in found if isinstance(one, TimelineInfo)]
    failures = [one for one in found if isinstance(one, _LoadFailure)]
    if as_json:
        print_json(
            {
                "url": choice.cache.url,
                "timelines": [timeline_output.to_json(info) for info in infos],
                "failures": [
                    {"timeline_id": one.timeline_id, "message": str(one.error)} for one in failures
                ],
            }
        )
    elif infos:
        _print_timelines(infos)
    if not names and not as_json:
        print_message(_first_command_hint(choice))
    for one in failures:
        print_message(str(one.error))
    if failures:
        context.exit(exit_code_of(failures[0].error))


def _matching(choice: CacheSelection, patterns: Sequence[str]) -> list[str]:
    """Return the timelines of the cache that match any of the patterns; all without a pattern."""
    names = choice.cache.timelines()
    if not patterns:
        return names
    matching = [name for name in names if any(fnmatchcase(name, one) for one in patterns)]
    if not matching:
        wanted = " or ".join(repr(one) for one in patterns)
        hint = next(filter(None, (suggest_names(one, names) for one in patterns)), "")
        raise NotCached(
            f"no timeline of {choice.cache.store.display_name} matches {wanted}. {hint}".rstrip()
        )
    return matching


def _first_command_hint(choice: CacheSelection) -> str:
    url = choice.cache.url
    is_missing = url.startswith("file:") and not Path(path_of_url(url)).exists()
    what = f"there is no folder {path_of_url(url)}" if is_missing else f"no timeline is in {url}"
    return f"{what}; to create one: {choice.command_line('extract', 'my-video', 'video.mp4')}"


@click.command()
@timelines_argument(required=True)
@click.option(
    "--cost",
    "with_cost",
    is_flag=True,
    help="Show the costs on S3, for any store.",
)
@click.option(
    "--overlay-sizes",
    is_flag=True,
    help="Count overlays that differ in size from their frame, with one small request per overlay.",
)
@json_option
@cache_options
def info(
    *,
    choice: CacheSelection,
    timeline_ids: Sequence[str],
    with_cost: bool,
    overlay_sizes: bool,
    as_json: bool,
) -> None:
    """Show details of timelines.

    On Amazon S3, or if $FRAMECACHE_PRICES names a TOML file of prices, this includes the costs to
    keep, fill and read each timeline, and the number of requests in the other layout. With --json,
    one timeline is printed as one object, and several as {"timelines": [...]}.
    """
    with_cost = with_cost or cost.is_priced(choice.cache.store)
    prices = cost.load_prices() if with_cost else None
    known = [
        _TimelineDetails.of(choice, name, overlay_sizes=overlay_sizes) for name in timeline_ids
    ]
    if as_json:
        print_json(unwrap_single([one.to_json(prices) for one in known]))
        return
    for number, one in enumerate(known):
        if number:
            click.echo()
        one.show(prices)


@dataclass(frozen=True, slots=True)
class _TimelineDetails:
    """Everything that ``info`` shows about a timeline."""

    info: TimelineInfo
    index: Index
    jobs: _Jobs
    other_size: _Counts | None
    """Number of overlays per stage with another size than their frame; None if not requested."""
    used_at: datetime | None
    footprints: Sequence[Footprint]

    @classmethod
    def of(cls, choice: CacheSelection, timeline_id: str, *, overlay_sizes: bool) -> Self:
        timeline = choice.cache.timeline(timeline_id)
        found, jobs = timeline.info(), timeline.stages()
        if found.epoch is None and not found.exists and not jobs:
            raise NotCached(
                f"there is no timeline {timeline_id} in {choice.cache.store.display_name}: extract "
                f"it first, or see {choice.command_line('ls')}"
            )
        return cls(
            found,
            timeline.index,
            jobs,
            _count_other_sizes(timeline, jobs) if overlay_sizes else None,
            last_access(choice.cache.store, timeline_id),
            _footprints(timeline, found),
        )

    def to_json(self, prices: Prices | None) -> dict[str, Any]:
        cached = _count_cached_segments(self.info, self.index)
        chunks = [
            timeline_output.chunk_to_json(chunk, segments_cached=segments)
            for chunk, segments in zip(self.info.chunks, cached, strict=True)
        ]
        others = {} if self.other_size is None else {"overlays_of_other_size": self.other_size}
        return {
            **timeline_output.to_json(self.info),
            "last_used_at": self.used_at and self.used_at.isoformat(),
            "undecodable": timeline_output.undecodable_to_json(self.index),
            "chunks": chunks,
            "jobs": _count_by_stage(self.jobs, lambda counts: counts.overlay_count),
            "overlay_bytes": _count_by_stage(self.jobs, lambda counts: counts.size_bytes),
            **others,
            "cost": cost.to_json(self.footprints, prices) if prices and self.footprints else None,
        }

    def show(self, prices: Prices | None) -> None:
        click.echo(f"{self.info.timeline_id}: {timeline_output.format_status(self.info)}")
        print_fields(_fields(self.info, self.index, self.used_at))
        if prices and self.footprints:
            click.echo()
            click.echo("Cost:")
            own, *others = self.footprints
            print_fields(cost.footprint_fields(own, others[0] if others else None, prices))
        if self.info.chunks:
            click.echo()
            cached = _count_cached_segments(self.info, self.index)
            _print_chunks(self.info.chunks, cached, self.index)
        for chunk in self.info.chunks:
            if notes := [*chunk.timing.notes, *_segment_notes(chunk)]:
                click.echo(f"chunk {chunk.chunk_id}: {', '.join(notes)}")
        if self.jobs:
            click.echo()
            _print_jobs(self.jobs, self.other_size)


def _count_by_stage(jobs: _Jobs, number: Callable[[StageCounts], int]) -> _Counts:
    return {
        job_id: {stage: number(counts) for stage, counts in stages.items()}
        for job_id, stages in jobs.items()
    }


def _count_other_sizes(timeline: Timeline, jobs: _Jobs) -> _Counts:
    """Count the overlays of each stage of each job that have another size than their frame."""
    return {
        job_id: {
            stage: sum(map(len, timeline.overlays(job_id=job_id, stage=stage).misfits().values()))
            for stage in stages
        }
        for job_id, stages in jobs.items()
    }


def _print_jobs(jobs: _Jobs, other_size: _Counts | None) -> None:
    headers = ["job", "stage", "overlays", "size"]
    headers += ["of another size"] if other_size else []
    rows = [
        (
            *(job_id, stage, f"{counts.overlay_count:,}", format_size(counts.size_bytes)),
            *([f"{other_size[job_id][stage]:,}"] if other_size else []),
        )
        for job_id, stages in jobs.items()
        for stage, counts in stages.items()
    ]
    print_table(headers, rows, right=headers[2:])


@dataclass(frozen=True, slots=True)
class _LoadFailure:
    """Timeline that cannot be loaded, although its store answers."""

    timeline_id: str
    error: FrameCacheError


def _load_all(cache: FrameCache, names: Sequence[str]) -> list[TimelineInfo | _LoadFailure]:
    """Load timelines; return a failure in the place of each damaged one."""

    def look_up(timeline_id: str) -> TimelineInfo | _LoadFailure:
        try:
            # No rows are needed, so index files are not opened.
            snapshot = load_snapshot(cache.store, timeline_id, decode=Index.decode_lazy)
            return timeline_info(timeline_id, cache.url, snapshot)
        except (StorePermissionDenied, StoreUnavailable):
            raise
        except FrameCacheError as error:
            return _LoadFailure(timeline_id, error)

    return list(map_requests(look_up, names, cache.store, max_concurrent=_CONCURRENT_LOADS))


def _print_timelines(infos: Sequence[TimelineInfo]) -> None:
    rows = [
        (
            info.timeline_id,
            f"{info.frame_count:,}",
            format_time(info.duration_seconds),
            format_size(info.size_bytes),
            timeline_output.format_status(info),
        )
        for info in infos
    ]
    headers = ("timeline", "frames", "duration", "size", "state")
    print_table(headers, rows, right=("frames", "duration", "size"))


def _count_cached_segments(info: TimelineInfo, index: Index) -> list[int]:
    """Return the number of committed segments by chunk; if incomplete, of those with frames."""
    if info.complete:
        return [len(chunk.segment_starts) for chunk in info.chunks]
    starts = [[segment.first_sequence for segment in chunk.segments] for chunk in info.chunks]
    return [
        int((index.positions(sequences) >= 0).sum()) if chunk.frame_count else 0
        for chunk, sequences in zip(info.chunks, starts, strict=True)
    ]


def _segment_notes(chunk: ChunkEntry) -> list[str]:
    is_long = chunk.end - chunk.start > _LONG_CHUNK_SECONDS
    if chunk.is_divisible is False and is_long:
        return [
            f"one segment, because {chunk.codec} in {chunk.container} has no random access inside"
        ]
    return []


def _format_segments(chunk: ChunkEntry, cached: int) -> str:
    if cached in (0, len(chunk.segment_starts)):
        return "cached" if cached else "missing"
    return f"{cached:,} of {len(chunk.segment_starts):,} segments"


def _footprints(timeline: Timeline, info: TimelineInfo) -> list[Footprint]:
    """Return the footprint of the cached frames in their layout, then in the others if possible."""
    if not info.exists:
        return []
    own = timeline.footprint()
    if timeline.index.is_decoded_on_demand.any():  # the sizes of its JPEGs are not known
        return [own]
    others = [layout for layout in get_args(Layout) if layout != own.layout]
    return [own, *(timeline.footprint(layout) for layout in others if info.epoch)]


def _fields(info: TimelineInfo, index: Index, used_at: datetime | None) -> list[tuple[str, str]]:
    frames = f"{info.frame_count:,}"
    if info.frames_described > info.frame_count:
        frames += f" of {info.frames_described:,}"
    if info.width:
        frames += f", {info.width}×{info.height}"
    if info.pixel_aspect_ratio != 1:
        width, height = info.pixel_aspect_ratio.as_integer_ratio()
        frames += f", pixels {width}:{height}"
    facts = [
        ("store", info.url),
        ("frames", frames),
        ("duration", format_time(info.duration_seconds)),
        ("size", _format_average_size(info)),
    ]
    facts += [
        ("undecodable", f"{frames:,} × {reason}")
        for reason, frames in timeline_output.count_undecodable(index)
    ]
    if info.settings:
        facts.append(("settings", str(info.settings)))
    if info.chunks:
        facts.append(("video", _format_rates(info.chunks)))
    if used_at is not None:
        facts.append(("last used", f"{used_at.astimezone():%Y-%m-%d %H:%M}"))
    if info.epoch:
        facts.append(("epoch", f"{info.epoch}, manifest {info.version}"))
    return facts


def _format_rates(chunks: Sequence[ChunkEntry]) -> str:
    """Format the frame rate, as in ``25 frames/s``; the lowest and highest if chunks differ."""
    rates = [rate for chunk in chunks if (rate := timeline_output.frame_rate(chunk)) is not None]
    shown = list(dict.fromkeys(f"{rate:,.3f}".rstrip("0").rstrip(".") for rate in sorted(rates)))
    return f"{' to '.join(dict.fromkeys((shown[0], shown[-1])))} frames/s" if shown else "one frame"


def _format_average_size(info: TimelineInfo) -> str:
    pictures = info.frame_count - info.frames_undecodable
    if not pictures:
        return format_size(info.size_bytes)
    return f"{format_size(info.size_bytes)}, {format_size(info.size_bytes // pictures)} a frame"


def _print_chunks(chunks: Sequence[ChunkEntry], cached: Sequence[int], index: Index) -> None:
    starts = index.positions([chunk.first_sequence for chunk in chunks]).tolist()
    has_parts = any(_format_part(chunk) for chunk in chunks)
    rows = [
        (
            str(chunk.chunk_id),
            format_time(
                chunk.start, decimals=3 if start < 0 else count_timestamp_decimals(index, start)
            ),
            format_time(chunk.end),
            f"{chunk.frame_count:,}",
            f"{chunk.first_sequence:,}",
            chunk.codec,
            _format_segments(chunk, segments),
            *((_format_part(chunk),) if has_parts else ()),
            chunk.url,
        )
        for chunk, start, segments in zip(chunks, starts, cached, strict=True)
    ]
    part = ("part",) if has_parts else ()
    headers = ("chunk", "start", "end", "frames", "from", "codec", "state", *part, "url")
    print_table(headers, rows, right=("chunk", "start", "end", "frames", "from"))


def _format_part(chunk: ChunkEntry) -> str:
    """Format the part of the video that the timeline takes; empty if it takes all."""
    bounds = [chunk.trim_start, chunk.trim_stop]
    if bounds == [None, None]:
        return ""
    return "–".join("" if bound is None else format_time(bound) for bound in bounds)
