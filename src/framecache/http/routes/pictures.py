"""Pictures of frames: as they are stored, or smaller."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from framecache.errors import Cleared, UndecodableFrame
from framecache.http.known import KnownTimeline, version_of
from framecache.http.parameters import Seconds, Sequence, TimelineId, Version, Width
from framecache.http.pictures import IMMUTABLE, REVALIDATE, answer, etag_of, thumbnail
from framecache.http.problems import documented
from framecache.http.routes.timelines import on_screen, position_of
from framecache.http.state import Service, Serving
from framecache.index import FrameRow
from framecache.reader import FrameSource

router = APIRouter(prefix="/api", tags=["pictures"])

JPEG: Final = "image/jpeg"
PICTURES: Final[dict[int | str, dict[str, Any]]] = documented(404, 409, 416) | {
    200: {"content": {JPEG: {"schema": {"type": "string", "format": "binary"}}}},
    206: {
        "description": "A part of it",
        "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client has it"},
}


@router.get(
    "/timelines/{timeline_id}/frames/{sequence}.jpg", response_class=Response, responses=PICTURES
)
def get_picture(
    request: Request,
    service: Serving,
    timeline_id: TimelineId,
    sequence: Sequence,
    width: Width = None,
    v: Version = None,
) -> Response:
    """A frame's stored bytes, or a thumbnail."""
    known = service.known.get(timeline_id)
    index = known.snapshot().index
    row = index.row(position_of(index, sequence))
    return _picture(request, service, known, row, width=width, v=v)


@router.get(
    "/timelines/{timeline_id}/at/{seconds}.jpg", response_class=Response, responses=PICTURES
)
def get_picture_at(
    request: Request,
    service: Serving,
    timeline_id: TimelineId,
    seconds: Seconds,
    width: Width = None,
    v: Version = None,
) -> Response:
    """The picture of the frame on screen at a time."""
    known = service.known.get(timeline_id)
    snapshot = known.snapshot()
    row = snapshot.index.row(on_screen(snapshot, seconds))
    return _picture(request, service, known, row, width=width, v=v)


def cache_control(known: KnownTimeline, v: str | None) -> str:
    """For ever under the snapshot's own name; else it is asked each time."""
    return IMMUTABLE if v == version_of(known.snapshot()) else REVALIDATE


def _picture(
    request: Request,
    service: Service,
    known: KnownTimeline,
    row: FrameRow,
    *,
    width: int | None,
    v: str | None,
) -> Response:
    if row.status != "ok":
        raise UndecodableFrame(f"frame {row.sequence} has no picture")
    if width is not None and 0 < row.width <= width:
        width = None

    def read(source: FrameSource) -> bytes:
        index = source.snapshot.index
        position = index.position(row.sequence)
        if position is None or index.row(position) != row:
            raise Cleared(f"frame {row.sequence} is another by now")
        return source.jpeg(row)

    def body() -> bytes:
        data = known.read(read)
        if width is None:
            return data
        with service.decodes.entered():
            return thumbnail(data, width=width)

    etag = etag_of(row, width=width)
    if etag is None:
        data = known.read(read)
        etag = etag_of(row, data, width=width)
        assert etag is not None
    return answer(
        request,
        media_type=JPEG,
        etag=etag,
        cache_control=cache_control(known, v),
        body=body,
    )
