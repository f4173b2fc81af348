"""What there is: timelines, their frames, and where things change."""

import base64
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query

from framecache.errors import FrameCacheError, InvalidValue
from framecache.http import schema, views
from framecache.http.known import on_screen, position_of
from framecache.http.parameters import (
    MOST_SEQUENCES,
    Seconds,
    Sequence,
    TimelineId,
    Tolerance,
    WantsLatest,
)
from framecache.http.problems import documented, kind_of
from framecache.http.routes.overlays import jobs_of
from framecache.http.routes.sprites import sprite_size
from framecache.http.state import Serving
from framecache.index import Index
from framecache.instants import instant
from framecache.reader import FrameSource, read_fetched

router = APIRouter(prefix="/api", tags=["timelines"])

_EMBEDDED_BYTES: Final = 8 * 2**20
"""Of JPEGs on one page; at least one frame is on it."""
_MOST_FRAMES: Final = 1000
_NOT_FOUND: Final = documented(404, 409)

Number = Annotated[int | None, Query(ge=0, lt=MOST_SEQUENCES)]


@dataclass(frozen=True, slots=True)
class _Page:
    """Some rows of one index."""

    positions: npt.NDArray[np.int64]
    following: Any
    """Where the next page begins, an int or numpy's; None: there is none."""
    is_by_position: bool
    """Whether that is a position, else a sequence."""


