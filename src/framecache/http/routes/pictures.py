"""Pictures of frames: as they are stored, or smaller."""

from typing import Any, Final

import google_crc32c
from fastapi import APIRouter, Request, Response

from framecache.errors import Cleared, UndecodableFrame
from framecache.http.known import on_screen, position_of, version_of
from framecache.http.parameters import (
    Seconds,
    Sequence,
    TimelineId,
    Tolerance,
    Version,
    Width,
)
from framecache.http.pictures import (
    IMMUTABLE,
    REVALIDATE,
    Validity,
    answer,
    etag_of,
    thumbnail,
    unless_held,
)
from framecache.http.problems import documented
from framecache.http.state import Service, Serving
from framecache.index import Snapshot
from framecache.instants import instant
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
    tolerance_seconds: Tolerance = None,
    width: Width = None,
    v: Version = None,
) -> Response:
    """The picture of the frame on screen at a time."""
    moment = instant(seconds, tolerance_seconds=tolerance_seconds)

    def read(source: FrameSource) -> Response:
        position = on_screen(source.snapshot, moment)
        return _picture(request, service, source, position, width=width, v=v, is_at_time=True)

    return service.known.get(timeline_id).read(read)


def cache_control(snapshot: Snapshot, v: str | None) -> str:
    """For ever under the snapshot's own name; else it is asked each time.

    Of another program's frames nobody knows whether they stay the same.
    """
    is_kept = snapshot.description is not None and v == version_of(snapshot)
    return IMMUTABLE if is_kept else REVALIDATE


def _picture(
    request: Request,
    service: Service,
    source: FrameSource,
    position: int,
    *,
    width: int | None,
    v: str | None,
    is_at_time: bool = False,
) -> Response:
    row = source.snapshot.index.row(position)
    if row.status != "ok":
        raise UndecodableFrame(f"frame {row.sequence} has no picture")
    if width is not None and 0 < row.width <= width:
        width = None
    validity = Validity(
        etag_of(row.crc32c, row.size, width=width), cache_control(source.snapshot, v)
    )
    # Of another program's frame the row knows no checksum.
    if row.crc32c and (held := unless_held(request, validity)) is not None:
        return held
    fetched = source.fetch_one(row)
    if is_at_time and fetched.row.timestamp != row.timestamp:
        raise Cleared(f"frame {row.sequence} was replaced while it was read: look again")
    data = fetched.jpeg()
    crc32c = google_crc32c.value(data)
    if crc32c != row.crc32c:
        # It was stored anew, by another encoder or program, since the snapshot was taken.
        validity = Validity(etag_of(crc32c, len(data), width=width), REVALIDATE)
        if (held := unless_held(request, validity)) is not None:
            return held
    if width is not None:
        with service.gates.decodes.entered():
            data = thumbnail(data, width=width)
    return answer(request, data, media_type=JPEG, validity=validity)
