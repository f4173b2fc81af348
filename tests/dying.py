"""Programs that die at a request, and leave a store as it is then."""

from framecache.store import Store
from framecache.testing import Action, Crash, HookedStore


def dying_at(store: Store, action: Action, within: str) -> Store:
    """Return the store of a program that dies at its first matching request.

    Each later request raises `Crash`, too: a dead program cleans nothing up.
    """
    died: list[str] = []

    def die(made: Action, key: str) -> None:
        if died or (made == action and within in key):
            died.append(key)
            raise Crash

    return HookedStore(store, before=die)
