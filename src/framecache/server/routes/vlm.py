"""Route of clips for vision-language models."""

from contextlib import nullcontext
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query

from framecache._interop import vlm
from framecache._media.jpeg import MAX_SIDE
from framecache.errors import InvalidValue
from framecache.server import schema
from framecache.server.parameters import TimelineId
from framecache.server.problem_details import ProblemError, openapi_responses
from framecache.server.state import ServiceDep

router = APIRouter(prefix="/api/v1", tags=["pictures"])

_MAX_FRAMES: Final = 250
_MAX_JPEG_BYTES: Final = 16 * 2**20

_OptionalTime = Annotated[
    str | None,
    Query(
        max_length=80,
        description="Time on the timeline, such as `62.5` or `1:02.5`; by default that of the "
        "first frame, or the end.",
    ),
]


@router.get("/timelines/{timeline_id}/vlm", responses=openapi_responses(404, 409))
def get_vlm_clip(
    service: ServiceDep,
    timeline_id: TimelineId,
    *,
    start_seconds: _OptionalTime = None,
    stop_seconds: _OptionalTime = None,
    max_frames: Annotated[int, Query(ge=1, le=_MAX_FRAMES)] = 32,
    scale: Annotated[
        Literal["1", "0.5", "0.25", "0.125"],
        Query(description="`1` sends the stored bytes; others encode smaller JPEGs."),
    ] = "1",
    max_side: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_SIDE,
            description="Instead of `scale`: largest width and height in pixels.",
        ),
    ] = None,
    timing: Annotated[
        vlm.VlmTiming,
        Query(
            description="`indices` for receivers that divide frame indices by the rate, `rate` "
            "for those that only use the rate."
        ),
    ] = "indices",
    parts: Annotated[
        Literal["images", "video"],
        Query(description="One part of the message per frame, or one with all frames."),
    ] = "images",
) -> schema.VlmClip:
    """Return the frames that begin in a range of time, for a vision-language model.

    More than `max_frames` are thinned out evenly. At most 16 MiB of JPEGs are sent; a range with
    more is refused, as is one whose times the receiver would compute wrongly.
    """
    selection = vlm.VlmSelection.parse(
        start_seconds,
        stop_seconds,
        max_frames=max_frames,
        scale=float(scale),
        max_side=max_side,
        timing=timing,
    )
    is_stored = selection.decoding.is_original_size
    decodes = nullcontext() if is_stored else service.work_limits.decodes.slot()
    known = service.timelines.get(timeline_id)
    try:
        with service.work_limits.pages.slot(), decodes:
            clip = known.read(
                lambda source: vlm.make_clip(source, selection, max_bytes=_MAX_JPEG_BYTES)
            )
        content = clip.image_parts if parts == "images" else [clip.video_part]
    except InvalidValue as error:
        # It says which frames cannot be sent so, and names nothing internal.
        raise ProblemError(422, "invalid_value", str(error)) from error
    return schema.VlmClip(
        content=content,
        media_io_kwargs=clip.media_io_kwargs,
        sequences=list(clip.sequences),
        timestamps=list(clip.timestamps),
        fps=clip.fps,
        frames_indices=list(clip.frames_indices),
        total_num_frames=clip.total_num_frames,
        duration_seconds=clip.duration_seconds,
        origin_seconds=clip.origin_seconds,
    )
