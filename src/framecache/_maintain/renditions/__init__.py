"""Add renditions to the frames of a timeline.

``add_renditions`` is loaded on first use, because most programs never add any.
"""

from typing import TYPE_CHECKING, Any

from framecache._maintain.renditions.report import RenditionsReport

if TYPE_CHECKING:
    from framecache._maintain.renditions.run import add_renditions

__all__ = ["RenditionsReport", "add_renditions"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name != "add_renditions":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from framecache._maintain.renditions.run import add_renditions  # noqa: PLC0415 -- see above

    return add_renditions
