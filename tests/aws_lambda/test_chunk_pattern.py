"""Patterns of chunk URLs, and the timelines and numbers that they give."""

import pytest

from framecache import InvalidId, InvalidValue
from framecache.aws_lambda.chunk_pattern import ArrivedChunk, ChunkPattern

LIVE = "s3://videos/live/{timeline_id}/{number}.ts"


@pytest.mark.parametrize(
    ("template", "key", "timeline_id", "number"),
    [
        (LIVE, "live/cam:1/7.ts", "cam:1", 7),
        (LIVE, "live/cam/0007.ts", "cam", 7),
        (LIVE, "live/cam/999999999999.ts", "cam", 999_999_999_999),
        ("s3://videos/{timeline_id}-{number}.mp4", "a-b-3.mp4", "a-b", 3),
        ("s3://videos/{timeline_id}{number}.mp4", "cam12.mp4", "cam", 12),
        ("s3://videos/{timeline_id}/*{number}*.mp4", "cam/part12_x.mp4", "cam", 12),
        ("s3://videos/{number}/{timeline_id}", "12/cam.mp4", "cam.mp4", 12),
        ("s3://videos/(a|b)/{timeline_id}/{number}", "(a|b)/cam/1", "cam", 1),
    ],
)
def test_pattern_gives_timeline_and_number(
    template: str, key: str, timeline_id: str, number: int
) -> None:
    found = ChunkPattern(template).require("videos", key)
    assert found == ArrivedChunk(f"s3://videos/{key}", timeline_id, number)


@pytest.mark.parametrize(
    "key",
    [
        "live/cam/7.mp4",
        "live/cam/x.ts",
        "live/cam/-7.ts",
        "live/cam/7.ts/",
        "live/a/b/7.ts",
        "live//7.ts",
        "live/.cam/7.ts",
        "live/cam/1234567890123.ts",
        "live/cam/٧.ts",
        "other/live/cam/7.ts",
        "live/cam/7.ts\n",
        "live/cämera/7.ts",
    ],
)
def test_key_that_does_not_match_is_refused(key: str) -> None:
    with pytest.raises(InvalidValue, match="does not match"):
        ChunkPattern(LIVE).require("videos", key)


def test_object_of_another_bucket_is_refused() -> None:
    with pytest.raises(InvalidValue, match="in bucket 'other'"):
        ChunkPattern(LIVE).require("other", "live/cam/7.ts")


def test_timeline_id_with_two_dots_is_refused() -> None:
    with pytest.raises(InvalidId):
        ChunkPattern(LIVE).require("videos", "live/a..b/7.ts")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "not the URL"),
        ("live/{timeline_id}/{number}.ts", "not the URL"),
        ("file:///live/{timeline_id}/{number}.ts", "not the URL"),
        ("s3://{timeline_id}/{number}.ts", "not the URL"),
        ("s3://videos", "not the URL"),
        ("s3://videos/live/{timeline_id}/1.ts", "must have {number} once"),
        ("s3://videos/live/{number}.ts", "must have {timeline_id} once"),
        ("s3://videos/{timeline_id}/{number}/{number}.ts", "must have {number} once"),
        ("s3://videos/{timeline_id}/v2{number}.ts", "a digit next to {number}"),
        ("s3://videos/{timeline_id}/{number}0.ts", "a digit next to {number}"),
    ],
)
def test_template_that_cannot_work_is_refused(template: str, problem: str) -> None:
    with pytest.raises(InvalidValue, match=problem):
        ChunkPattern(template)
