"""Results of an invocation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framecache.errors import FrameCacheError


@dataclass(frozen=True, slots=True)
class TimelineReport:
    """Result of one invocation for one timeline. All numbers are those in the chunks' keys."""

    timeline_id: str
    appended: tuple[int, ...] = ()
    """Numbers of the chunks that are cached now and were pending before."""
    skipped: tuple[range, ...] = ()
    """Ranges of missing numbers before which no longer any chunk waits."""
    late: tuple[int, ...] = ()
    """Numbers of chunks that were not appended, with a report in the store."""
    waiting: int = 0
    """Number of chunks that wait for a missing one before them."""
    failures: Mapping[int, FrameCacheError] = field(default_factory=dict)
    """Errors of single chunks, by number."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        return {
            "timeline_id": self.timeline_id,
            "appended": list(self.appended),
            "skipped": [[one.start, one.stop] for one in self.skipped],
            "late": list(self.late),
            "waiting": self.waiting,
            "failures": {str(number): str(error) for number, error in self.failures.items()},
        }


@dataclass(frozen=True, slots=True)
class EventFailure:
    """Part of an event that was not processed."""

    error: Exception
    message_id: str | None = None
    """Id of its message in the queue; None if the event was delivered without a queue."""
    url: str | None = None
    """URL of the chunk; None if the event names none."""


@dataclass(frozen=True, slots=True)
class EventReport:
    """Result of one invocation."""

    is_from_queue: bool
    """True if the event holds messages of a queue."""
    timelines: tuple[TimelineReport, ...] = ()
    failures: tuple[EventFailure, ...] = ()

    def to_response(self) -> dict[str, Any]:
        """Return the response to Lambda.

        For messages of a queue, it names those that are to be delivered again, which needs the
        setting ``ReportBatchItemFailures`` of the event source mapping.

        Raises:
            FrameCacheError: the event was delivered without a queue, and a part of it failed.
        """
        if self.is_from_queue:
            failed = dict.fromkeys(one.message_id for one in self.failures)
            return {"batchItemFailures": [{"itemIdentifier": name} for name in failed if name]}
        if self.failures:
            raise self.failures[0].error
        return {"timelines": [report.to_json() for report in self.timelines]}
