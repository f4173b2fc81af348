"""Routes of timelines, their frames, and their overviews."""

import base64
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query

from framecache._core.times import parse_time
from framecache._index import Index
from framecache._read import FrameSource, fetch_in_order
from framecache.errors import FrameCacheError, InvalidValue
from framecache.server import schema, serializers
from framecache.server.parameters import (
    SEQUENCE_LIMIT,
    Sequence,
    TimelineId,
    TimeText,
    Tolerance,
    WantsLatest,
)
from framecache.server.problem_details import openapi_responses, problem_type_of
from framecache.server.routes.overlays import jobs_of
from framecache.server.routes.sprites import sprite_size
from framecache.server.state import ServiceDep
from framecache.server.timeline_cache import position_at, position_of

router = APIRouter(prefix="/api/v1", tags=["timelines"])

_MAX_EMBEDDED_BYTES: Final = 8 * 2**20
"""Maximum total size of the JPEGs on one page; a page has at least one frame."""
_PIXELS_PER_BYTE: Final = 4
"""Pixels for which a JPEG that is yet to be encoded is taken to need a byte; most need less."""
_MAX_FRAMES: Final = 1000
_MAX_IDS: Final = 10_000
_NOT_FOUND: Final = openapi_responses(404, 409)

IdSubstring = Annotated[str, Query(max_length=128, description="Part of the id.")]
After = Annotated[str, Query(max_length=128, description="Return only ids after this one.")]
Number = Annotated[int | None, Query(ge=0, lt=SEQUENCE_LIMIT)]


@dataclass(frozen=True, slots=True)
class _Page:
    """Page of rows of an index."""

    positions: npt.NDArray[np.int64]
    next_start: Any
    """Start of the next page, as an int or a NumPy integer; None if this page is the last."""
    is_by_position: bool
    """True if ``following`` is a position, False if it is a sequence."""


@router.get("/timelines", responses=openapi_responses())
def list_timelines(
    service: ServiceDep,
    q: IdSubstring = "",
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> schema.TimelinePage:
    """List timelines in the order of their ids; unreadable ones are listed with the reason."""
    names = [name for name in service.timeline_ids.ids_after(after) if q in name]
    page = names[:limit]
    found = zip(page, service.timelines.summarize(page, serializers.summary), strict=True)
    return schema.TimelinePage(
        timelines=[
            serializers.unreadable_summary(name, problem_type_of(one).detail)
            if isinstance(one, FrameCacheError)
            else one
            for name, one in found
        ],
        next=page[-1] if len(names) > limit else None,
    )


@router.get("/timeline-ids", responses=openapi_responses())
def list_ids(
    service: ServiceDep,
    q: IdSubstring = "",
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_IDS)] = _MAX_IDS,
) -> schema.IdPage:
    """List only the ids of timelines, without reading any timeline."""
    ids = [one for one in service.timeline_ids.ids_after(after) if q in one]
    return schema.IdPage(ids=ids[:limit], next=ids[limit - 1] if len(ids) > limit else None)


@router.get("/timelines/{timeline_id}", responses=_NOT_FOUND)
def get_timeline(
    service: ServiceDep, timeline_id: TimelineId, *, wants_latest: WantsLatest
) -> schema.Detail:
    """Return the details of a timeline, without reading a frame."""
    known = service.timelines.get(timeline_id)
    if wants_latest:
        known.force_refresh()
    jobs = jobs_of(service, timeline_id)
    source = known.source() if jobs else known.existing_source()
    size = sprite_size(known, source) if source.snapshot.exists else None
    return serializers.detail(timeline_id, source.snapshot, jobs=jobs, sprites=size)


@router.get("/timelines/{timeline_id}/overview", responses=_NOT_FOUND)
def get_overview(
    service: ServiceDep,
    timeline_id: TimelineId,
    buckets: Annotated[int, Query(ge=1, le=4000)] = 1000,
) -> schema.Overview:
    """Return a summary of a timeline in columns: missing frames and changes of the picture."""
    return service.timelines.get(timeline_id).memoized(
        f"overview {buckets}", lambda snapshot: serializers.overview(snapshot.index, buckets)
    )


