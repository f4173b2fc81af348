"""What Prometheus reads of one service."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """Counts what one service does."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "framecache_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "framecache_http_request_seconds",
            "Time to the end of the answer; streams of events are not counted.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._bytes = Counter(
            "framecache_http_sent_bytes",
            "Bytes of bodies sent.",
            ("route",),
            registry=self._registry,
        )
        self._finished = Counter(
            "framecache_tasks_finished",
            "Tasks that ended.",
            ("kind", "state"),
            registry=self._registry,
        )

    def answered(
        self, *, method: str, route: str, status: int, seconds: float | None, sent_bytes: int
    ) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._bytes.labels(route).inc(sent_bytes)
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def finished(self, *, kind: str, state: str) -> None:
        """Count one task that ended."""
        self._finished.labels(kind, state).inc()

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Ask for a number whenever Prometheus does."""
        Gauge(f"framecache_{name}", what, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
