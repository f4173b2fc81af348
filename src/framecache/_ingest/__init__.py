"""Filling timelines, from video chunks or with frames that a program holds; clearing them.

The functions here load on first use, because programs that only read do not need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framecache._ingest.extraction import (
        append,
        extract,
        extract_appended,
        extract_segments,
        plan,
        rebuild,
        replan,
    )
    from framecache._ingest.forecast import Forecast, forecast_append, forecast_extraction
    from framecache._ingest.frame_encoding import JpegFrame
    from framecache._ingest.open_chunks import list_chunk
    from framecache._ingest.relocation import relocate
    from framecache._ingest.writing import write

__all__ = [
    "Forecast",
    "JpegFrame",
    "append",
    "extract",
    "extract_appended",
    "extract_segments",
    "forecast_append",
    "forecast_extraction",
    "list_chunk",
    "plan",
    "rebuild",
    "relocate",
    "replan",
    "write",
]

_MODULES = {
    "Forecast": "forecast",
    "JpegFrame": "frame_encoding",
    "append": "extraction",
    "extract": "extraction",
    "extract_appended": "extraction",
    "extract_segments": "extraction",
    "forecast_append": "forecast",
    "forecast_extraction": "forecast",
    "list_chunk": "open_chunks",
    "plan": "extraction",
    "rebuild": "extraction",
    "relocate": "relocation",
    "replan": "extraction",
    "write": "writing",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
