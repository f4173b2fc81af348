"""For programs that bring their own store, and for tests of what becomes of a cache when it fails.

- `StoreConformance`: what every store must do, as a class of tests; needs pytest.
- `HookedStore`: tells of every request, and calls the test around each.
- `FaultyStore`: lets single requests fail, lose their answers, or bring damaged bytes.
- `CrashingStore`: lets the process seem dead from one request on.

Each of these stores wraps another one, and is one itself.
"""

from typing import TYPE_CHECKING

from framecache.testing.crashing import Crash, CrashingStore
from framecache.testing.faulty import Fault, FaultyStore, Interlude, Schedule, faults_of
from framecache.testing.hooked import Hook, HookedStore, failing_at
from framecache.testing.wrapping import Action, WrappingStore

if TYPE_CHECKING:
    from framecache.testing.store import StoreConformance

__all__ = [
    "Action",
    "Crash",
    "CrashingStore",
    "Fault",
    "FaultyStore",
    "Hook",
    "HookedStore",
    "Interlude",
    "Schedule",
    "StoreConformance",
    "WrappingStore",
    "failing_at",
    "faults_of",
]


def __getattr__(name: str) -> object:
    """Load what needs pytest only when it is asked for."""
    if name == "StoreConformance":
        from framecache.testing.store import StoreConformance  # noqa: PLC0415 -- imports pytest

        return StoreConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
