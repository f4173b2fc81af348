"""Events of each kind, intact and malformed."""

import json
from typing import Any

import pytest
from arriving import SCHEDULE, TEST_EVENT, bridged, notification, queued

from framecache import InvalidValue
from framecache.aws_lambda.events import CreatedObject, Notification, parse_event

OBJECT = CreatedObject("videos", "live/cam/7.ts")


def test_event_of_s3_names_each_object() -> None:
    event = notification("videos", ["live/cam/7.ts", "live/cam/8.ts"])
    other = CreatedObject("videos", "live/cam/8.ts")
    assert parse_event(event) == (Notification(None, (OBJECT, other)),)


def test_event_of_eventbridge_names_its_object() -> None:
    assert parse_event(bridged("videos", "live/cam/7.ts")) == (Notification(None, (OBJECT,)),)


def test_messages_of_sqs_keep_their_ids() -> None:
    bodies = {"a": notification("videos", ["live/cam/7.ts"]), "b": bridged("videos", OBJECT.key)}
    expected = (Notification("a", (OBJECT,)), Notification("b", (OBJECT,)))
    assert parse_event(queued(bodies)) == expected


def test_key_of_s3_is_decoded_and_key_of_eventbridge_is_not() -> None:
    key = "live/a b+c%20/ü 7.ts"
    expected = (Notification(None, (CreatedObject("videos", key),)),)
    assert parse_event(notification("videos", [key])) == expected
    assert parse_event(bridged("videos", key)) == expected


@pytest.mark.parametrize("name", ["ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"])
def test_creation_of_any_kind_names_an_object(name: str) -> None:
    event = notification("videos", [OBJECT.key])
    event["Records"][0]["eventName"] = name
    assert parse_event(event) == (Notification(None, (OBJECT,)),)


@pytest.mark.parametrize(
    "event",
    [
        TEST_EVENT,
        {"Records": []},
        notification("videos", ["live/cam/"]),
        {**bridged("videos", OBJECT.key), "detail-type": "Object Deleted"},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete"}]},
    ],
    ids=["test event", "no record", "folder marker", "bridged deletion", "deletion"],
)
def test_event_about_no_created_object_names_none(event: dict[str, Any]) -> None:
    assert parse_event(event) == (Notification(None),)
    assert parse_event(queued({"a": event})) == (Notification("a"),)


@pytest.mark.parametrize("source", ["aws.events", "aws.scheduler"])
def test_event_of_a_schedule_is_recognized(source: str) -> None:
    assert parse_event({**SCHEDULE, "source": source}) == (Notification(None, is_schedule=True),)


RECORD = notification("videos", [OBJECT.key])["Records"][0]
MALFORMED: list[object] = [
    None,
    7,
    "text",
    [],
    {},
    {"Records": None},
    {"Records": "text"},
    {"Records": [None]},
    {"Records": [{}]},
    {"Records": [{**RECORD, "eventSource": 7}]},
    {"Records": [{**RECORD, "eventSource": "aws:kinesis"}]},
    {"Records": [{**RECORD, "eventName": None}]},
    {"Records": [{**RECORD, "s3": {}}]},
    {"Records": [{**RECORD, "s3": {"bucket": {"name": "videos"}, "object": {"key": 7}}}]},
    {"Records": [{**RECORD, "s3": {"bucket": {"name": ""}, "object": {"key": "k"}}}]},
    {"Records": [{**RECORD, "s3": {"bucket": {"name": "videos"}, "object": {"key": "%ff"}}}]},
    {"source": "aws.s3", "detail-type": "Object Created"},
    {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": "videos"}},
    {"source": "aws.ec2", "detail-type": "State change"},
]


@pytest.mark.parametrize("event", MALFORMED, ids=repr)
def test_malformed_event_is_an_error_of_its_message(event: object) -> None:
    [found] = parse_event(event)
    assert (found.message_id, found.objects, len(found.errors)) == (None, (), 1)
    [of_good, of_bad] = parse_event(
        queued({"good": notification("videos", [OBJECT.key]), "bad": json.dumps(event)})
    )
    assert of_good == Notification("good", (OBJECT,))
    assert (of_bad.message_id, of_bad.objects, len(of_bad.errors)) == ("bad", (), 1)
    assert isinstance(of_bad.errors[0], InvalidValue)


@pytest.mark.parametrize("body", ["", "{", "\ud800", "[" * 100_000, '{"a": NaN}'])
def test_message_that_is_not_json_is_an_error_of_its_message(body: str) -> None:
    [found] = parse_event(queued({"bad": body}))
    assert (found.message_id, len(found.errors)) == ("bad", 1)


def test_record_that_is_malformed_leaves_the_others_of_its_event() -> None:
    event = notification("videos", [OBJECT.key])
    event["Records"].insert(0, {"eventSource": "aws:s3"})
    [found] = parse_event(event)
    assert (found.objects, len(found.errors)) == ((OBJECT,), 1)


def test_message_without_an_id_is_refused_as_it_could_not_be_reported() -> None:
    event = queued({"a": TEST_EVENT})
    del event["Records"][0]["messageId"]
    with pytest.raises(InvalidValue, match="has no messageId"):
        parse_event(event)
