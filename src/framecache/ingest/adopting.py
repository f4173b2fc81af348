"""Taking over frames that another program stored, so that others can be written beside them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import google_crc32c

from framecache import jpeg, keys
from framecache._version import __version__
from framecache.errors import StoreUnavailable
from framecache.index import FrameRow, Index, PartBuilder, commit_part, current_description
from framecache.manifest import Description
from framecache.reader import ordered
from framecache.store import BlobMissing, Store, is_remote

_REQUESTS_AT_ONCE: Final = 16
_ATTEMPTS: Final = 5


def adopt(store: Store, first: Description, *, workers: int) -> Description:
    """The first description of a timeline, with the frames that lie under its public names.

    Each is read twice, for its length, CRC and size: chunk 0, time 0.0 and no hash, as such frames
    load. Their index part is committed before it is described, in an epoch that nobody else knows
    of, so that they are there at every moment.
    """
    timeline_id = first.timeline_id
    listed = [
        (sequence, blob.key)
        for blob in store.list(keys.frames_prefix(timeline_id))
        if (sequence := keys.parse_frame(timeline_id, blob.key)) is not None
    ]
    # A description comes before its frames: with one by now, they are not another program's.
    if not listed or current_description(store, timeline_id) is not None:
        return first
    part = keys.written_part(0)
    index = _rows(store, listed, workers=workers)
    commit_part(store, first, part, index, about={"framecache": __version__, "adopted": True})
    return replace(first, written_parts=(part,))


def _rows(store: Store, listed: list[tuple[int, str]], *, workers: int) -> Index:
    threads = max(workers, _REQUESTS_AT_ONCE if is_remote(store) else 1)
    rows = PartBuilder()
    for row in _read(store, listed, threads=threads):
        if row is not None:
            rows.add(row)
    return rows.build()


def _read(
    store: Store, listed: list[tuple[int, str]], *, threads: int
) -> Iterator[FrameRow | None]:
    return ordered(lambda one: _row(store, *one), listed, threads=threads, ahead=2 * threads)


def _read_surely(store: Store, key: str) -> bytes:
    """The bytes of a blob whose CRC nobody knows: read until they come the same twice.

    What is damaged on the way only would otherwise be committed, and be refused ever after.
    """
    before = store.get(key)
    for _ in range(_ATTEMPTS):
        data = store.get(key)
        if data == before:
            return data
        before = data
    raise StoreUnavailable(
        f"{key} in {store.url} reads differently each time: check the network between, or wait "
        f"until the program that stores it is done"
    )


def _row(store: Store, sequence: int, key: str) -> FrameRow | None:
    """The row of a stored frame; None when it is gone."""
    try:
        data = _read_surely(store, key)
    except BlobMissing:
        return None
    try:
        height, width = jpeg.size(data)
    except jpeg.BadJpeg:
        height = width = 0  # reading it says so, as before
    return FrameRow(
        sequence=sequence,
        chunk_id=0,
        timestamp=0.0,
        duration=0.0,
        width=width,
        height=height,
        key=key,
        offset=0,
        size=len(data),
        crc32c=google_crc32c.value(data),
        perceptual_hash="",
        status="ok",
    )
