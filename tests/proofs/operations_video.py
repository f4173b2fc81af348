"""Operations on timelines of layout ``video``, and on a video whose sample tables are wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final
from unittest import mock

import pytest
from invariants import TIMELINE
from operations import (
    BOTH,
    DAMAGED_MANIFEST,
    FIRST,
    SECOND,
    THIRD,
    Operation,
    append,
    chunks,
    clear,
    collect,
    delete,
    extract,
    lose_index_file,
    repack,
    repair,
)

import media
from dying import dying_at
from framecache import Timeline
from framecache._core import keys
from framecache._ingest import chunk_scans, segments
from framecache._media.video import scanning
from framecache.model import Layout
from framecache.store import Store
from framecache.testing import Crash
from table_clips import without_picture

_LYING: Final = frozenset(range(5))
"""The sequences of `lying_chunk`."""


def extract_unstored(store: Store) -> object:
    """Extract the first two chunks into layout ``video``."""
    return Timeline(store, TIMELINE).extract(chunks(2), layout="video", workers=1)


def lying_chunk(hidden: int = 3) -> str:
    """Return a chunk of five frames whose sample tables list six, in groups of two.

    ``hidden`` is the listed frame that is not a picture.
    """
    source = "color=size=32x32:rate=25,geq=lum='20+30*N+X':cb=128:cr=128"

    def make(path: Path) -> None:
        media.make_clip(path, source=source, frames=len(_LYING) + 1, extra=["-g", "2", "-bf", "0"])
        path.write_bytes(without_picture(path, hidden))

    return str(media.made(f"proof-lying-{hidden}.mp4", make))


@contextmanager
def tables_used() -> Iterator[None]:
    """Have sample tables of any file be used, and segments be two frames long."""
    limits = segments.SegmentLimits(Fraction(0), min_frames=2)
    with (
        mock.patch.object(segments, "LIMITS", limits),
        mock.patch.object(scanning, "_MIN_TABLES_FILE_BYTES", 0),
        mock.patch.object(chunk_scans, "_MIN_BYTES_FOR_TABLES", 0),
    ):
        yield


def extract_by_tables(store: Store, *, layout: Layout = "objects", hidden: int = 3) -> object:
    """Extract a chunk whose sample tables are wrong."""
    with tables_used():
        timeline = Timeline(store, TIMELINE)
        return timeline.extract([lying_chunk(hidden)], layout=layout, workers=1)


def _rebuild(store: Store) -> object:
    return Timeline(store, TIMELINE).rebuild(layout="video", workers=1)


def _lose_a_part(store: Store) -> None:
    """Leave a timeline without a compaction, and without one of its index parts."""
    extract_unstored(store)
    found = [blob.key for blob in store.list(keys.indexes_prefix(TIMELINE))]
    lost = ("/_timeline-3.compacted", "/000000-0.parquet")
    store.delete(key for key in found if key.endswith(lost))


def _damage_manifest(store: Store) -> None:
    extract_unstored(store)
    store.put(keys.manifest(TIMELINE, 3), DAMAGED_MANIFEST)


def _die_repacking(store: Store) -> None:
    """Leave the packs and parts of a repack that died before it committed its manifest."""
    extract_unstored(store)
    with pytest.raises(Crash):
        repack("packs")(dying_at(store, "create", "/timeline/"))


OPERATIONS_OF_VIDEO: Final = (
    Operation(
        "extract into video",
        extract_unstored,
        after=BOTH,
        together=(FIRST, SECOND),
        layout="video",
        stride=13,
    ),
    Operation(
        "append into video",
        append,
        extract_unstored,
        before=BOTH,
        after=BOTH | THIRD,
        together=(THIRD,),
        layout="video",
        stride=13,
    ),
    Operation(
        "rebuild into video",
        _rebuild,
        extract,
        before=BOTH,
        after=BOTH,
        together=(FIRST, SECOND),
        starts_new_epoch=True,
        layout="video",
        stride=21,
    ),
    Operation(
        "rebuild out of video",
        lambda store: Timeline(store, TIMELINE).rebuild(layout="objects", workers=1),
        extract_unstored,
        before=BOTH,
        after=BOTH,
        together=(FIRST, SECOND),
        starts_new_epoch=True,
        stride=21,
    ),
    Operation(
        "clear video", clear, extract_unstored, before=BOTH, starts_new_epoch=True, layout="video"
    ),
    Operation(
        "delete video",
        delete,
        extract_unstored,
        before=BOTH,
        starts_new_epoch=True,
        leaves_nothing=True,
    ),
    Operation(
        "repack video into packs",
        repack("packs"),
        extract_unstored,
        before=BOTH,
        after=BOTH,
        layout="packs",
        stride=15,
    ),
    Operation(
        "repack video into objects",
        repack("objects"),
        extract_unstored,
        before=BOTH,
        after=BOTH,
        stride=15,
    ),
    Operation(
        "repair a part of video",
        repair,
        _lose_a_part,
        before=SECOND,
        after=BOTH,
        together=(FIRST,),
        layout="video",
        stride=13,
    ),
    Operation(
        "repair the compaction of video",
        repair,
        lose_index_file("/_timeline-3.compacted", extract_unstored),
        before=BOTH,
        after=BOTH,
        layout="video",
        stride=9,
    ),
    Operation(
        "repair the manifest of video",
        repair,
        _damage_manifest,
        after=BOTH,
        together=(BOTH,),
        starts_new_epoch=True,
        layout="video",
        stride=13,
    ),
    Operation(
        "gc of a repack of video",
        collect,
        _die_repacking,
        before=BOTH,
        after=BOTH,
        tidies=True,
        layout="video",
        stride=9,
    ),
    Operation(
        "extract by wrong tables", extract_by_tables, after=_LYING, starts_new_epoch=True, stride=29
    ),
)
