"""Filling a timeline: from video chunks, or with frames a program already holds.

FFmpeg and OpenCV take a third of a second to load, which programs that only read need not pay:
the functions here load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framecache.ingest.extraction import append, extract, fill, rebuild
    from framecache.ingest.foresee import Foreseen, foresee_append, foresee_extraction
    from framecache.ingest.settling import settle
    from framecache.ingest.writing import write

__all__ = [
    "Foreseen",
    "append",
    "extract",
    "fill",
    "foresee_append",
    "foresee_extraction",
    "rebuild",
    "settle",
    "write",
]

_HOMES = {
    "Foreseen": "foresee",
    "append": "extraction",
    "extract": "extraction",
    "fill": "extraction",
    "foresee_append": "foresee",
    "foresee_extraction": "foresee",
    "rebuild": "extraction",
    "settle": "settling",
    "write": "writing",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
