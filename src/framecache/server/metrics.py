"""Prometheus metrics of one service."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_DURATION_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """Registry of one service, and what it counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "framecache_http_requests",
            "Number of requests that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "framecache_http_request_seconds",
            "Time until a response ends, without event streams.",
            ("route",),
            buckets=_DURATION_BUCKETS,
            registry=self._registry,
        )
        self.sent_bytes = Counter(
            "framecache_http_sent_bytes",
            "Bytes of response bodies that were sent.",
            ("route",),
            registry=self._registry,
        )
        self.tasks = Counter(
            "framecache_tasks_finished",
            "Number of tasks that ended.",
            ("kind", "state"),
            registry=self._registry,
        )

    def add_gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a gauge that calls `read` at every scrape."""
        Gauge(f"framecache_{name}", description, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
