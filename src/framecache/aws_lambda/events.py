"""Events of S3 as Lambda delivers them: directly, from EventBridge, or in messages of SQS. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from framecache._core import json_documents
from framecache.errors import InvalidValue

_SCHEDULES: Final = ("aws.events", "aws.scheduler")
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class CreatedObject:
    """Object that was created in a bucket."""

    bucket: str
    key: str
    """Key of the object, decoded."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Content of one message of a queue, or of an event that was not in a queue."""

    message_id: str | None
    """Id of the message in SQS; None if the event was delivered without a queue."""
    objects: tuple[CreatedObject, ...] = ()
    errors: tuple[InvalidValue, ...] = ()
    """Errors of the parts that cannot be read."""
    is_schedule: bool = False
    """True for the event of a schedule, which names no object."""


def parse_event(event: object) -> tuple[Notification, ...]:
    """Return the notifications in the event of an invocation.

    Test events of S3, events about anything except the creation of an object, and folder markers
    (keys that end in a slash) yield notifications without objects.

    Raises:
        InvalidValue: the event holds messages of a queue and one of them has no id, so that it
            could not be reported as failed.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    if isinstance(records, list) and any(_is_message(record) for record in records):
        return tuple(_parse_message(record) for record in records)
    return (_parse_notification(event, message_id=None),)


def _is_message(record: object) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == "aws:sqs"


def _parse_message(record: object) -> Notification:
    message_id = record.get("messageId") if isinstance(record, dict) else None
    if not isinstance(message_id, str) or not isinstance(record, dict):
        raise InvalidValue(
            f"a message of the queue has no messageId: {_shown(record)}. Invoke this function by "
            "an event source mapping of SQS, or with events of S3"
        )
    body = record.get("body")
    try:
        document = json_documents.decode_object(body.encode()) if isinstance(body, str) else None
    except (json_documents.InvalidDocument, UnicodeEncodeError):
        document = None
    if document is None:
        return Notification(message_id, errors=(_malformed(body, "is not a JSON object"),))
    return _parse_notification(document, message_id=message_id)


def _parse_notification(event: object, *, message_id: str | None) -> Notification:
    if not isinstance(event, dict):
        return Notification(message_id, errors=(_malformed(event, "is not a JSON object"),))
    source, kind = event.get("source"), event.get("detail-type")
    if source in _SCHEDULES and kind == "Scheduled Event":
        return Notification(message_id, is_schedule=True)
    objects: list[CreatedObject] = []
    errors: list[InvalidValue] = []
    for found in _parse_records(event):
        if isinstance(found, InvalidValue):
            errors.append(found)
        elif found is not None and not found.key.endswith("/"):
            objects.append(found)
    return Notification(message_id, tuple(objects), tuple(errors))


def _parse_records(event: dict[str, Any]) -> Iterator[CreatedObject | InvalidValue | None]:
    """Yield an object or an error for each record; None for a record of another kind."""
    records = event.get("Records")
    if event.get("Event") == "s3:TestEvent":
        return
    if event.get("source") == "aws.s3":
        yield _parse_bridged(event)
    elif isinstance(records, list):
        yield from (_parse_record(record) for record in records)
    else:
        yield _malformed(event, "is not an event of S3")


def _parse_record(record: object) -> CreatedObject | InvalidValue | None:
    """Return the object of a record of S3, which encodes keys as in the query of a URL."""
    try:
        source, name = record["eventSource"], record["eventName"]  # type: ignore[index]
        if not source.endswith(":s3"):
            return _malformed(record, "is not a record of S3")
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return None
        found = record["s3"]  # type: ignore[index]
        key = unquote_plus(found["object"]["key"], errors="strict")
        return _object(found["bucket"]["name"], key)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _malformed(record, f"lacks a part of a record of S3 ({type(error).__name__})")


def _parse_bridged(event: dict[str, Any]) -> CreatedObject | InvalidValue | None:
    """Return the object of an event of S3 from EventBridge, which does not encode keys."""
    if event.get("detail-type") != "Object Created":
        return None
    try:
        detail = event["detail"]
        return _object(detail["bucket"]["name"], detail["object"]["key"])
    except (KeyError, TypeError, ValueError) as error:
        return _malformed(event, f"lacks a part of an event of S3 ({type(error).__name__})")


def _object(bucket: object, key: object) -> CreatedObject:
    if not (isinstance(bucket, str) and isinstance(key, str) and bucket and key):
        raise TypeError(bucket, key)
    return CreatedObject(bucket, key)


def _malformed(event: object, what: str) -> InvalidValue:
    return InvalidValue(
        f"the event {_shown(event)} {what}: send object-created events of S3, directly, through "
        "SQS or through EventBridge"
    )


def _shown(event: object) -> str:
    text = repr(event)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
