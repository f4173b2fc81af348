"""State that the routes of one service share, and its FastAPI dependencies."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from framecache.cache import FrameCache
from framecache.server.chunk_allowlist import ChunkAllowlist
from framecache.server.client_limits import (
    Client,
    ConcurrencyLimit,
    RateLimiter,
    client_network,
)
from framecache.server.metrics import Metrics
from framecache.server.problem_details import too_many_requests
from framecache.server.settings import ServiceSettings
from framecache.server.task_runner import CacheTaskRunner
from framecache.server.tasks import TaskQueue
from framecache.server.timeline_cache import TimelineCache, TimelineIdCache
from framecache.server.work_limits import WorkLimits


@dataclass(slots=True)
class Service:
    """Cache, settings and in-memory state of one service."""

    cache: FrameCache
    settings: ServiceSettings
    timelines: TimelineCache = field(init=False)
    timeline_ids: TimelineIdCache = field(init=False)
    work_limits: WorkLimits = field(init=False)
    metrics: Metrics = field(init=False)
    chunks: ChunkAllowlist = field(init=False)
    tasks: TaskQueue = field(init=False)
    _auth_failures: RateLimiter = field(init=False)
    """Rate limit on wrong tokens per subscriber."""
    upload_limit: ConcurrencyLimit = field(init=False)

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.work_limits = WorkLimits.from_limits(limits)
        self.timelines = TimelineCache(self.cache, limits, self.work_limits)
        self.timeline_ids = TimelineIdCache(self.cache, limits)
        self.metrics = Metrics()
        self.upload_limit = ConcurrencyLimit(
            limits.uploads_at_once,
            "Too many uploads are in progress.",
            max_per_client=limits.uploads_of_one_client,
            retry_seconds=10,
        )
        self._auth_failures = RateLimiter(
            per_second=limits.auth_failures_per_minute / 60, burst=limits.auth_failures_per_minute
        )
        self.metrics.add_gauge(
            "known_timelines", "Number of indexes in memory.", lambda: len(self.timelines)
        )
        self.chunks = ChunkAllowlist(self.cache.url, self.settings.allowed_chunks)
        self.tasks = TaskQueue(
            self.cache.store,
            CacheTaskRunner(self.cache, self.timelines, self.chunks),
            worker_count=limits.tasks_at_once,
            max_queued=limits.tasks_waiting,
            on_end=lambda task: self.metrics.tasks.labels(task.kind, task.state).inc(),
        )

    def start(self) -> None:
        """Resume the remaining tasks, unless this service is read-only."""
        if not self.settings.read_only:
            self.tasks.start()

    def check_auth_failures(self, address: str) -> None:
        """Check the number of wrong tokens from a subscriber before another one is compared.

        Raises:
            ProblemError: there were too many.
        """
        if wait := self._auth_failures.retry_after(client_network(address)):
            raise too_many_requests("Too many wrong tokens from this address.", seconds=wait)

    def record_auth_failure(self, address: str) -> None:
        """Count a wrong token."""
        self._auth_failures.consume(client_network(address))

    def has_active_uploads(self) -> bool:
        """Return whether an upload is in progress, which leaves a lease if the process dies."""
        return len(self.upload_limit) > 0

    def stop(self) -> None:
        """Stop the tasks and the event streams, which would not end by themselves."""
        self.tasks.stop()


async def _service(request: Request) -> Service:  # on the event loop: FastAPI gives others a thread
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def _client(request: Request) -> Client:
    client = request.user
    assert isinstance(client, Client)
    return client


ServiceDep = Annotated[Service, Depends(_service)]
ClientDep = Annotated[Client, Depends(_client)]
"""Client to which a request is attributed."""
