"""``framecache extract --dry-run``: show the plan and the cost of an extraction."""

from typing import Any

import click

from framecache._core import sampling
from framecache._core.prices import Prices
from framecache._core.times import format_time
from framecache._estimate import ExtractPlan, PlannedChunk
from framecache.cli import cost
from framecache.cli.output import (
    format_count,
    format_size,
    print_fields,
    print_json,
    print_message,
    print_table,
)


def show_plan(plan: ExtractPlan, prices: Prices, *, as_json: bool) -> None:
    """Print the plan of an extraction."""
    if as_json:
        print_json(_to_json(plan, prices))
    else:
        click.echo(f"{plan.timeline_id}: {_headline(plan)}")
        print_fields(_fields(plan, prices))
        click.echo()
        _print_chunks(plan.chunks)
    for chunk in plan.chunks:
        if chunk.samples_undecodable:
            warning = (
                f"{chunk.samples_undecodable} of "
                f"{format_count(chunk.frames_sampled, 'sampled frame')} of {chunk.url} could not "
                "be decoded"
            )
            print_message(f"warning: {warning}")


def _headline(plan: ExtractPlan) -> str:
    if all(chunk.is_cached for chunk in plan.chunks):
        return "already cached, nothing to do"
    return f"{format_count(plan.frames_to_extract, 'frame')} would be extracted; nothing was stored"


def _fields(plan: ExtractPlan, prices: Prices) -> list[tuple[str, str]]:
    own = plan.footprints[plan.settings.layout]
    other = next(one for one in plan.footprints.values() if one is not own)
    cached = [chunk for chunk in plan.chunks if chunk.is_cached]
    is_new = len(cached) < len(plan.chunks)
    about = "about " if is_new else ""
    facts = [("store", plan.url), ("settings", str(plan.settings))]
    if is_new:
        sampled = sum(chunk.frames_sampled for chunk in plan.chunks)
        how = f"estimated from {format_count(sampled, 'frame')} that were encoded as samples"
        facts.append(("new", f"about {format_size(plan.bytes_to_store)}, {how}"))
    if cached:
        frames = format_count(sum(chunk.frame_count for chunk in cached), "frame")
        facts.append(("cached", f"{frames}, {format_size(sum(map(_stored_bytes, cached)))}"))
    facts.append(("as large as", _format_ratio(plan)))
    facts.append(("to extract", f"{about}{cost.format_requests(plan.requests, prices)}"))
    if is_new:
        facts.append(cost.storage_field(plan.bytes_to_store, prices))
    return [
        *facts,
        cost.reading_field(own, prices, about=about),
        cost.other_layout_field(own, other, about=about),
        cost.prices_field(prices),
    ]


def _format_ratio(plan: ExtractPlan) -> str:
    """Return the size of the cached frames relative to that of their videos."""
    jpeg_bytes = sum(map(_stored_bytes, plan.chunks))
    video_bytes = sum(chunk.video_bytes for chunk in plan.chunks)
    videos = "video" if len(plan.chunks) == 1 else "videos"
    return f"{jpeg_bytes / video_bytes:,.1f} × the {videos} ({format_size(video_bytes)})"


def _stored_bytes(chunk: PlannedChunk) -> int:
    return chunk.jpeg_bytes + chunk.rendition_bytes


def _print_chunks(chunks: tuple[PlannedChunk, ...]) -> None:
    rows = [
        (
            str(chunk.chunk_id),
            f"{chunk.frame_count:,}",
            format_time(chunk.duration_seconds),
            f"{chunk.width}×{chunk.height}",
            f"{'' if chunk.is_cached else 'about '}{format_size(_stored_bytes(chunk))}",
            _format_state(chunk),
            chunk.url,
        )
        for chunk in chunks
    ]
    headers = ("chunk", "frames", "duration", "pixels", "JPEGs", "state", "url")
    print_table(headers, rows, right=("chunk", "frames", "duration", "pixels", "JPEGs"))


def _format_state(chunk: PlannedChunk) -> str:
    if chunk.is_cached:
        return "cached"
    if chunk.segments_to_extract == chunk.segment_count:
        return "new"
    return f"{chunk.segments_to_extract:,} of {chunk.segment_count:,} segments new"


def _to_json(plan: ExtractPlan, prices: Prices) -> dict[str, Any]:
    return {
        "timeline_id": plan.timeline_id,
        "url": plan.url,
        "settings": {
            "sampling": sampling.to_json(plan.settings.sampling),
            "quality": plan.settings.jpeg.quality,
            "aspect": plan.settings.jpeg.aspect,
            "max_side": plan.settings.jpeg.max_side,
            "chroma": plan.settings.jpeg.chroma,
            "renditions": plan.settings.jpeg.renditions,
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
        "frames_to_extract": chunk.frames_to_extract,
        "segment_count": chunk.segment_count,
        "segments_to_extract": chunk.segments_to_extract,
        "duration_seconds": chunk.duration_seconds,
        "width": chunk.width,
        "height": chunk.height,
        "video_bytes": chunk.video_bytes,
        "jpeg_bytes": chunk.jpeg_bytes,
        "rendition_bytes": chunk.rendition_bytes,
        "frames_sampled": chunk.frames_sampled,
        "samples_undecodable": chunk.samples_undecodable,
    }