@router.get("/timelines", responses=documented())
def list_timelines(
    service: Serving,
    q: Annotated[str, Query(max_length=128, description="A part of the id.")] = "",
    after: Annotated[str, Query(max_length=128, description="Ids that come later.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> schema.TimelinePage:
    """List timelines by their ids; one that cannot be opened is listed with its problem."""
    names = [name for name in service.cache.timelines() if q in name and name > after]
    page = names[:limit]
    found = zip(page, service.known.summed_up(page, views.summary), strict=True)
    return schema.TimelinePage(
        timelines=[
            views.unreadable(name, kind_of(one).detail) if isinstance(one, FrameCacheError) else one
            for name, one in found
        ],
        next=page[-1] if len(names) > limit else None,
    )


@router.get("/timelines/{timeline_id}", responses=_NOT_FOUND)
def get_timeline(
    service: Serving, timeline_id: TimelineId, *, wants_latest: WantsLatest
) -> schema.Detail:
    """All that is known of a timeline without reading a frame."""
    known = service.known.get(timeline_id)
    if wants_latest:
        known.look_again()
    jobs = jobs_of(service, timeline_id)
    source = known.source() if jobs else known.existing_source()
    size = sprite_size(known, source) if source.snapshot.exists else None
    return views.detail(timeline_id, source.snapshot, jobs=jobs, sprites=size)


@router.get("/timelines/{timeline_id}/overview", responses=_NOT_FOUND)
def get_overview(
    service: Serving,
    timeline_id: TimelineId,
    buckets: Annotated[int, Query(ge=1, le=4000)] = 1000,
) -> schema.Overview:
    """A timeline in few columns: where frames are missing, and where pictures change."""
    return service.known.get(timeline_id).derived(
        f"overview {buckets}", lambda snapshot: views.overview(snapshot.index, buckets)
    )


@router.get("/timelines/{timeline_id}/frames", responses=_NOT_FOUND)
def list_frames(
    service: Serving,
    timeline_id: TimelineId,
    *,
    start: Number = None,
    stop: Number = None,
    step: Annotated[int, Query(ge=1, lt=MOST_SEQUENCES)] = 1,
    limit: Annotated[int, Query(ge=1, le=_MOST_FRAMES)] = _MOST_FRAMES,
    position: Annotated[Number, Query(description="Instead of `start`: the first by rank.")] = None,
    count: Annotated[int, Query(ge=1, le=_MOST_FRAMES, description="With `position`.")] = 100,
    embed: Annotated[
        Literal["jpeg_b64"] | None, Query(description="Give pictures, not metadata.")
    ] = None,
) -> schema.FramePage | schema.EmbeddedPage:
    """Frames of a half-open range of sequences, or by position: a page of them."""
    if position is not None and (start is not None or stop is not None or step != 1):
        raise InvalidValue("a page begins at a position or at a sequence: both were given")
    known = service.known.get(timeline_id)

    def choose(index: Index) -> _Page:
        if position is not None:
            return _by_position(index, position, count)
        return _by_sequence(index, _in_range(index, start, stop, step), limit)

    if embed is not None:
        # The timeline may be another one when it is read: what is chosen is chosen there.
        with service.gates.pages.entered():
            return known.read(lambda source: _embedded(source, choose(source.snapshot.index)))
    index = known.snapshot().index
    page = choose(index)
    frames = [
        views.frame(row, place)
        for row, place in zip(index.rows(page.positions), page.positions.tolist(), strict=True)
    ]
    return schema.FramePage(frames=frames, next_start=_as_int(page.following))


@router.get("/timelines/{timeline_id}/at/{seconds}", responses=_NOT_FOUND)
def get_frame_at(
    service: Serving, timeline_id: TimelineId, seconds: Seconds, tolerance_seconds: Tolerance = None
) -> schema.FrameDetail:
    """The frame on screen at a time."""
    moment = instant(seconds, tolerance_seconds=tolerance_seconds)
    snapshot = service.known.get(timeline_id).snapshot()
    position = on_screen(snapshot, moment)
    return views.frame(snapshot.index.row(position), position)


@router.get("/timelines/{timeline_id}/frames/{sequence}", responses=_NOT_FOUND)
def get_frame(service: Serving, timeline_id: TimelineId, sequence: Sequence) -> schema.FrameDetail:
    """What the index knows of one frame."""
    index = service.known.get(timeline_id).snapshot().index
    position = position_of(index, sequence)
    return views.frame(index.row(position), position)


def _in_range(
    index: Index, start: int | None, stop: int | None, step: int
) -> npt.NDArray[np.int64]:
    """The rows of a half-open range, those without a picture included."""
    first = start if start is not None else int(index.sequence[0]) if len(index) else 0
    begin = int(np.searchsorted(index.sequence, first))
    end = len(index) if stop is None else int(np.searchsorted(index.sequence, stop))
    sequence = index.sequence[begin : max(begin, end)]
    return begin + np.flatnonzero((sequence - first) % step == 0)


def _by_position(index: Index, position: int, count: int) -> _Page:
    stop = min(position + count, len(index))
    following = stop if stop < len(index) else None
    return _Page(np.arange(min(position, stop), stop), following, is_by_position=True)


def _by_sequence(index: Index, chosen: npt.NDArray[np.int64], limit: int) -> _Page:
    following = index.sequence[chosen[limit]] if len(chosen) > limit else None
    return _Page(chosen[:limit], following, is_by_position=False)


def _embedded(source: FrameSource, page: _Page) -> schema.EmbeddedPage:
    index, following = source.snapshot.index, page.following
    shown = page.positions[index.is_ok[page.positions]]
    fitting = int(np.searchsorted(np.cumsum(index.size[shown]), _EMBEDDED_BYTES, side="right"))
    if len(shown) > 0 and fitting < len(shown):
        cut = max(1, fitting)
        if cut < len(shown):
            following = shown[cut] if page.is_by_position else index.sequence[shown[cut]]
            shown = shown[:cut]
    with closing(read_fetched(source, shown)) as fetched:
        frames = [
            schema.EmbeddedFrame(
                seq=one.row.sequence,
                timestamp=one.row.timestamp,
                jpeg_b64=base64.b64encode(one.jpeg()).decode(),
            )
            for one in fetched
        ]
    return schema.EmbeddedPage(frames=frames, next_start=_as_int(following))


def _as_int(value: Any) -> int | None:  # noqa: ANN401 -- an int, or numpy's
    return None if value is None else int(value)
