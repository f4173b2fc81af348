"""Validation of timeline ids given by a caller."""

from collections.abc import Iterable

from framecache._core import keys
from framecache._core.numeric import format_value
from framecache.errors import InvalidValue
from framecache.store import Store


def resolve_timeline_ids(store: Store, timelines: Iterable[object] | None) -> list[str]:
    """Return the given ids, sorted and deduplicated; for None, all ids, found with one LIST.

    Raises:
        InvalidValue: ``timelines`` is not an iterable of ids, but a single id, for instance.
        InvalidId: an id is invalid.
    """
    if timelines is None:
        return [name for name in store.list_folders(keys.ROOT) if keys.is_id(name)]
    if isinstance(timelines, str | bytes) or not isinstance(timelines, Iterable):
        raise InvalidValue(
            f"timelines must be several ids, not {format_value(timelines)}: give a list, even for "
            "one"
        )
    return sorted({keys.check_id(name, what="timeline_id") for name in timelines})
