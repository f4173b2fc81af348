"""Routes of debug overlays: PNGs that the stages of jobs drew for frames."""

import base64
import hashlib
from contextlib import nullcontext
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from framecache._overlays import Overlays
from framecache.errors import NotCached
from framecache.server import schema
from framecache.server.image_responses import REVALIDATE, cache_headers, image_response
from framecache.server.parameters import ID_REGEX, JobId, OverlayName, Sequence, Stage, TimelineId
from framecache.server.problem_details import ProblemError, openapi_responses
from framecache.server.state import Service, ServiceDep

router = APIRouter(prefix="/api/v1/timelines/{timeline_id}/overlays", tags=["overlays"])

PNG: Final = "image/png"
_MAX_NAMES: Final = 100
_MAX_LOADED_BYTES: Final = 32 * 2**20
"""Maximum total size of the PNGs in one JSON document."""
_PNG_SCHEMA: Final = {PNG: {"schema": {"type": "string", "format": "binary"}}}
_READ_RESPONSES: Final = openapi_responses(404)
_WRITE_RESPONSES: Final = openapi_responses(400, 409, 507)
_PNG_RESPONSES: Final[dict[int | str, dict[str, Any]]] = openapi_responses(404, 416) | {
    200: {"content": _PNG_SCHEMA},
    206: {"description": "Partial content", "content": _PNG_SCHEMA},
    304: {"description": "Not modified"},
}
_PNG_BODY: Final = {"requestBody": {"required": True, "content": _PNG_SCHEMA}}

EncodedPngs = Annotated[
    dict[Annotated[str, Body(pattern=ID_REGEX)], str],
    Body(min_length=1, max_length=_MAX_NAMES, description="Base64-encoded PNGs, by name."),
]


@router.get("", responses=_READ_RESPONSES)
def list_jobs(service: ServiceDep, timeline_id: TimelineId) -> schema.Jobs:
    """List the jobs on a timeline, with the overlay counts of each stage."""
    return jobs_of(service, timeline_id)


@router.get("/{job_id}/{stage}", responses=_READ_RESPONSES, response_model_exclude_none=True)
def list_overlays(
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    *,
    sizes: Annotated[
        bool, Query(description="Also report which overlays differ in size from their frame.")
    ] = False,
) -> schema.OverlayColumns:
    """List the frames that have an overlay of a stage."""
    drawn = _stage_overlays(service, timeline_id, job_id, stage)
    with service.work_limits.comparisons.slot() if sizes else nullcontext():
        found = drawn.listing(sizes=sizes)
    return schema.OverlayColumns(
        sequence=list(found.sequence),
        names=[list(names) for names in found.names],
        stale=list(found.stale),
        other_size=None if found.other_size is None else list(found.other_size),
    )


@router.delete("/{job_id}/{stage}", responses=openapi_responses())
def clear_overlays(
    service: ServiceDep, timeline_id: TimelineId, job_id: JobId, stage: Stage
) -> schema.Removed:
    """Remove all overlays of a stage."""
    return schema.Removed(removed=_stage_overlays(service, timeline_id, job_id, stage).clear())


@router.get("/{job_id}/{stage}/compare", responses=_READ_RESPONSES)
def compare_overlays(
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    *,
    job: Annotated[str, Query(pattern=ID_REGEX, description="Id of the other job.")],
    other: Annotated[
        str, Query(pattern=ID_REGEX, alias="stage", description="Name of the other job's stage.")
    ],
    timeline: Annotated[
        str | None,
        Query(pattern=ID_REGEX, description="Id of the other job's timeline; this one by default."),
    ] = None,
) -> schema.OverlayDifference:
    """List the frames whose overlays differ between two stages, with the names that differ."""
    there = _stage_overlays(service, timeline or timeline_id, job, other)
    here = _stage_overlays(service, timeline_id, job_id, stage)
    with service.work_limits.comparisons.slot():
        differing = here.compare(there)
    return schema.OverlayDifference(
        sequence=list(differing), names=[list(names) for names in differing.values()]
    )


