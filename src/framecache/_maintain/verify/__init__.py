"""Compare a timeline's index with its store and its chunks, and repair it.

``verify`` is loaded on first use, because most programs never verify.
"""

from typing import TYPE_CHECKING, Any

from framecache._maintain.verify.report import Finding, FindingCallback, FindingKind, VerifyReport

if TYPE_CHECKING:
    from framecache._maintain.verify.run import verify

__all__ = ["Finding", "FindingCallback", "FindingKind", "VerifyReport", "verify"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562
    if name != "verify":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from framecache._maintain.verify.run import verify  # noqa: PLC0415 -- see above

    return verify
