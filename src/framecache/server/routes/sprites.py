"""Routes of sprite sheets for scrubbing: a hundred or more small pictures per request."""

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from framecache._read import FrameSource
from framecache._sprites import SpriteMap
from framecache.errors import NotCached
from framecache.server import schema
from framecache.server.image_responses import REVALIDATE, cache_headers, image_response
from framecache.server.parameters import TimelineId, Version
from framecache.server.problem_details import openapi_responses
from framecache.server.routes.pictures import JPEG, JPEG_RESPONSES, cache_control
from framecache.server.state import ServiceDep
from framecache.server.timeline_cache import CachedTimeline

router = APIRouter(prefix="/api/v1/timelines/{timeline_id}", tags=["pictures"])

_MAX_SHEETS: Final = 10**9


@router.get("/sprites", responses=openapi_responses(404, 409))
def get_sprites(service: ServiceDep, timeline_id: TimelineId) -> schema.SpriteDetail:
    """Return the map of the sprite sheets: the frames on each sheet."""
    known = service.timelines.get(timeline_id)
    found = known.sprites(known.existing_source()).map
    sheets = [
        schema.Sheet(
            first_position=sheet.first_position, count=sheet.count, chunk_id=sheet.chunk_id
        )
        for sheet in found.sheets
    ]
    return schema.SpriteDetail(**_size(found).model_dump(), sheets=sheets)


@router.get("/sprites/{number}.jpg", response_class=Response, responses=JPEG_RESPONSES)
def get_sheet(
    request: Request,
    service: ServiceDep,
    timeline_id: TimelineId,
    number: Annotated[int, Path(ge=0, lt=_MAX_SHEETS, description="Number of a sheet.")],
    v: Version = None,
) -> Response:
    """Return one sprite sheet; it is created on the first request."""
    known = service.timelines.get(timeline_id)

    def read(source: FrameSource) -> Response:
        sprites = known.sprites(source)
        if number >= len(sprites.map.sheets):
            raise NotCached(f"there is no sheet {number}")
        sheet = sprites.found_or_made(number)
        digest = hashlib.sha256(sheet.jpeg).hexdigest()[:32]
        kept = cache_control(source.snapshot, v) if sheet.is_complete else REVALIDATE
        return image_response(
            request, sheet.jpeg, media_type=JPEG, headers=cache_headers(f'"{digest}"', kept)
        )

    return known.read(read)


def sprite_size(cached: CachedTimeline, source: FrameSource) -> schema.SpriteSize | None:
    """Return the size of the sprite sheets of a source's frames, or None if it has no frames."""
    found = cached.sprites(source).map
    return _size(found) if found.sheets else None


def _size(found: SpriteMap) -> schema.SpriteSize:
    return schema.SpriteSize(
        sheet_count=len(found.sheets),
        columns=found.columns,
        rows=found.rows,
        tile_width=found.tile_width,
        tile_height=found.tile_height,
    )