@router.get("/{job_id}/{stage}/{sequence}", responses=_READ_RESPONSES)
def load_overlays(
    service: ServiceDep, timeline_id: TimelineId, job_id: JobId, stage: Stage, sequence: Sequence
) -> dict[str, str]:
    """Return the overlays of one frame: base64-encoded PNGs, by name."""
    drawn = _stage_overlays(service, timeline_id, job_id, stage)
    size_bytes = drawn.sizes(sequence)
    if sum(size_bytes.values()) > _MAX_LOADED_BYTES:
        raise ProblemError(
            413, "too_large", "These overlays are too large for one response: get them one by one."
        )
    found = drawn.load_named(sequence, size_bytes)
    if not found:
        raise NotCached(f"frame {sequence} has no overlay")
    return {name: base64.b64encode(data).decode() for name, data in found.items()}


@router.put("/{job_id}/{stage}/{sequence}", status_code=204, responses=_WRITE_RESPONSES)
def save_overlays(
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    overlays: EncodedPngs,
) -> None:
    """Store overlays of one frame; overlays with the same names are replaced."""
    _stage_overlays(service, timeline_id, job_id, stage).save(sequence, overlays)


@router.delete("/{job_id}/{stage}/{sequence}", status_code=204, responses=openapi_responses())
def remove_overlays(
    service: ServiceDep, timeline_id: TimelineId, job_id: JobId, stage: Stage, sequence: Sequence
) -> None:
    """Remove all overlays of one frame."""
    _stage_overlays(service, timeline_id, job_id, stage).remove(sequence)


@router.get(
    "/{job_id}/{stage}/{sequence}/{name}.png", response_class=Response, responses=_PNG_RESPONSES
)
def get_overlay(
    request: Request,
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
) -> Response:
    """Return one overlay, as it was stored."""
    data = _stage_overlays(service, timeline_id, job_id, stage).load_one(sequence, name)
    if data is None:
        raise NotCached(f"frame {sequence} has no overlay {name}")
    digest = hashlib.sha256(data).hexdigest()[:32]
    return image_response(
        request, data, media_type=PNG, headers=cache_headers(f'"{digest}"', REVALIDATE)
    )


async def _read_png(request: Request) -> bytes:
    kind = request.headers.get("content-type", PNG).partition(";")[0].strip().lower()
    if kind != PNG:
        raise ProblemError(415, "unsupported_media_type", "An overlay must be image/png.")
    return await request.body()


@router.put(
    "/{job_id}/{stage}/{sequence}/{name}.png",
    status_code=204,
    responses=openapi_responses(400, 409, 415, 507),
    openapi_extra=_PNG_BODY,
)
def put_overlay(
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
    data: Annotated[bytes, Depends(_read_png)],
) -> None:
    """Store one overlay; an overlay with the same name is replaced."""
    _stage_overlays(service, timeline_id, job_id, stage).save(sequence, {name: data})


@router.delete(
    "/{job_id}/{stage}/{sequence}/{name}.png", status_code=204, responses=openapi_responses()
)
def remove_overlay(
    service: ServiceDep,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
) -> None:
    """Remove one overlay."""
    _stage_overlays(service, timeline_id, job_id, stage).remove_one(sequence, name)


def jobs_of(service: Service, timeline_id: str) -> schema.Jobs:
    """Return the overlay counts of each stage of all jobs on a timeline."""
    known = service.timelines.get(timeline_id)
    known.source()
    return {
        job_id: {
            stage: schema.StageDetail(
                frame_count=counts.frame_count,
                names=dict(counts.names),
                stale_count=counts.stale_count,
            )
            for stage, counts in stages.items()
        }
        for job_id, stages in known.timeline.stages().items()
    }


def _stage_overlays(service: Service, timeline_id: str, job_id: str, stage: str) -> Overlays:
    known = service.timelines.get(timeline_id)
    known.source()  # overlays are compared with the current frames
    return known.timeline.overlays(job_id=job_id, stage=stage)
