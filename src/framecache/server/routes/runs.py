"""Route of runs: pictures of consecutive frames with their overlays, for playback."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Response

from framecache._core import keys
from framecache._overlays import Overlays
from framecache._read import FrameSource, fetch_in_order, prefetch_map
from framecache.errors import InvalidValue
from framecache.server.image_responses import REVALIDATE
from framecache.server.parameters import SEQUENCE_LIMIT, TimelineId
from framecache.server.problem_details import openapi_responses
from framecache.server.routes.overlays import PNG
from framecache.server.routes.pictures import JPEG
from framecache.server.state import ServiceDep
from framecache.server.timeline_cache import CachedTimeline

router = APIRouter(prefix="/api/v1", tags=["pictures"])

_MULTIPART: Final = "multipart/form-data"
_MAX_FRAMES: Final = 250
_MAX_LAYERS: Final = 16
_MAX_RESPONSE_BYTES: Final = 16 * 2**20
"""Size of pictures at which a response ends; it contains at least one frame."""
_MAX_OVERLAY_READS: Final = 1000
"""Maximum number of overlay look-ups per response, successful or not."""
_MAX_OVERLAY_BYTES: Final = 4 * 2**20
"""Maximum size of an overlay; larger ones are skipped, because several are held in memory."""
_CONCURRENT_OVERLAYS: Final = 8
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = openapi_responses(404, 409) | {
    200: {"content": {_MULTIPART: {"schema": {"type": "string", "format": "binary"}}}}
}

_Layer = tuple[Overlays, str]
"""Overlays of a stage, and the name of one of them."""
_Part = tuple[str, str, bytes]
"""Path below the timeline's path, media type, and data."""


@router.get("/timelines/{timeline_id}/run", response_class=Response, responses=_RESPONSES)
def get_run(
    service: ServiceDep,
    timeline_id: TimelineId,
    position: Annotated[
        int, Query(ge=0, lt=SEQUENCE_LIMIT, description="Position of the first frame.")
    ] = 0,
    count: Annotated[int, Query(ge=1, le=_MAX_FRAMES)] = 50,
    overlay: Annotated[
        list[str] | None,
        Query(
            max_length=_MAX_LAYERS, description="`job/stage/name` of an overlay; may be repeated."
        ),
    ] = None,
) -> Response:
    """Return the pictures of consecutive frames, each with its overlays of the given names.

    Each part is named by its path below the timeline's path, such as `frames/30.jpg` or
    `overlays/run-7/edges/30/canny.png`, and contains the bytes stored there. A frame is included
    with all its overlays or not at all, except that overlays above 4 MiB are left out. Frames
    without a picture are skipped. A response ends at 16 MiB, or after 1,000 overlays were looked
    up: request the next one from the first frame that is missing.
    """
    known = service.timelines.get(timeline_id)
    layers = [_parse_layer(known, text) for text in overlay or ()]

    def read(source: FrameSource) -> Response:
        return _multipart(_limit_size(_iterate_frames(source, layers, position, count)))

    with service.work_limits.pages.slot():
        return known.read(read)


def _parse_layer(cached: CachedTimeline, text: str) -> _Layer:
    match text.split("/"):
        case [job_id, stage, name]:
            checked = keys.check_id(name, what="overlay name")
            return cached.timeline.overlays(job_id=job_id, stage=stage), checked
        case _:
            raise InvalidValue(f"overlay {text!r} is not job/stage/name")


def _iterate_frames(
    source: FrameSource, layers: list[_Layer], position: int, count: int
) -> Iterator[list[_Part]]:
    """Yield the parts of each frame that has a picture, in order."""
    index = source.snapshot.index
    chosen = np.arange(min(position, len(index)), min(position + count, len(index)))
    shown = chosen[index.is_ok[chosen]]
    if layers:
        shown = shown[: _MAX_OVERLAY_READS // len(layers)]
    sequences = index.sequence[shown].tolist()
    overlays = prefetch_map(
        lambda one: _load_overlay(*one),
        ((sequence, layer) for sequence in sequences for layer in layers),
        threads=_CONCURRENT_OVERLAYS,
        ahead=_CONCURRENT_OVERLAYS,
    )
    with closing(overlays), closing(fetch_in_order(source, shown)) as fetched:
        for sequence, one in zip(sequences, fetched, strict=True):
            drawn = [next(overlays) for _ in layers]
            if one.row.status != "undecodable":
                part = (f"frames/{sequence}.jpg", JPEG, one.jpeg())
                yield [part, *(overlay for overlay in drawn if overlay)]


def _load_overlay(sequence: int, layer: _Layer) -> _Part | None:
    stage, name = layer
    data = stage.load_one(sequence, name, most_bytes=_MAX_OVERLAY_BYTES)
    if data is None:
        return None
    return f"overlays/{stage.job_id}/{stage.stage}/{sequence}/{name}.png", PNG, data


def _limit_size(frames: Iterator[list[_Part]]) -> Iterator[_Part]:
    size_bytes = 0
    for parts in frames:
        size_bytes += sum(len(data) for _, _, data in parts)
        yield from parts
        if size_bytes >= _MAX_RESPONSE_BYTES:
            return


def _multipart(parts: Iterator[_Part]) -> Response:
    """Encode parts as multipart/form-data (RFC 7578).

    Names need no escaping, because ids contain no character that would require it.
    """
    boundary = secrets.token_hex(16)
    body = bytearray()
    for path, media_type, data in parts:
        body += (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{path}"; filename="{path}"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        ).encode()
        body += data
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Response(
        bytes(body),
        media_type=f"{_MULTIPART}; boundary={boundary}",
        headers={"Cache-Control": REVALIDATE},
    )
