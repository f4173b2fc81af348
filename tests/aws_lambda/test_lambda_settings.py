"""Settings of the function, from arguments and environment variables."""

from typing import Any

import pytest

from framecache import InvalidValue
from framecache.aws_lambda import LambdaSettings

CHUNKS = "s3://videos/live/{timeline_id}/{number}.ts"
VARIABLE = {"FRAMECACHE_LAMBDA_CHUNKS": CHUNKS}


def test_environment_with_only_the_chunks_gives_the_defaults() -> None:
    assert LambdaSettings.from_environment(VARIABLE) == LambdaSettings(CHUNKS)


def test_environment_gives_every_setting() -> None:
    variables = {
        "FRAMECACHE_URL": "s3://media",
        "FRAMECACHE_LAMBDA_FIRST_NUMBER": "1",
        "FRAMECACHE_LAMBDA_MAX_WAIT_SECONDS": "90.5",
        "FRAMECACHE_LAMBDA_FPS": "30000/1001",
        "FRAMECACHE_LAMBDA_EVERY": "",
        "FRAMECACHE_LAMBDA_KEYFRAMES": "false",
        "FRAMECACHE_LAMBDA_QUALITY": "70",
        "FRAMECACHE_LAMBDA_ASPECT": "square",
        "FRAMECACHE_LAMBDA_MAX_SIDE": "640",
        "FRAMECACHE_LAMBDA_CHROMA": "444",
        "FRAMECACHE_LAMBDA_LAYOUT": "packs",
        "FRAMECACHE_LAMBDA_WORKERS": "3",
        "FRAMECACHE_LAMBDA_RESERVE_SECONDS": "20",
    }
    assert LambdaSettings.from_environment({**VARIABLE, **variables}) == LambdaSettings(
        CHUNKS,
        first_number=1,
        max_wait_seconds=90.5,
        fps="30000/1001",
        quality=70,
        aspect="square",
        max_side=640,
        chroma="444",
        layout="packs",
        workers=3,
        reserve_seconds=20.0,
    )
    assert LambdaSettings.from_environment({**VARIABLE, "FRAMECACHE_LAMBDA_EVERY": "5"}).every == 5
    flag = {"FRAMECACHE_LAMBDA_KEYFRAMES": "TRUE"}
    assert LambdaSettings.from_environment({**VARIABLE, **flag}).keyframes


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, r"\$FRAMECACHE_LAMBDA_CHUNKS is not set"),
        ({"FRAMECACHE_LAMBDA_CHUNKS": ""}, r"\$FRAMECACHE_LAMBDA_CHUNKS is not set"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_MAX_WAIT": "9"}, "MAX_WAIT is not a setting"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_EVERY": "2.5"}, "EVERY has the invalid value '2.5'"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_KEYFRAMES": "on"}, "KEYFRAMES has the invalid value"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_LAYOUT": "tar"}, "layout must be"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_MAX_SIDE": "64.5"}, "MAX_SIDE has the invalid value"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_CHROMA": "422"}, "chroma must be"),
        ({**VARIABLE, "FRAMECACHE_LAMBDA_MAX_WAIT_SECONDS": "nan"}, "max_wait_seconds must be"),
    ],
)
def test_environment_that_is_invalid_is_refused(variables: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidValue, match=problem):
        LambdaSettings.from_environment(variables)


@pytest.mark.parametrize(
    "changes",
    [
        {"first_number": -1},
        {"first_number": 10**12},
        {"first_number": True},
        {"max_wait_seconds": -1},
        {"max_wait_seconds": float("inf")},
        {"max_wait_seconds": "60"},
        {"reserve_seconds": -0.5},
        {"workers": 0},
        {"every": 0},
        {"fps": 5, "every": 2},
        {"fps": "fast"},
        {"quality": 101},
        {"aspect": "wide"},
        {"max_side": 0},
        {"max_side": 65_501},
        {"chroma": "4:4:4"},
        {"layout": "tar"},
    ],
    ids=repr,
)
def test_setting_out_of_its_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        LambdaSettings(CHUNKS, **changes)
