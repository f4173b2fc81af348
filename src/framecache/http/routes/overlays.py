"""Debug overlays: PNGs that the stages of jobs drew for frames."""

import base64
import hashlib
from contextlib import nullcontext
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from framecache.errors import NotCached
from framecache.http import schema
from framecache.http.parameters import ID, JobId, OverlayName, Sequence, Stage, TimelineId
from framecache.http.pictures import REVALIDATE, Validity, answer
from framecache.http.problems import Refusal, documented
from framecache.http.state import Service, Serving
from framecache.overlays import Overlays

router = APIRouter(prefix="/api/timelines/{timeline_id}/overlays", tags=["overlays"])

PNG: Final = "image/png"
_MOST_NAMES: Final = 100
_MOST_LOADED_BYTES: Final = 32 * 2**20
"""Of PNGs in one document."""
_PNG_SCHEMA: Final = {PNG: {"schema": {"type": "string", "format": "binary"}}}
_READING: Final = documented(404)
_WRITING: Final = documented(400, 409, 507)
_PICTURES: Final[dict[int | str, dict[str, Any]]] = documented(404, 416) | {
    200: {"content": _PNG_SCHEMA},
    206: {"description": "A part of it", "content": _PNG_SCHEMA},
    304: {"description": "The client has it"},
}
_PNG_BODY: Final = {"requestBody": {"required": True, "content": _PNG_SCHEMA}}

Encoded = Annotated[
    dict[Annotated[str, Body(pattern=ID)], str],
    Body(min_length=1, max_length=_MOST_NAMES, description="Base64 of PNGs, by name."),
]


@router.get("", responses=_READING)
def list_jobs(service: Serving, timeline_id: TimelineId) -> schema.Jobs:
    """What the stages of all jobs drew."""
    return jobs_of(service, timeline_id)


@router.get("/{job_id}/{stage}", responses=_READING, response_model_exclude_none=True)
def list_overlays(
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    *,
    sizes: Annotated[
        bool, Query(description="Tell of overlays of another size than their frame, too.")
    ] = False,
) -> schema.OverlayColumns:
    """Which frames one stage drew on."""
    drawn = _stage(service, timeline_id, job_id, stage)
    with service.gates.compares.entered() if sizes else nullcontext():
        found = drawn.listing(sizes=sizes)
    return schema.OverlayColumns(
        sequence=list(found.sequence),
        names=[list(names) for names in found.names],
        stale=list(found.stale),
        other_size=None if found.other_size is None else list(found.other_size),
    )


@router.delete("/{job_id}/{stage}", responses=documented())
def clear_overlays(
    service: Serving, timeline_id: TimelineId, job_id: JobId, stage: Stage
) -> schema.Removed:
    """Remove all overlays of a stage."""
    return schema.Removed(removed=_stage(service, timeline_id, job_id, stage).clear())


@router.get("/{job_id}/{stage}/compare", responses=_READING)
def compare_overlays(
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    *,
    job: Annotated[str, Query(pattern=ID, description="The other job.")],
    other: Annotated[str, Query(pattern=ID, alias="stage", description="Its stage.")],
    timeline: Annotated[
        str | None, Query(pattern=ID, description="Its timeline; this one if not given.")
    ] = None,
) -> schema.OverlayDifference:
    """Frames whose overlays differ between two stages, and which of them."""
    there = _stage(service, timeline or timeline_id, job, other)
    here = _stage(service, timeline_id, job_id, stage)
    with service.gates.compares.entered():
        differing = here.compare(there)
    return schema.OverlayDifference(
        sequence=list(differing), names=[list(names) for names in differing.values()]
    )


@router.get("/{job_id}/{stage}/{sequence}", responses=_READING)
def load_overlays(
    service: Serving, timeline_id: TimelineId, job_id: JobId, stage: Stage, sequence: Sequence
) -> dict[str, str]:
    """The overlays of one frame: base64 of PNGs, by name."""
    drawn = _stage(service, timeline_id, job_id, stage)
    size_bytes = drawn.sizes(sequence)
    if sum(size_bytes.values()) > _MOST_LOADED_BYTES:
        raise Refusal(413, "too_large", "These overlays are too large together: get each alone.")
    found = drawn.load_named(sequence, size_bytes)
    if not found:
        raise NotCached(f"frame {sequence} has no overlay")
    return {name: base64.b64encode(data).decode() for name, data in found.items()}


@router.put("/{job_id}/{stage}/{sequence}", status_code=204, responses=_WRITING)
def save_overlays(
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    overlays: Encoded,
) -> None:
    """Store overlays of one frame; those of the same names are replaced."""
    _stage(service, timeline_id, job_id, stage).save(sequence, overlays)


@router.delete("/{job_id}/{stage}/{sequence}", status_code=204, responses=documented())
def remove_overlays(
    service: Serving, timeline_id: TimelineId, job_id: JobId, stage: Stage, sequence: Sequence
) -> None:
    """Remove all overlays of one frame."""
    _stage(service, timeline_id, job_id, stage).remove(sequence)


@router.get("/{job_id}/{stage}/{sequence}/{name}.png", response_class=Response, responses=_PICTURES)
def get_overlay(
    request: Request,
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
) -> Response:
    """One overlay, as it was stored."""
    data = _stage(service, timeline_id, job_id, stage).load_one(sequence, name)
    if data is None:
        raise NotCached(f"frame {sequence} has no overlay {name}")
    digest = hashlib.sha256(data).hexdigest()[:32]
    return answer(request, data, media_type=PNG, validity=Validity(f'"{digest}"', REVALIDATE))


async def _png(request: Request) -> bytes:
    kind = request.headers.get("content-type", PNG).partition(";")[0].strip().lower()
    if kind != PNG:
        raise Refusal(415, "unsupported_media_type", "An overlay is image/png.")
    return await request.body()


@router.put(
    "/{job_id}/{stage}/{sequence}/{name}.png",
    status_code=204,
    responses=documented(400, 409, 415, 507),
    openapi_extra=_PNG_BODY,
)
def put_overlay(
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
    data: Annotated[bytes, Depends(_png)],
) -> None:
    """Store one overlay, replacing the one of that name."""
    _stage(service, timeline_id, job_id, stage).save(sequence, {name: data})


@router.delete("/{job_id}/{stage}/{sequence}/{name}.png", status_code=204, responses=documented())
def remove_overlay(
    service: Serving,
    timeline_id: TimelineId,
    job_id: JobId,
    stage: Stage,
    sequence: Sequence,
    name: OverlayName,
) -> None:
    """Remove one overlay."""
    _stage(service, timeline_id, job_id, stage).remove_one(sequence, name)


def jobs_of(service: Service, timeline_id: str) -> schema.Jobs:
    """What the stages of all jobs drew on a timeline."""
    known = service.known.get(timeline_id)
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


def _stage(service: Service, timeline_id: str, job_id: str, stage: str) -> Overlays:
    known = service.known.get(timeline_id)
    known.source()  # overlays are compared with the frames as they are now
    return known.timeline.overlays(job_id=job_id, stage=stage)
