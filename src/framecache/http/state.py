"""What the routes of one service share."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from framecache.cache import FrameCache
from framecache.http.chunks import AllowedChunks
from framecache.http.gates import Gates
from framecache.http.known import KnownTimelines
from framecache.http.metrics import Metrics
from framecache.http.problems import too_many
from framecache.http.rates import Rate
from framecache.http.settings import ServiceSettings
from framecache.http.tasks import Tasks
from framecache.http.tokens import EVERYONE, Access
from framecache.http.work import Work


@dataclass(slots=True)
class Service:
    """One service: its cache, its settings, and what it holds in memory."""

    cache: FrameCache
    settings: ServiceSettings
    known: KnownTimelines = field(init=False)
    gates: Gates = field(init=False)
    metrics: Metrics = field(init=False)
    chunks: AllowedChunks = field(init=False)
    tasks: Tasks = field(init=False)
    _refusals: Rate = field(init=False)
    """Of wrong tokens, by address."""
    uploads: int = 0
    """Under way; counted on the event loop."""

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.gates = Gates.of(limits)
        self.known = KnownTimelines(self.cache, limits, self.gates)
        self.metrics = Metrics()
        self._refusals = Rate(
            per_second=limits.refusals_per_minute / 60, burst=limits.refusals_per_minute
        )
        self.metrics.watch("known_timelines", "Indexes held.", lambda: len(self.known))
        self.chunks = AllowedChunks(self.cache.url, self.settings.allowed_chunks)
        self.tasks = Tasks(
            self.cache.store,
            Work(self.cache, self.known, self.chunks),
            at_once=limits.tasks_at_once,
            waiting=limits.tasks_waiting,
            on_end=lambda task: self.metrics.finished(kind=task.kind, state=task.state),
        )

    def start(self) -> None:
        """Go on with the work that is left, unless this service only reads."""
        if not self.settings.read_only:
            self.tasks.start()

    def check_guesses(self, address: str) -> None:
        """Look at how many wrong tokens came from an address, before another is compared.

        Raises:
            Refusal: too many did.
        """
        if wait := self._refusals.wait(address):
            raise too_many("Too many wrong tokens came from here.", seconds=wait)

    def note_refusal(self, address: str) -> None:
        """Count a wrong token."""
        self._refusals.take(address)

    def stop(self) -> None:
        """End what would go on for ever."""
        self.tasks.stop()


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def access_of(request: Request) -> Access:
    """What the one who asks may do; the guard has put it there."""
    access = request.scope.get("framecache.access", EVERYONE)
    assert isinstance(access, Access)
    return access


Serving = Annotated[Service, Depends(_service)]
Accessing = Annotated[Access, Depends(access_of)]
