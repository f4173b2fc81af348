"""Move the frames of a timeline to another layout.

``repack`` is loaded on first use, because most programs never repack.
"""

from typing import TYPE_CHECKING, Any

from framecache._maintain.repack.report import RepackReport

if TYPE_CHECKING:
    from framecache._maintain.repack.run import repack

__all__ = ["RepackReport", "repack"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name != "repack":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from framecache._maintain.repack.run import repack  # noqa: PLC0415 -- see above

    return repack
