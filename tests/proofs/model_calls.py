"""The calls of framecache that operations of the model stand for."""

from collections.abc import Callable
from contextlib import suppress

from model_expected import RENDITION, chunk_url, written_frame
from model_plain import (
    AddRenditions,
    Append,
    Clear,
    Collect,
    Delete,
    DeleteLeases,
    Extract,
    Operation,
    Rebuild,
    Repack,
    Repair,
    Write,
)

from framecache import NotCached, Timeline
from framecache._maintain.gc import plan_gc


def execute(
    operation: Operation, timeline: Timeline, delete_leases: Callable[[str], object]
) -> None:
    """Execute an operation.

    Args:
        operation: the operation.
        timeline: its timeline, as a handle of the program that executes it.
        delete_leases: deletes every lease on the timeline with the given id.
    """
    match operation:
        case Extract() | Append() | Rebuild():
            _extract(operation, timeline)
        case Write(frames, quality, layout, on_conflict):
            made = [written_frame(*one) for one in frames]
            timeline.write(made, quality=quality, layout=layout, on_conflict=on_conflict, workers=1)
        case Repack(layout):
            timeline.repack(layout, workers=1)
        case AddRenditions():
            timeline.add_renditions([RENDITION], workers=1)
        case Repair():
            timeline.verify(repair=True, workers=1)
        case Collect():
            _collect(timeline)
        case Clear():
            timeline.clear()
        case Delete():
            timeline.delete()
        case DeleteLeases():
            delete_leases(timeline.timeline_id)


def _extract(operation: Extract | Append | Rebuild, timeline: Timeline) -> None:
    match operation:
        case Extract(chunks, (every, quality), layout):
            clips = [chunk_url(chunk) for chunk in chunks]
            timeline.extract(clips, every=every, quality=quality, layout=layout, workers=1)
        case Append(chunk):
            timeline.append(chunk_url(chunk), workers=1)
        case Rebuild(None, layout):
            timeline.rebuild(layout=layout, workers=1)
        case Rebuild((every, quality), layout):
            timeline.rebuild(every=every or 1, quality=quality, layout=layout, workers=1)


def _collect(timeline: Timeline) -> None:
    with suppress(NotCached):
        plan = plan_gc(
            timeline._store,  # noqa: SLF001 -- the store whose requests fail
            timelines=[timeline.timeline_id],
            grace_seconds=0,
            max_bytes=None,
            max_age_seconds=None,
        )
        plan.execute(max_share=1)
