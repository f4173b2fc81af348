"""Extraction and reading on a Ray cluster: see ``docs/how-to/ray.md``. Needs the extra ``ray``.

- `extract`: cache the frames of many timelines, one Ray task a chunk, several a long one.
- `read_frames`: frames of many timelines as a `ray.data.Dataset`.
- `OverlaySink`: store a dataset's pictures as overlays, with `Dataset.write_datasink`.
- `ExtractProgress`: how far an extraction has come.
- `ExtractionFailed`: raised if timelines could not be extracted, with the reports of the others.
"""

from typing import TYPE_CHECKING

from framecache._core.optional_imports import import_supported

import_supported("ray")

# Names are imported on first use: a worker that extracts would load Ray Data for nothing.
if TYPE_CHECKING:
    from framecache.ray.datasets import read_frames
    from framecache.ray.extraction import ExtractionFailed, extract
    from framecache.ray.extraction_run import ExtractProgress
    from framecache.ray.overlay_sink import OverlaySink

__all__ = ["ExtractProgress", "ExtractionFailed", "OverlaySink", "extract", "read_frames"]

_MODULES = {
    "ExtractProgress": "extraction_run",
    "ExtractionFailed": "extraction",
    "OverlaySink": "overlay_sink",
    "extract": "extraction",
    "read_frames": "datasets",
}


if not TYPE_CHECKING:  # or a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 -- needed here only

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
