"""Parameters that many routes have, checked before anything else happens."""

from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query

from framecache.keys import ID_PATTERN

ID: Final = rf"^{ID_PATTERN.pattern}$"
MOST_SEQUENCES: Final = 10**15

TimelineId = Annotated[str, Path(pattern=ID, description="A timeline.", examples=["match-42"])]
JobId = Annotated[str, Path(pattern=ID, description="A job.")]
Stage = Annotated[str, Path(pattern=ID, description="A stage of the job.")]
OverlayName = Annotated[str, Path(pattern=ID, description="An overlay.")]
Sequence = Annotated[
    int, Path(ge=0, lt=MOST_SEQUENCES, description="A frame's number on its timeline.")
]
Seconds = Annotated[
    str,
    Path(
        max_length=80,
        description="A time on the timeline: `62.5`, `62.5s`, `1:02.5` or `1:01:02.5`.",
        examples=["62.5"],
    ),
]
Tolerance = Annotated[
    str | None,
    Query(
        max_length=80,
        description="Seconds it may have been rounded by; else half a unit of its last digit.",
    ),
]
Width = Annotated[
    int | None,
    Query(ge=16, le=65500, description="Pixels; the frame's own width or more: as it is stored."),
]
Version = Annotated[
    str | None, Query(max_length=128, description="The snapshot's name: caches then keep it.")
]
ChosenId = Annotated[str | None, Query(pattern=ID)]


def _wants_latest(
    cache_control: Annotated[
        str, Header(description="`no-cache`: have the store asked what has changed.")
    ] = "",
) -> bool:
    return "no-cache" in (directive.strip().lower() for directive in cache_control.split(","))


WantsLatest = Annotated[bool, Depends(_wants_latest)]
