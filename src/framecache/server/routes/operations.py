"""Routes that start and follow background tasks on timelines."""

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from framecache._core import keys
from framecache._index import current_manifest
from framecache._ingest.chunk_scans import check_chunk
from framecache._ingest.extract_arguments import settings_changer, settings_resolver
from framecache._media import video
from framecache.errors import CorruptFrame, InvalidValue, NotCached
from framecache.server import schema
from framecache.server.parameters import OverlayName, TimelineFilter, TimelineId
from framecache.server.problem_details import ProblemError, openapi_responses
from framecache.server.state import ClientDep, ServiceDep
from framecache.server.task_runner import manifest_chunk_urls
from framecache.server.uploads import store_upload
from framecache.store import Store

router = APIRouter(prefix="/api/v1", tags=["work"])

_TASK_RESPONSES: Final = openapi_responses(400, 404, 409, 507)
_DECODING_RESPONSES: Final = openapi_responses(400, 404, 409, 501, 507)
_MIN_EVENT_INTERVAL_SECONDS: Final = 0.2
"""Minimum time between two events of one task."""
TaskId = Annotated[
    str, Path(pattern=r"^[0-9]{8}T[0-9]{12}-[0-9a-f]{16}$", description="Id of a task.")
]


@router.post("/timelines/{timeline_id}/extract", status_code=202, responses=_DECODING_RESPONSES)
def extract(
    service: ServiceDep, timeline_id: TimelineId, asked: schema.ExtractionRequest
) -> schema.Task:
    """Extract a timeline from its chunks; cached chunks are skipped."""
    video.require_packages("extraction")
    settings_resolver(**asked.model_dump(exclude={"chunks", "append"}))  # raises what is wrong
    given = asked.given_settings
    if asked.append and given:
        raise InvalidValue(f"append uses the timeline's own settings: omit {' and '.join(given)}")
    arguments = asked.model_dump()
    for chunk in arguments["chunks"]:
        check_chunk(service.chunks.resolve_chunk(timeline_id, chunk))
    return service.tasks.add(timeline_id, "extract", arguments)


@router.put(
    "/timelines/{timeline_id}/uploads/{name}",
    status_code=201,
    responses=openapi_responses(400, 408, 409, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def upload(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    timeline_id: TimelineId,
    name: OverlayName,
) -> schema.Uploaded:
    """Upload a video, to be used as a chunk of an extraction."""
    limits = service.settings.limits
    keys.upload(timeline_id, name)
    if not limits.upload_bytes:
        raise ProblemError(403, "no_uploads", "This service does not accept uploads.")
    with service.upload_limit.slot(client):
        size_bytes = await store_upload(
            service.cache.store,
            timeline_id,
            name,
            request.stream().__aiter__(),
            pause_seconds=limits.upload_pause_seconds,
        )
    return schema.Uploaded(chunk=f"upload:{name}", size_bytes=size_bytes)


@router.post("/timelines/{timeline_id}/rebuild", status_code=202, responses=_DECODING_RESPONSES)
def rebuild(
    service: ServiceDep, timeline_id: TimelineId, asked: schema.RebuildRequest | None = None
) -> schema.Task:
    """Extract the timeline's chunks again; the given settings replace the cached ones."""
    video.require_packages("extraction")
    wanted = asked or schema.RebuildRequest()
    settings_changer(**wanted.model_dump())  # raises what is wrong
    description = service.timelines.get(timeline_id).snapshot().manifest
    if description is None or not description.chunks:
        raise NotCached(f"timeline {timeline_id} has no chunks to rebuild it from")
    service.chunks.check(timeline_id, [chunk.url for chunk in description.chunks])
    arguments = wanted.model_dump() | {"epoch": description.epoch}
    return service.tasks.add(timeline_id, "rebuild", arguments)


@router.post("/timelines/{timeline_id}/clear", status_code=202, responses=_TASK_RESPONSES)
def clear(service: ServiceDep, timeline_id: TimelineId) -> schema.Task:
    """Remove all cached frames; chunks, settings and overlays stay."""
    service.timelines.get(timeline_id).snapshot()
    # The cached snapshot may be a second old, and its epoch may have ended.
    description = current_manifest(service.cache.store, timeline_id)
    arguments = {"epoch": description.epoch if description else None}
    return service.tasks.add(timeline_id, "clear", arguments)


@router.post("/timelines/{timeline_id}/verify", status_code=202, responses=_DECODING_RESPONSES)
def verify(
    service: ServiceDep, timeline_id: TimelineId, asked: schema.VerificationRequest | None = None
) -> schema.Task:
    """Compare the frames with what was committed, and repair them if requested."""
    wanted = asked or schema.VerificationRequest()
    if wanted.deep or wanted.repair:
        video.require_packages("verification with deep or repair")
    _require_timeline(service.cache.store, timeline_id)
    service.chunks.check(timeline_id, manifest_chunk_urls(service.cache.store, timeline_id))
    return service.tasks.add(timeline_id, "verify", wanted.model_dump())


@router.delete("/timelines/{timeline_id}", status_code=202, responses=_TASK_RESPONSES)
def delete(service: ServiceDep, timeline_id: TimelineId) -> schema.Task:
    """Remove a timeline with its overlays; its chunks are never changed."""
    store = service.cache.store
    _require_timeline(store, timeline_id)
    epoch = None
    with suppress(CorruptFrame):  # a damaged timeline can be deleted, too
        description = current_manifest(store, timeline_id)
        epoch = description.epoch if description else None
    return service.tasks.add(timeline_id, "delete", {"epoch": epoch})


@router.get("/tasks", responses=openapi_responses())
def list_tasks(service: ServiceDep, timeline: TimelineFilter = None) -> schema.TaskList:
    """List the tasks that have not ended, and those that ended recently."""
    return schema.TaskList(tasks=service.tasks.list_tasks(timeline))


@router.get("/tasks/{task_id}", responses=openapi_responses(404))
def get_task(service: ServiceDep, task_id: TaskId) -> schema.Task:
    """Return the state and progress of a task."""
    return service.tasks.get(task_id)


@router.delete("/tasks/{task_id}", responses=openapi_responses(404))
def cancel_task(service: ServiceDep, task_id: TaskId) -> schema.Task:
    """Cancel a task; frames that it has committed stay."""
    return service.tasks.cancel(task_id)


@router.get("/events", response_class=EventSourceResponse, responses=openapi_responses())
async def listen(service: ServiceDep) -> AsyncIterable[ServerSentEvent]:
    """Send server-sent events: `task` for every task at first, then for each task that changes."""
    bell = asyncio.Event()
    tasks = service.tasks
    with tasks.subscribe(_threadsafe_notifier(bell)):
        revision = 0
        while not tasks.is_stopped:
            bell.clear()
            revision, changed = tasks.changed_since(revision)
            for task in changed:
                yield ServerSentEvent(event="task", data=task)
            await bell.wait()
            await asyncio.sleep(_MIN_EVENT_INTERVAL_SECONDS)


def _threadsafe_notifier(event: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def ring() -> None:
        if event.is_set():
            return  # the listener has not looked yet, and will find this change, too
        with suppress(RuntimeError):  # the loop has ended, so there is no listener
            loop.call_soon_threadsafe(event.set)

    return ring


def _require_timeline(store: Store, timeline_id: str) -> None:
    if next(iter(store.list(keys.timeline_prefix(timeline_id))), None) is None:
        raise NotCached(f"there is no timeline {timeline_id}")
