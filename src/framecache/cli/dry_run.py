"""``framecache extract --dry-run``: what an extraction would do and cost."""

from typing import Any

import click

from framecache import sampling
from framecache.cli import cost
from framecache.cli.show import count, print_facts, print_json, print_table, printable, size
from framecache.footprint import ExtractPlan, PlannedChunk
from framecache.instants import clock
from framecache.prices import Prices


def show_plan(plan: ExtractPlan, prices: Prices, *, as_json: bool) -> None:
    """Say what an extraction would do."""
    if as_json:
        print_json(_to_json(plan, prices))
    else:
        click.echo(f"{plan.timeline_id}: {_headline(plan)}")
        print_facts(_facts(plan, prices))
        click.echo()
        _print_chunks(plan.chunks)
    for chunk in plan.chunks:
        if chunk.samples_undecodable:
            warning = (
                f"{chunk.samples_undecodable} of {count(chunk.frames_sampled, 'sampled frame')} "
                f"of {chunk.url} could not be decoded"
            )
            click.echo(f"framecache: warning: {printable(warning)}", err=True)


def _headline(plan: ExtractPlan) -> str:
    if all(chunk.is_cached for chunk in plan.chunks):
        return "already cached, there would be nothing to do"
    return f"{count(plan.frames_to_extract, 'frame')} would be extracted; nothing was stored"


def _facts(plan: ExtractPlan, prices: Prices) -> list[tuple[str, str]]:
    own = plan.footprints[plan.settings.layout]
    (other,) = (one for one in plan.footprints.values() if one is not own)
    cached = [chunk for chunk in plan.chunks if chunk.is_cached]
    is_new = len(cached) < len(plan.chunks)
    about = "about " if is_new else ""
    facts = [("store", plan.url), ("settings", str(plan.settings))]
    if is_new:
        sampled = sum(chunk.frames_sampled for chunk in plan.chunks)
        how = f"estimated from {count(sampled, 'frame')} encoded just now"
        facts.append(("new", f"about {size(plan.bytes_to_store)}, {how}"))
    if cached:
        frames = count(sum(chunk.frame_count for chunk in cached), "frame")
        facts.append(("cached", f"{frames}, {size(sum(one.jpeg_bytes for one in cached))}"))
    facts.append(("to fill", f"{about}{cost.in_words(plan.requests, prices)}"))
    if is_new:
        facts.append(cost.storage_fact(plan.bytes_to_store, prices))
    return [
        *facts,
        cost.reading_fact(own, prices, about=about),
        cost.other_fact(own, other, about=about),
        cost.prices_fact(prices),
    ]


def _print_chunks(chunks: tuple[PlannedChunk, ...]) -> None:
    rows = [
        (
            str(chunk.chunk_id),
            f"{chunk.frame_count:,}",
            clock(chunk.duration_seconds),
            f"{chunk.width}×{chunk.height}",
            f"{'' if chunk.is_cached else 'about '}{size(chunk.jpeg_bytes)}",
            "cached" if chunk.is_cached else "new",
            chunk.url,
        )
        for chunk in chunks
    ]
    headers = ("chunk", "frames", "duration", "pixels", "JPEGs", "state", "url")
    print_table(headers, rows, right=("chunk", "frames", "duration", "pixels", "JPEGs"))


def _to_json(plan: ExtractPlan, prices: Prices) -> dict[str, Any]:
    return {
        "timeline_id": plan.timeline_id,
        "url": plan.url,
        "settings": {
            "sampling": sampling.to_json(plan.settings.sampling),
            "quality": plan.settings.jpeg.quality,
            "layout": plan.settings.layout,
        },
        "frames_to_extract": plan.frames_to_extract,
        "frame_count": plan.frame_count,
        "bytes_to_store": plan.bytes_to_store,
        "requests": cost.requests_to_json(plan.requests, prices),
        "dollars_a_month": float(prices.storage(plan.bytes_to_store)),
        "chunks": [_chunk_to_json(chunk) for chunk in plan.chunks],
        "cost": cost.to_json(list(plan.footprints.values()), prices),
    }


def _chunk_to_json(chunk: PlannedChunk) -> dict[str, Any]:
    return {
        "chunk_id": chunk.chunk_id,
        "url": chunk.url,
        "cached": chunk.is_cached,
        "frame_count": chunk.frame_count,
        "duration_seconds": chunk.duration_seconds,
        "width": chunk.width,
        "height": chunk.height,
        "jpeg_bytes": chunk.jpeg_bytes,
        "frames_sampled": chunk.frames_sampled,
        "samples_undecodable": chunk.samples_undecodable,
    }
