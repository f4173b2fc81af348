"""Processing of one event: store its chunks as pending, then append what is next."""

import functools
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from framecache._core.optional_imports import require_extra
from framecache.aws_lambda.chunk_pattern import ArrivedChunk
from framecache.aws_lambda.deadline import Deadline
from framecache.aws_lambda.events import Notification, parse_event
from framecache.aws_lambda.reports import EventFailure, EventReport, TimelineReport
from framecache.aws_lambda.settings import LambdaSettings
from framecache.errors import FrameCacheError, InvalidValue, OutOfTime

if TYPE_CHECKING:
    from framecache.cache import FrameCache

_log: Final = logging.getLogger("framecache.aws_lambda")


class LambdaContext(Protocol):
    """Part of Lambda's context object that is used here."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the invocation."""
        ...


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ANN401 -- JSON of any kind
    """Append the chunks that an event names, and those that waited for them: entry point of Lambda.

    The cache is that of ``$FRAMECACHE_URL``, the settings are those of
    `LambdaSettings.from_environment`.

    Returns:
        For messages of SQS: the ids of those to deliver again. Otherwise: what was appended.

    Raises:
        InvalidValue: an environment variable is missing or invalid.
        FrameCacheError: the event was delivered without a queue, and a part of it failed.
    """
    cache, settings = _configuration()
    remaining_seconds = context.get_remaining_time_in_millis() / 1000
    report = process_event(
        event, cache=cache, settings=settings, remaining_seconds=remaining_seconds
    )
    return report.to_response()


def process_event(
    event: object, *, cache: "FrameCache", settings: LambdaSettings, remaining_seconds: float
) -> EventReport:
    """Append the chunks that an event names, and those that waited for them.

    An event of a schedule names none: then the pending chunks of all timelines are appended. Errors
    of one timeline or message do not affect the others; they are in the report, and logged.

    Args:
        event: object-created event of S3, delivered directly, by SQS or by EventBridge.
        cache: cache with the timelines; it also holds the pending chunks.
        settings: names of the chunks, and how they are extracted.
        remaining_seconds: time until the caller is ended; the work stops before.

    Raises:
        InvalidValue: a message of the queue has no id, so that it could not be reported.
        MissingPackage: a package of the extra ``extract`` is not installed.
    """
    require_extra("extract", needed_by="framecache.aws_lambda")
    deadline = Deadline(remaining_seconds, reserve_seconds=float(settings.reserve_seconds))
    notifications = parse_event(event)
    arrivals = [
        arrival
        for notification in notifications
        for arrival in _store_pending(notification, cache, settings)
    ]
    is_scheduled = any(notification.is_schedule for notification in notifications)
    reports, failures = _drain_all(arrivals, cache, settings, deadline, is_scheduled=is_scheduled)
    failures = [*(one for one in arrivals if isinstance(one, EventFailure)), *failures]
    for failure in failures:
        _log_failure(failure)
    return EventReport(
        is_from_queue=any(notification.message_id is not None for notification in notifications),
        timelines=tuple(reports),
        failures=tuple(failures),
    )


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Chunk that is stored as pending, and the message that named it."""

    chunk: ArrivedChunk
    message_id: str | None


@functools.cache
def _configuration() -> "tuple[FrameCache, LambdaSettings]":
    from framecache.cache import FrameCache  # noqa: PLC0415 -- importing this module is to be quick

    if not (os.environ.get("FRAMECACHE_URL") or os.environ.get("S3_BUCKET")):
        raise InvalidValue("$FRAMECACHE_URL is not set: give the URL of the cache, s3://…")
    return FrameCache(), LambdaSettings.from_environment()


def _store_pending(
    notification: Notification, cache: "FrameCache", settings: LambdaSettings
) -> Iterator[_Arrival | EventFailure]:
    """Yield the chunks of a notification, stored as pending, and the errors of the others."""
    from framecache.aws_lambda.pending import add_pending  # noqa: PLC0415 -- see _configuration
    from framecache.store import normalized_url  # noqa: PLC0415 -- same

    message_id = notification.message_id
    yield from (EventFailure(error, message_id) for error in notification.errors)
    for found in notification.objects:
        url = settings.pattern.url_of(found.bucket, found.key)
        try:
            chunk = settings.pattern.require(found.bucket, found.key)
            normalized_url(url)
            add_pending(cache.store, chunk)
        except Exception as error:  # noqa: BLE001 -- one message must not fail the others
            yield EventFailure(error, message_id, url)
        else:
            yield _Arrival(chunk, message_id)


def _drain_all(
    arrivals: Iterable[_Arrival | EventFailure],
    cache: "FrameCache",
    settings: LambdaSettings,
    deadline: Deadline,
    *,
    is_scheduled: bool,
) -> tuple[list[TimelineReport], list[EventFailure]]:
    from framecache.aws_lambda.pending import list_timelines  # noqa: PLC0415 -- see _configuration

    by_timeline: dict[str, list[_Arrival]] = {}
    for arrival in arrivals:
        if isinstance(arrival, _Arrival):
            by_timeline.setdefault(arrival.chunk.timeline_id, []).append(arrival)
    if is_scheduled:
        for timeline_id in list_timelines(cache.store):
            by_timeline.setdefault(timeline_id, [])
    reports: list[TimelineReport] = []
    failures: list[EventFailure] = []
    for timeline_id, own in by_timeline.items():
        found = _drain(timeline_id, own, cache, settings, deadline, is_scheduled=is_scheduled)
        reports += [found] if isinstance(found, TimelineReport) else []
        failures += _failures_of(found, own, is_scheduled=is_scheduled)
    return reports, failures


def _drain(
    timeline_id: str,
    own: Iterable[_Arrival],
    cache: "FrameCache",
    settings: LambdaSettings,
    deadline: Deadline,
    *,
    is_scheduled: bool,
) -> TimelineReport | Exception:
    """Append the pending chunks of one timeline; return the error if that fails as a whole."""
    from framecache.aws_lambda.drain import TimelineDrain  # noqa: PLC0415 -- see _configuration

    try:
        deadline.check()
        return TimelineDrain(
            cache.store,
            timeline_id,
            settings,
            deadline,
            own={arrival.chunk.number: arrival.chunk for arrival in own},
            elsewhere="wait" if is_scheduled else "skip",
            workers=settings.workers or len(os.sched_getaffinity(0)),
        ).run()
    except Exception as error:  # noqa: BLE001 -- one timeline must not fail the others
        return error


def _failures_of(
    found: TimelineReport | Exception, own: Iterable[_Arrival], *, is_scheduled: bool
) -> Iterator[EventFailure]:
    """Yield the failures of the event's chunks; after a schedule, those of all chunks."""
    if isinstance(found, Exception):
        yield from (EventFailure(found, one.message_id, one.chunk.url) for one in own)
        if is_scheduled:
            yield EventFailure(found)
        return
    for one in own:
        error = found.failures.get(one.chunk.number)
        if error is not None:
            yield EventFailure(error, one.message_id, one.chunk.url)
    if is_scheduled:
        numbers = {one.chunk.number for one in own}
        others = (error for number, error in found.failures.items() if number not in numbers)
        yield from (EventFailure(error) for error in others)


def _log_failure(failure: EventFailure) -> None:
    is_expected = isinstance(failure.error, FrameCacheError)
    _log.log(
        logging.WARNING if isinstance(failure.error, OutOfTime) else logging.ERROR,
        "%s: %s",
        *(type(failure.error).__name__, failure.error),
        exc_info=None if is_expected else failure.error,
    )