@router.get("/timelines/{timeline_id}/frames", responses=_NOT_FOUND)
def list_frames(
    service: ServiceDep,
    timeline_id: TimelineId,
    *,
    start: Number = None,
    stop: Number = None,
    step: Annotated[int, Query(ge=1, lt=SEQUENCE_LIMIT)] = 1,
    limit: Annotated[int, Query(ge=1, le=_MAX_FRAMES)] = _MAX_FRAMES,
    position: Annotated[
        Number, Query(description="Position of the first frame, instead of `start`.")
    ] = None,
    count: Annotated[
        int,
        Query(ge=1, le=_MAX_FRAMES, description="Maximum number of frames, with `position`."),
    ] = 100,
    embed: Annotated[
        Literal["jpeg_b64"] | None, Query(description="Return pictures instead of metadata.")
    ] = None,
) -> schema.FramePage | schema.EmbeddedPage:
    """Return a page of the frames in a half-open range of sequences or positions."""
    if position is not None and (start is not None or stop is not None or step != 1):
        raise InvalidValue("give either a position or a sequence to begin at, not both")
    known = service.timelines.get(timeline_id)

    def choose(index: Index) -> _Page:
        if position is not None:
            return _page_by_position(index, position, count)
        return _page_by_sequence(index, _rows_in_range(index, start, stop, step), limit)

    if embed is not None:
        # The timeline may change before it is read, so choose rows from the snapshot being read.
        with service.work_limits.pages.slot():
            return known.read(lambda source: _embedded_page(source, choose(source.snapshot.index)))
    index = known.snapshot().index
    page = choose(index)
    frames = [
        serializers.frame(row, place)
        for row, place in zip(index.rows(page.positions), page.positions.tolist(), strict=True)
    ]
    return schema.FramePage(frames=frames, next_start=_as_int(page.next_start))


@router.get("/timelines/{timeline_id}/at/{seconds}", responses=_NOT_FOUND)
def get_frame_at(
    service: ServiceDep,
    timeline_id: TimelineId,
    seconds: TimeText,
    tolerance_seconds: Tolerance = None,
) -> schema.FrameDetail:
    """Return the frame on screen at a time."""
    moment = parse_time(seconds, tolerance_seconds=tolerance_seconds)
    snapshot = service.timelines.get(timeline_id).snapshot()
    position = position_at(snapshot, moment)
    return serializers.frame(snapshot.index.row(position), position)


@router.get("/timelines/{timeline_id}/frames/{sequence}", responses=_NOT_FOUND)
def get_frame(
    service: ServiceDep, timeline_id: TimelineId, sequence: Sequence
) -> schema.FrameDetail:
    """Return the metadata of one frame."""
    index = service.timelines.get(timeline_id).snapshot().index
    position = position_of(index, sequence)
    return serializers.frame(index.row(position), position)


def _rows_in_range(
    index: Index, start: int | None, stop: int | None, step: int
) -> npt.NDArray[np.int64]:
    """Return the positions of a half-open range's rows, including rows without a picture."""
    first = start if start is not None else int(index.sequence[0]) if len(index) else 0
    begin = int(np.searchsorted(index.sequence, first))
    end = len(index) if stop is None else int(np.searchsorted(index.sequence, stop))
    sequence = index.sequence[begin : max(begin, end)]
    return begin + np.flatnonzero((sequence - first) % step == 0)


def _page_by_position(index: Index, position: int, count: int) -> _Page:
    stop = min(position + count, len(index))
    following = stop if stop < len(index) else None
    return _Page(np.arange(min(position, stop), stop), following, is_by_position=True)


def _page_by_sequence(index: Index, chosen: npt.NDArray[np.int64], limit: int) -> _Page:
    following = index.sequence[chosen[limit]] if len(chosen) > limit else None
    return _Page(chosen[:limit], following, is_by_position=False)


def _embedded_page(source: FrameSource, page: _Page) -> schema.EmbeddedPage:
    index, following = source.snapshot.index, page.next_start
    shown = page.positions[index.is_ok[page.positions]]
    sizes = _embedded_sizes(index)[shown]
    fitting = int(np.searchsorted(np.cumsum(sizes), _MAX_EMBEDDED_BYTES, side="right"))
    if len(shown) > 0 and fitting < len(shown):
        cut = max(1, fitting)
        if cut < len(shown):
            following = shown[cut] if page.is_by_position else index.sequence[shown[cut]]
            shown = shown[:cut]
    with closing(fetch_in_order(source, shown)) as fetched:
        frames = [
            schema.EmbeddedFrame(
                seq=one.row.sequence,
                timestamp=one.row.timestamp,
                jpeg_b64=base64.b64encode(one.jpeg()).decode(),
            )
            for one in fetched
            if one.row.status != "undecodable"
        ]
    return schema.EmbeddedPage(frames=frames, next_start=_as_int(following))


def _embedded_sizes(index: Index) -> npt.NDArray[np.int64]:
    """Return the sizes of the JPEGs in bytes; of those that are not stored, an upper estimate."""
    pixels = index.width.astype(np.int64) * index.height
    return np.where(index.is_decoded_on_demand, pixels // _PIXELS_PER_BYTE, index.size)


def _as_int(value: Any) -> int | None:  # noqa: ANN401 -- an int or a NumPy integer
    return None if value is None else int(value)
