"""Timelines whose compaction is among the index parts, as earlier versions stored it."""

import json
from itertools import count

import clips
import google_crc32c
import pytest

from framecache import FrameCache, Timeline
from framecache._core import keys
from framecache._maintain.gc import Reason
from framecache.store import Store
from framecache.testing import HookedStore

_NUMBERS = count()
FRAMES = 45


@pytest.fixture
def cache() -> FrameCache:
    return FrameCache(f"memory://older-compaction-{next(_NUMBERS)}")


@pytest.fixture
def older(cache: FrameCache) -> str:
    """Return the key of the compaction of a timeline stored by an earlier version."""
    cache.timeline("t").extract(clips.chunks())
    store = cache.store
    [compacted] = [key for key in index_files(store) if not key.endswith(".parquet")]
    *_, manifest_key = sorted(blob.key for blob in store.list(keys.manifests_prefix("t")))
    document = json.loads(store.get(manifest_key))
    del document["compaction"]["apart"], document["crc32c"]
    epoch, number = document["epoch"], document["compaction"]["number"]
    bare = json.dumps(document, indent=1).encode()
    checksum = f',\n "crc32c": "{google_crc32c.value(bare):08x}"\n}}'
    key = f"cache/timelines/t/index/{epoch}/timeline-{number}.parquet"
    store.put(key, store.get(compacted))
    store.delete([compacted])
    store.put(manifest_key, bare.removesuffix(b"\n}") + checksum.encode())
    return key


def index_files(store: Store) -> list[str]:
    return [blob.key for blob in store.list(keys.indexes_prefix("t"))]


def test_older_compaction_alone_opens_the_timeline(cache: FrameCache, older: str) -> None:
    store = HookedStore(cache.store)
    assert Timeline(store, "t").index.sequence.tolist() == [*range(FRAMES)]
    assert [key for action, key in store.requests if action == "get" and "/index/" in key] == [
        older
    ]


def test_older_compaction_verifies_and_is_not_removed_by_gc(cache: FrameCache, older: str) -> None:
    report = cache.timeline("t").verify()
    assert (report.ok, report.findings) == (True, ())
    assert cache.plan_gc(grace_seconds=0).execute().removed[Reason.ORPHANS].blobs == 0
    assert older in index_files(cache.store)


def test_damaged_older_compaction_is_repaired(cache: FrameCache, older: str) -> None:
    cache.store.put(older, b"")
    assert cache.timeline("t").verify(repair=True).ok
    assert cache.timeline("t").verify().ok
    assert len(cache.timeline("t").index) == FRAMES


def test_next_compaction_replaces_older_one_and_gc_removes_it(
    cache: FrameCache, older: str
) -> None:
    match = cache.timeline("t")
    before = match.index.to_arrow()
    match.repack("packs")
    assert older in index_files(cache.store)
    cache.plan_gc(grace_seconds=0).execute()
    files = index_files(cache.store)
    assert older not in files
    assert sum(not key.endswith(".parquet") for key in files) == 1
    assert match.verify().ok
    kept = ["sequence", "timestamp", "perceptual_hash", "crc32c"]
    assert match.index.to_arrow().select(kept).equals(before.select(kept))


def test_unreferenced_compaction_of_same_number_is_an_orphan(cache: FrameCache, older: str) -> None:
    name = older.rpartition("/")[2].replace("timeline", "_timeline").replace("parquet", "compacted")
    other = f"{older.rpartition('/')[0]}/{name}"
    cache.store.put(other, b"x")
    [finding] = cache.timeline("t").verify().findings
    assert (finding.kind, finding.key) == ("orphan", other)
    cache.plan_gc(grace_seconds=0).execute()
    assert other not in index_files(cache.store)
    assert older in index_files(cache.store)
