"""Table of the frames of many timelines."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from framecache._core.native_calls import native_call
from framecache._core.optional_imports import require_extra
from framecache._core.threads import RequestThreads
from framecache._index import Index, Snapshot, load_snapshot, resolve_timeline_ids
from framecache._index.string_columns import StringBuffers
from framecache.errors import NotCached
from framecache.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

_CONCURRENT_TIMELINES: Final = 16


def frames_table(store: Store, timelines: Iterable[str] | None) -> "pa.Table":
    """Return the current rows of some or all timelines, each with its timeline and URL.

    Raises:
        InvalidValue: ``timelines`` is not an iterable of ids, but a single id, for instance.
        InvalidId: an id is invalid.
        NotCached: one of the timelines does not exist.
        MissingPackage: pyarrow is not installed.
    """
    require_extra("arrow", needed_by="FrameCache.frames_table")
    import pyarrow as pa  # noqa: PLC0415 -- optional

    names = resolve_timeline_ids(store, timelines)
    with RequestThreads(_CONCURRENT_TIMELINES, name="framecache-table") as pool:
        found = pool.imap(lambda name: load_snapshot(store, name), names)
        tables = [_table("", store.url, Index.empty())]
        for name, snapshot in zip(names, found, strict=True):
            if timelines is not None:
                _require_exists(store, name, snapshot)
            tables.append(_table(name, store.url, snapshot.index))
    # Only timelines with renditions have their columns.
    return pa.concat_tables(tables, promote_options="default")


def _require_exists(store: Store, timeline_id: str, snapshot: Snapshot) -> None:
    """Raise NotCached if a timeline that was asked for by name does not exist."""
    if snapshot.manifest is None and not snapshot.exists:
        raise NotCached(f"there is no timeline {timeline_id} in {store.display_name}")


@native_call
def _table(timeline_id: str, store_url: str, index: Index) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 -- optional
    import pyarrow.compute as pc  # noqa: PLC0415 -- same

    rows = index.to_arrow().replace_schema_metadata()
    key, nothing = rows["key"], _string_scalar("")
    urls = pc.if_else(
        pc.equal(key, nothing),
        pa.nulls(1, pa.string())[0],
        pc.binary_join_element_wise(  # type: ignore[call-overload]  # takes scalars besides arrays
            _string_scalar(f"{store_url}/"), key, nothing
        ),
    )
    names = pa.repeat(_string_scalar(timeline_id), len(rows))
    return rows.add_column(0, "timeline_id", names).add_column(1, "url", urls)


def _string_scalar(text: str) -> "pa.StringScalar":
    """Return a string as a scalar without pyarrow's converter, which imports pandas.

    If pandas is installed, its import would take most of the time, and a Ctrl-C meanwhile would be
    lost.
    """
    import pyarrow as pa  # noqa: PLC0415 -- optional

    strings = StringBuffers.from_strings([text])
    buffers = [None, pa.py_buffer(strings.bounds.data), pa.py_buffer(strings.data)]
    array: Any = pa.Array.from_buffers(pa.string(), 1, buffers)
    scalar: pa.StringScalar = array[0]
    return scalar
