"""Work on timelines: asked for here, done in the background."""

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from framecache import keys, sampling
from framecache.errors import CorruptFrame, InvalidValue, NotCached
from framecache.http import schema
from framecache.http.parameters import ChosenId, OverlayName, TimelineId
from framecache.http.problems import Refusal, documented, too_many
from framecache.http.state import Serving
from framecache.http.uploads import store_upload
from framecache.http.work import described_urls
from framecache.index import current_description
from framecache.store import Store

router = APIRouter(prefix="/api", tags=["work"])

_ACCEPTED: Final = documented(400, 404, 409, 507)
_EVENT_SECONDS: Final = 0.2
"""Between two events of one task, at least."""
TaskId = Annotated[str, Path(pattern=r"^[0-9]{8}T[0-9]{12}-[0-9a-f]{16}$", description="A task.")]


@router.post("/timelines/{timeline_id}/extract", status_code=202, responses=_ACCEPTED)
def extract(
    service: Serving, timeline_id: TimelineId, asked: schema.ExtractionRequest
) -> schema.Task:
    """Extract a timeline from its chunks; what is cached already is left alone."""
    by = sampling.choose(fps=asked.fps, every=asked.every, keyframes=asked.keyframes)
    if asked.append and by != sampling.EveryFrame():
        raise InvalidValue("an append has the timeline's own settings")
    for chunk in asked.chunks:
        service.chunks.url(timeline_id, chunk)
    return service.tasks.add(timeline_id, "extract", asked.model_dump())


@router.put(
    "/timelines/{timeline_id}/uploads/{name}",
    status_code=201,
    responses=documented(400, 408, 409, 507),
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
    request: Request, service: Serving, timeline_id: TimelineId, name: OverlayName
) -> schema.Uploaded:
    """Store a video that an extraction then names as a chunk."""
    limits = service.settings.limits
    keys.upload(timeline_id, name)
    if not limits.upload_bytes:
        raise Refusal(403, "no_uploads", "This service takes no uploads.")
    if service.uploads >= limits.uploads_at_once:
        raise too_many("Too many uploads are under way.", seconds=10)
    service.uploads += 1
    try:
        size_bytes = await store_upload(
            service.cache.store,
            timeline_id,
            name,
            request.stream().__aiter__(),
            pause_seconds=limits.upload_pause_seconds,
        )
    finally:
        service.uploads -= 1
    return schema.Uploaded(chunk=f"upload:{name}", size_bytes=size_bytes)


@router.post("/timelines/{timeline_id}/rebuild", status_code=202, responses=_ACCEPTED)
def rebuild(
    service: Serving, timeline_id: TimelineId, asked: schema.RebuildRequest | None = None
) -> schema.Task:
    """Extract the described chunks anew; what is given here replaces the cached settings."""
    wanted = asked or schema.RebuildRequest()
    sampling.choose(fps=wanted.fps, every=wanted.every, keyframes=wanted.keyframes)
    description = service.known.get(timeline_id).snapshot().description
    if description is None or not description.chunks:
        raise NotCached(f"timeline {timeline_id} has no chunks to rebuild it from")
    service.chunks.check(timeline_id, [chunk.url for chunk in description.chunks])
    arguments = wanted.model_dump() | {"epoch": description.epoch}
    return service.tasks.add(timeline_id, "rebuild", arguments)


@router.post("/timelines/{timeline_id}/clear", status_code=202, responses=_ACCEPTED)
def clear(service: Serving, timeline_id: TimelineId) -> schema.Task:
    """Remove all cached frames; chunks, settings and overlays stay."""
    service.known.get(timeline_id).snapshot()
    # What is known may be a second old, and its epoch over.
    description = current_description(service.cache.store, timeline_id)
    arguments = {"epoch": description.epoch if description else None}
    return service.tasks.add(timeline_id, "clear", arguments)


@router.post("/timelines/{timeline_id}/verify", status_code=202, responses=_ACCEPTED)
def verify(
    service: Serving, timeline_id: TimelineId, asked: schema.VerificationRequest | None = None
) -> schema.Task:
    """Compare the frames with what was committed, and repair them where that is asked for."""
    wanted = asked or schema.VerificationRequest()
    _require_blobs(service.cache.store, timeline_id)
    service.chunks.check(timeline_id, described_urls(service.cache.store, timeline_id))
    return service.tasks.add(timeline_id, "verify", wanted.model_dump())


@router.delete("/timelines/{timeline_id}", status_code=202, responses=_ACCEPTED)
def delete(service: Serving, timeline_id: TimelineId) -> schema.Task:
    """Remove everything of a timeline, overlays included; chunks are never touched."""
    store = service.cache.store
    _require_blobs(store, timeline_id)
    epoch = None
    with suppress(CorruptFrame):  # what is damaged can be deleted, too
        description = current_description(store, timeline_id)
        epoch = description.epoch if description else None
    return service.tasks.add(timeline_id, "delete", {"epoch": epoch})


@router.get("/tasks", responses=documented())
def list_tasks(service: Serving, timeline: ChosenId = None) -> schema.TaskList:
    """Tasks that have not ended, and those that ended lately."""
    return schema.TaskList(tasks=service.tasks.latest(timeline))


@router.get("/tasks/{task_id}", responses=documented(404))
def get_task(service: Serving, task_id: TaskId) -> schema.Task:
    """How far a task has come."""
    return service.tasks.get(task_id)


@router.delete("/tasks/{task_id}", responses=documented(404))
def cancel_task(service: Serving, task_id: TaskId) -> schema.Task:
    """Have a task go no further; what it has committed stays."""
    return service.tasks.cancel(task_id)


@router.get("/events", response_class=EventSourceResponse, responses=documented())
async def listen(service: Serving) -> AsyncIterable[ServerSentEvent]:
    """Server-sent events: `task`, with the task, whenever one changes; first all there are."""
    bell = asyncio.Event()
    tasks = service.tasks
    with tasks.listening(_ringing(bell)):
        revision = 0
        while not tasks.is_over:
            bell.clear()
            revision, changed = tasks.changed_since(revision)
            for task in changed:
                yield ServerSentEvent(event="task", data=task)
            await bell.wait()
            await asyncio.sleep(_EVENT_SECONDS)


def _ringing(bell: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def ring() -> None:
        if bell.is_set():
            return  # who listens has yet to look, and finds this change, too
        with suppress(RuntimeError):  # the loop has ended, and nobody listens
            loop.call_soon_threadsafe(bell.set)

    return ring


def _require_blobs(store: Store, timeline_id: str) -> None:
    if next(iter(store.list(keys.timeline_prefix(timeline_id))), None) is None:
        raise NotCached(f"there is no timeline {timeline_id}")
