"""Sheets of small pictures, for scrubbing: a hundred frames or more a request."""

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from framecache.errors import NotCached
from framecache.http import schema
from framecache.http.known import KnownTimeline
from framecache.http.parameters import TimelineId, Version
from framecache.http.pictures import REVALIDATE, Validity, answer
from framecache.http.problems import documented
from framecache.http.routes.pictures import JPEG, PICTURES, cache_control
from framecache.http.state import Serving
from framecache.reader import FrameSource
from framecache.sprites import SpriteMap

router = APIRouter(prefix="/api/timelines/{timeline_id}", tags=["pictures"])

_MOST_SHEETS: Final = 10**9


@router.get("/sprites", responses=documented(404, 409))
def get_sprites(service: Serving, timeline_id: TimelineId) -> schema.SpriteMap:
    """Which frames each sheet shows."""
    known = service.known.get(timeline_id)
    found = known.sprites(known.existing_source()).map
    sheets = [
        schema.Sheet(
            first_position=sheet.first_position, count=sheet.count, chunk_id=sheet.chunk_id
        )
        for sheet in found.sheets
    ]
    return schema.SpriteMap(**_size(found).model_dump(), sheets=sheets)


@router.get("/sprites/{number}.jpg", response_class=Response, responses=PICTURES)
def get_sheet(
    request: Request,
    service: Serving,
    timeline_id: TimelineId,
    number: Annotated[int, Path(ge=0, lt=_MOST_SHEETS, description="A sheet.")],
    v: Version = None,
) -> Response:
    """One sheet; it is made when it is first asked for."""
    known = service.known.get(timeline_id)

    def read(source: FrameSource) -> Response:
        sprites = known.sprites(source)
        if number >= len(sprites.map.sheets):
            raise NotCached(f"there is no sheet {number}")
        sheet = sprites.found_or_made(number)
        digest = hashlib.sha256(sheet.jpeg).hexdigest()[:32]
        kept = cache_control(source.snapshot, v) if sheet.is_whole else REVALIDATE
        return answer(request, sheet.jpeg, media_type=JPEG, validity=Validity(f'"{digest}"', kept))

    return known.read(read)


def sprite_size(known: KnownTimeline, source: FrameSource) -> schema.SpriteSize | None:
    """The sheets of what a source reads of a timeline, if that is any frame."""
    found = known.sprites(source).map
    return _size(found) if found.sheets else None


def _size(found: SpriteMap) -> schema.SpriteSize:
    return schema.SpriteSize(
        sheet_count=len(found.sheets),
        columns=found.columns,
        rows=found.rows,
        tile_width=found.tile_width,
        tile_height=found.tile_height,
    )
