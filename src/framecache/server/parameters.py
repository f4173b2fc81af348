"""Parameters shared by many routes; FastAPI validates them before the route runs."""

from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query

from framecache._core.keys import ID_PATTERN

ID_REGEX: Final = rf"^{ID_PATTERN.pattern}$"
SEQUENCE_LIMIT: Final = 10**15

TimelineId = Annotated[
    str, Path(pattern=ID_REGEX, description="Id of a timeline.", examples=["match-42"])
]
JobId = Annotated[str, Path(pattern=ID_REGEX, description="Id of a job.")]
Stage = Annotated[str, Path(pattern=ID_REGEX, description="Name of a stage of the job.")]
OverlayName = Annotated[str, Path(pattern=ID_REGEX, description="Name of an overlay.")]
Sequence = Annotated[
    int, Path(ge=0, lt=SEQUENCE_LIMIT, description="Number of a frame on its timeline.")
]
TimeText = Annotated[
    str,
    Path(
        max_length=80,
        description="Time on the timeline: `62.5`, `62.5s`, `1:02.5` or `1:01:02.5`.",
        examples=["62.5"],
    ),
]
Tolerance = Annotated[
    str | None,
    Query(
        max_length=80,
        description="Maximum rounding error of the time in seconds; by default half a unit "
        "of its last digit.",
    ),
]
Width = Annotated[
    int | None,
    Query(
        ge=16,
        le=65500,
        description="Width in pixels; the stored size if it is at least the frame's width.",
    ),
]
Version = Annotated[
    str | None,
    Query(
        max_length=128,
        description="Version of the timeline's snapshot; makes the response cacheable.",
    ),
]
TimelineFilter = Annotated[str | None, Query(pattern=ID_REGEX)]


async def _wants_latest(
    cache_control: Annotated[
        str, Header(description="`no-cache` checks the store for changes first.")
    ] = "",
) -> bool:
    return "no-cache" in (directive.strip().lower() for directive in cache_control.split(","))


WantsLatest = Annotated[bool, Depends(_wants_latest)]
