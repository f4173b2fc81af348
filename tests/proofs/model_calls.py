"""The calls of framecache that operations of the model stand for."""

from collections.abc import Callable
from contextlib import suppress

from model_expected import clip, written_frame
from model_plain import (
    Append,
    Clear,
    Collect,
    Delete,
    Extract,
    LoseClaims,
    Operation,
    Rebuild,
    Repack,
    Repair,
    Write,
)

from framecache import NotCached, Timeline
from framecache._maintain.gc import plan_gc


def carry_out(
    operation: Operation, timeline: Timeline, lose_claims: Callable[[str], object]
) -> None:
    """Have an operation done.

    Args:
        operation: what is to be done.
        timeline: the one that it is done to, of the program that does it.
        lose_claims: removes every claim of the timeline of that id.
    """
    match operation:
        case Extract() | Append() | Rebuild():
            _extract(operation, timeline)
        case Write(frames, quality, layout, on_conflict):
            made = [written_frame(*one) for one in frames]
            timeline.write(made, quality=quality, layout=layout, on_conflict=on_conflict, workers=1)
        case Repack(layout):
            timeline.repack(layout, workers=1)
        case Repair():
            timeline.verify(repair=True, workers=1)
        case Collect():
            _collect(timeline)
        case Clear():
            timeline.clear()
        case Delete():
            timeline.delete()
        case LoseClaims():
            lose_claims(timeline.timeline_id)


def _extract(operation: Extract | Append | Rebuild, timeline: Timeline) -> None:
    match operation:
        case Extract(chunks, (every, quality), layout):
            clips = [clip(chunk) for chunk in chunks]
            timeline.extract(clips, every=every, quality=quality, layout=layout, workers=1)
        case Append(chunk):
            timeline.append(clip(chunk), workers=1)
        case Rebuild(None, layout):
            timeline.rebuild(layout=layout, workers=1)
        case Rebuild((every, quality), layout):
            timeline.rebuild(every=every or 1, quality=quality, layout=layout, workers=1)


def _collect(timeline: Timeline) -> None:
    with suppress(NotCached):
        plan = plan_gc(
            timeline._store,  # noqa: SLF001 -- the one it suffers from
            timelines=[timeline.timeline_id],
            grace_seconds=0,
            max_bytes=None,
            max_age_seconds=None,
        )
        plan.execute(max_share=1)
