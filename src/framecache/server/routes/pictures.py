"""Routes of frame pictures: stored JPEGs and thumbnails."""

from typing import Any, Final

import google_crc32c
from fastapi import APIRouter, Request, Response

from framecache._core.times import parse_time
from framecache._index import Snapshot
from framecache._read import FrameSource
from framecache.errors import TimelineCleared, UndecodableFrame
from framecache.server.image_responses import (
    IMMUTABLE,
    REVALIDATE,
    cache_headers,
    content_response,
    etag_of,
    not_modified_response,
    thumbnail,
    thumbnail_size,
)
from framecache.server.parameters import (
    Sequence,
    TimelineId,
    TimeText,
    Tolerance,
    Version,
    Width,
)
from framecache.server.problem_details import openapi_responses
from framecache.server.state import Service, ServiceDep
from framecache.server.timeline_cache import position_at, position_of, version_of

router = APIRouter(prefix="/api/v1", tags=["pictures"])

JPEG: Final = "image/jpeg"
JPEG_RESPONSES: Final[dict[int | str, dict[str, Any]]] = openapi_responses(404, 409, 416) | {
    200: {"content": {JPEG: {"schema": {"type": "string", "format": "binary"}}}},
    206: {
        "description": "Partial content",
        "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "Not modified"},
}


@router.get(
    "/timelines/{timeline_id}/frames/{sequence}.jpg",
    response_class=Response,
    responses=JPEG_RESPONSES,
)
def get_picture(
    request: Request,
    service: ServiceDep,
    timeline_id: TimelineId,
    sequence: Sequence,
    width: Width = None,
    v: Version = None,
) -> Response:
    """Return the stored JPEG of a frame, or a thumbnail."""

    def read(source: FrameSource) -> Response:
        position = position_of(source.snapshot.index, sequence)
        return _picture_response(request, service, source, position, width=width, v=v)

    return service.timelines.get(timeline_id).read(read)


@router.get(
    "/timelines/{timeline_id}/at/{seconds}.jpg", response_class=Response, responses=JPEG_RESPONSES
)
def get_picture_at(
    request: Request,
    service: ServiceDep,
    timeline_id: TimelineId,
    seconds: TimeText,
    tolerance_seconds: Tolerance = None,
    width: Width = None,
    v: Version = None,
) -> Response:
    """Return the picture of the frame on screen at a time."""
    moment = parse_time(seconds, tolerance_seconds=tolerance_seconds)

    def read(source: FrameSource) -> Response:
        position = position_at(source.snapshot, moment)
        return _picture_response(
            request, service, source, position, width=width, v=v, is_at_time=True
        )

    return service.timelines.get(timeline_id).read(read)


def cache_control(snapshot: Snapshot, v: str | None) -> str:
    """Return the Cache-Control value: immutable for the snapshot's own version, else revalidate.

    Frames of another program, which have no manifest, may change and are always revalidated.
    """
    is_kept = v is not None and snapshot.manifest is not None and v == version_of(snapshot)
    return IMMUTABLE if is_kept else REVALIDATE


def _picture_response(
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
    if row.status == "undecodable":
        raise UndecodableFrame(f"frame {row.sequence} has no picture")
    if width is not None and 0 < row.width <= width:
        width = None
    if width is not None:
        source = source.for_size(max(thumbnail_size(row, width=width)))
        row = source.snapshot.index.row(position)
    headers = cache_headers(
        etag_of(row.crc32c, row.size, width=width), cache_control(source.snapshot, v)
    )
    # Rows of another program's frames have no checksum.
    if row.crc32c and (held := not_modified_response(request, headers)) is not None:
        return held
    fetched = source.fetch_frame(row)
    if is_at_time and fetched.row.timestamp != row.timestamp:
        raise TimelineCleared(f"frame {row.sequence} was replaced while it was read: try again")
    data = fetched.jpeg()
    crc32c = google_crc32c.value(data)
    if crc32c != row.crc32c:
        # Another encoder or program has replaced it since the snapshot was taken, or it was not
        # stored and is only known now.
        kept = cache_control(source.snapshot, v) if row.is_decoded_on_demand else REVALIDATE
        headers = cache_headers(etag_of(crc32c, len(data), width=width), kept)
        if (held := not_modified_response(request, headers)) is not None:
            return held
    if width is not None:
        with service.work_limits.decodes.slot():
            data = thumbnail(data, fetched.row, width=width)
    return content_response(request, data, media_type=JPEG, headers=headers)
