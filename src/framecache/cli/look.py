"""``framecache ls`` and ``framecache info``: what is in a cache."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, get_args

import click

from framecache.cache import FrameCache
from framecache.cli import cost, describe
from framecache.cli.failure import code_of
from framecache.cli.options import Choice, cache_options, json_option, timeline_argument
from framecache.cli.show import (
    print_facts,
    print_json,
    print_table,
    printable,
    size,
)
from framecache.errors import FrameCacheError, NotCached, StoreDenied, StoreUnavailable
from framecache.footprint import Footprint
from framecache.index import Index
from framecache.info import TimelineInfo
from framecache.instants import clock
from framecache.manifest import ChunkEntry
from framecache.model import Layout
from framecache.reader import telling_decimals
from framecache.timeline import Timeline

_CONCURRENT_LOOK_UPS: Final = 32

_Counts = Mapping[str, Mapping[str, int]]
"""Of overlays, by job and stage."""


@click.command()
@json_option
@cache_options
@click.pass_context
def ls(context: click.Context, *, choice: Choice, as_json: bool) -> None:
    """List the timelines of the cache."""
    found = _look_up_all(choice.cache)
    infos = [one for one in found if isinstance(one, TimelineInfo)]
    failures = [one for one in found if isinstance(one, _Failure)]
    if as_json:
        print_json(
            {
                "url": choice.cache.url,
                "timelines": [describe.to_json(info) for info in infos],
                "failures": [
                    {"timeline_id": one.timeline_id, "message": str(one.error)} for one in failures
                ],
            }
        )
    elif infos:
        _print_timelines(infos)
    elif not failures:
        hint = choice.command_line("extract", "my-video", "video.mp4")
        click.echo(f"no timelines in {printable(choice.cache.url)}; to make one: {hint}", err=True)
    for one in failures:
        click.echo(f"framecache: {printable(str(one.error))}", err=True)
    if failures:
        context.exit(code_of(failures[0].error))


@click.command()
@timeline_argument
@click.option(
    "--overlay-sizes",
    is_flag=True,
    help="Tell of overlays of another size than their frame, too: a small request an overlay.",
)
@json_option
@cache_options
def info(*, choice: Choice, timeline_id: str, overlay_sizes: bool, as_json: bool) -> None:
    """Show all that is known of a timeline.

    Also what it costs to keep, fill and read on S3, and how many requests it would take in the
    other layout. $FRAMECACHE_PRICES names a TOML file of other prices.
    """
    prices = cost.prices_in_use()
    timeline = choice.cache.timeline(timeline_id)
    known = timeline.info()
    index = timeline.index
    jobs = timeline.jobs()
    if known.epoch is None and not known.exists and not jobs:
        raise NotCached(
            f"there is no timeline {timeline_id} in {known.url}: extract it first, or see "
            f"{choice.command_line('ls')}"
        )
    cached = _cached_chunks(known, index)
    footprints = _footprints(timeline, known)
    other_size = _overlays_of_other_size(timeline, jobs) if overlay_sizes else None
    if as_json:
        chunks = [
            describe.chunk_to_json(chunk, is_cached=chunk.chunk_id in cached)
            for chunk in known.chunks
        ]
        document = describe.to_json(known) | {
            "undecodable": describe.undecodable_to_json(index),
            "chunks": chunks,
            "jobs": jobs,
            **({} if other_size is None else {"overlays_of_other_size": other_size}),
            "cost": cost.to_json(footprints, prices) if footprints else None,
        }
        print_json(document)
        return
    click.echo(f"{timeline_id}: {describe.state_in_words(known)}")
    print_facts(_facts(known, index))
    if footprints:
        click.echo()
        click.echo("Cost on S3, unless other prices are named:")
        own, *others = footprints
        print_facts(cost.footprint_facts(own, others[0] if others else None, prices))
    if known.chunks:
        click.echo()
        _print_chunks(known.chunks, cached, index)
    for chunk in known.chunks:
        if notes := chunk.timing.notes:
            click.echo(f"chunk {chunk.chunk_id}: {', '.join(notes)}")
    if jobs:
        click.echo()
        _print_jobs(jobs, other_size)


def _overlays_of_other_size(timeline: Timeline, jobs: _Counts) -> _Counts:
    """Count the overlays of each stage of each job that have another size than their frame."""
    return {
        job_id: {
            stage: sum(map(len, timeline.overlays(job_id=job_id, stage=stage).misfits().values()))
            for stage in stages
        }
        for job_id, stages in jobs.items()
    }


def _print_jobs(jobs: _Counts, other_size: _Counts | None) -> None:
    headers = ["job", "stage", "overlays", *(["of another size"] if other_size else [])]
    rows = [
        (job_id, stage, f"{count:,}", *([f"{other_size[job_id][stage]:,}"] if other_size else []))
        for job_id, stages in jobs.items()
        for stage, count in stages.items()
    ]
    print_table(headers, rows, right=headers[2:])


@dataclass(frozen=True, slots=True)
class _Failure:
    """A timeline that cannot be looked up, though its store answers."""

    timeline_id: str
    error: FrameCacheError


def _look_up_all(cache: FrameCache) -> list[TimelineInfo | _Failure]:
    """Every timeline of a cache, many at once; one that is damaged does not hide the others."""

    def look_up(timeline_id: str) -> TimelineInfo | _Failure:
        try:
            return cache.timeline(timeline_id).info()
        except (StoreDenied, StoreUnavailable):
            raise
        except FrameCacheError as error:
            return _Failure(timeline_id, error)

    names = cache.timelines()
    if not names:
        return []
    pool = ThreadPoolExecutor(min(_CONCURRENT_LOOK_UPS, len(names)))
    try:
        return list(pool.map(look_up, names))
    finally:
        pool.shutdown(cancel_futures=True)


def _print_timelines(infos: Sequence[TimelineInfo]) -> None:
    rows = [
        (
            info.timeline_id,
            f"{info.frame_count:,}",
            clock(info.duration_seconds),
            size(info.size_bytes),
            describe.state_in_words(info),
        )
        for info in infos
    ]
    headers = ("timeline", "frames", "duration", "size", "state")
    print_table(headers, rows, right=("frames", "duration", "size"))


def _cached_chunks(info: TimelineInfo, index: Index) -> set[int]:
    """The chunks that are committed; of a timeline that is not complete, those with frames."""
    if info.complete:
        return {chunk.chunk_id for chunk in info.chunks}
    return {int(chunk_id) for chunk_id in set(index.chunk_id.tolist())}


def _footprints(timeline: Timeline, info: TimelineInfo) -> list[Footprint]:
    """What the cached frames take in the layout they have, and then in the other if it can be."""
    if not info.exists:
        return []
    own = timeline.footprint()
    others = [layout for layout in get_args(Layout) if layout != own.layout]
    return [own, *(timeline.footprint(layout) for layout in others if info.epoch)]


def _facts(info: TimelineInfo, index: Index) -> list[tuple[str, str]]:
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
        ("duration", clock(info.duration_seconds)),
        ("size", _size_in_words(info)),
    ]
    facts += [
        ("undecodable", f"{frames:,} × {reason}") for reason, frames in describe.undecodable(index)
    ]
    if info.settings:
        facts.append(("settings", str(info.settings)))
    if info.epoch:
        facts.append(("epoch", f"{info.epoch}, description {info.version}"))
    return facts


def _size_in_words(info: TimelineInfo) -> str:
    pictures = info.frame_count - info.frames_undecodable
    if not pictures:
        return size(info.size_bytes)
    return f"{size(info.size_bytes)}, {size(info.size_bytes // pictures)} a frame"


def _print_chunks(chunks: Sequence[ChunkEntry], cached: set[int], index: Index) -> None:
    starts = index.positions([chunk.first_sequence for chunk in chunks]).tolist()
    rows = [
        (
            str(chunk.chunk_id),
            clock(chunk.start, decimals=3 if start < 0 else telling_decimals(index, start)),
            clock(chunk.end),
            f"{chunk.frame_count:,}",
            f"{chunk.first_sequence:,}",
            chunk.codec,
            "cached" if chunk.chunk_id in cached else "missing",
            chunk.url,
        )
        for chunk, start in zip(chunks, starts, strict=True)
    ]
    headers = ("chunk", "start", "end", "frames", "from", "codec", "state", "url")
    print_table(headers, rows, right=("chunk", "start", "end", "frames", "from"))
