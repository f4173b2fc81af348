"""Pictures of frames: as they are stored, or smaller."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from framecache.errors import UndecodableFrame
from framecache.http.known import on_screen, position_of, version_of
from framecache.http.parameters import Seconds, Sequence, TimelineId, Version, Width
from framecache.http.pictures import IMMUTABLE, REVALIDATE, answer, etag_of, thumbnail
from framecache.http.problems import documented
from framecache.http.state import Service, Serving
from framecache.index import Snapshot
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

    def read(source: FrameSource) -> Response:
        position = position_of(source.snapshot.index, sequence)
        return _picture(request, service, source, position, width=width, v=v)

    return service.known.get(timeline_id).read(read)


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

    def read(source: FrameSource) -> Response:
        position = on_screen(source.snapshot, seconds)
        return _picture(request, service, source, position, width=width, v=v)

    return service.known.get(timeline_id).read(read)


def cache_control(snapshot: Snapshot, v: str | None) -> str:
    """For ever under the snapshot's own name; else it is asked each time."""
    return IMMUTABLE if v == version_of(snapshot) else REVALIDATE


def _picture(
    request: Request,
    service: Service,
    source: FrameSource,
    position: int,
    *,
    width: int | None,
    v: str | None,
) -> Response:
    row = source.snapshot.index.row(position)
    if row.status != "ok":
        raise UndecodableFrame(f"frame {row.sequence} has no picture")
    if width is not None and 0 < row.width <= width:
        width = None
    data = None if row.crc32c else source.jpeg(row)  # of another program's frame
    etag = etag_of(row, data, width=width)

    def body() -> bytes:
        stored = source.jpeg(row) if data is None else data
        if width is None:
            return stored
        with service.decodes.entered():
            return thumbnail(stored, width=width)

    return answer(
        request,
        media_type=JPEG,
        etag=etag,
        cache_control=cache_control(source.snapshot, v),
        body=body,
    )
