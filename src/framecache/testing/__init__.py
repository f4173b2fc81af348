"""Tools for programs that bring their own store, and for tests of a cache on a failing store.

- `StoreConformance`: requirements that every store must meet, as a class of tests; needs pytest.
- `HookedStore`: records every request, and calls the test around each.
- `FaultyStore`: makes single requests fail, lose their responses, or return damaged bytes.
- `CrashingStore`: makes the process appear dead from one request on.

Each of these stores wraps another one, and is a store itself.
"""

from typing import TYPE_CHECKING

from framecache.testing.crashing import Crash, CrashingStore
from framecache.testing.faulty import Fault, FaultyStore, Schedule, SideEffect, possible_faults
from framecache.testing.hooked import Hook, HookedStore, fail_from_nth
from framecache.testing.wrapping import Action, WrappingStore

if TYPE_CHECKING:
    from framecache.testing.conformance import StoreConformance

__all__ = [
    "Action",
    "Crash",
    "CrashingStore",
    "Fault",
    "FaultyStore",
    "Hook",
    "HookedStore",
    "Schedule",
    "SideEffect",
    "StoreConformance",
    "WrappingStore",
    "fail_from_nth",
    "possible_faults",
]


if not TYPE_CHECKING:  # or a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import `StoreConformance`, which needs pytest, only when it is requested."""
        if name == "StoreConformance":
            from framecache.testing.conformance import StoreConformance  # noqa: PLC0415 -- imports pytest

            return StoreConformance
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
