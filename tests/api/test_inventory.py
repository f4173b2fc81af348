"""Verification and garbage collection agree on what of a timeline is in use."""

from collections.abc import Callable

import clips
import pytest

from framecache import FrameCache, Timeline
from framecache._index import current_manifest
from framecache._maintain.inventory import EpochFolder, parse_epoch_blob
from framecache.errors import StoreUnavailable
from framecache.model import Layout
from framecache.testing import HookedStore, fail_from_nth
from outside import frame, outside

PREFIX = "cache/timelines/t/"
FOLDERS = ("frames/", "index/", "packs/", "sprites/")


def _extract_objects(cache: FrameCache) -> None:
    cache.timeline("t").extract(clips.chunks()[1:])


def _extract_packs(cache: FrameCache) -> None:
    cache.timeline("t").extract(clips.chunks()[1:], layout="packs")


def _extract_again_after_clear(cache: FrameCache) -> None:
    _extract_packs(cache)
    list(cache.timeline("t").frames())
    cache.timeline("t").clear()
    cache.timeline("t").extract(clips.chunks()[1], layout="packs")


def _stop_before_the_second_commit(cache: FrameCache, layout: Layout) -> None:
    hook = fail_from_nth(
        StoreUnavailable("away"), action="create", nth=1, within="000001-0.parquet"
    )
    store = HookedStore(cache.store, before=hook)
    with pytest.raises(StoreUnavailable):
        Timeline(store, "t").extract(clips.chunks()[1:], layout=layout, workers=1)


def _stop_before_the_second_commit_in_objects(cache: FrameCache) -> None:
    _stop_before_the_second_commit(cache, "objects")


def _stop_before_the_second_commit_in_packs(cache: FrameCache) -> None:
    _stop_before_the_second_commit(cache, "packs")


def _repack(cache: FrameCache) -> None:
    _extract_packs(cache)
    cache.timeline("t").repack("objects")


def _replace(cache: FrameCache) -> None:
    cache.timeline("t").write([frame(0), frame(1)])
    for number in (2, 3):
        cache.timeline("t").write([frame(1, number=number)], on_conflict="replace")


def _stop_before_relocation(cache: FrameCache) -> None:
    _replace(cache)
    hook = fail_from_nth(StoreUnavailable("away"), action="put", nth=1, within="frames/")
    with pytest.raises(StoreUnavailable):
        Timeline(HookedStore(cache.store, before=hook), "t").write(
            [frame(0, number=4)], on_conflict="replace"
        )


def _store_strays(cache: FrameCache) -> None:
    _extract_objects(cache)
    manifest = current_manifest(cache.store, "t")
    assert manifest is not None
    for name in (
        "frames/45.jpg",
        f"index/{manifest.epoch}/000000-1.parquet",
        f"index/{manifest.epoch}/000009-0.parquet",
        f"index/{manifest.epoch}/_timeline-1.compacted",
        f"index/{manifest.epoch}/notes.txt",
        f"packs/{manifest.epoch}/000000-0123456789abcdef.tar",
        f"packs/{manifest.epoch}/notes.txt",
        "index/000000-00000000/000000-0.parquet",
        "packs/000000-00000000/000000-0123456789abcdef.tar",
        "sprites/000000-00000000/000000-0.jpg",
        "sprites/notes.txt",
    ):
        cache.store.put(PREFIX + name, b"x")


HISTORIES = (
    _extract_objects,
    _extract_packs,
    _extract_again_after_clear,
    _stop_before_the_second_commit_in_objects,
    _stop_before_the_second_commit_in_packs,
    _repack,
    _replace,
    _stop_before_relocation,
    _store_strays,
)


@pytest.mark.parametrize("make", HISTORIES)
def test_blobs_removed_by_gc_are_reported_by_verify(
    make: Callable[[FrameCache], None], local_url: str
) -> None:
    cache = FrameCache(local_url)
    make(cache)
    before = _keys(local_url)
    report = cache.timeline("t").verify()
    reported = {one.key.removeprefix(PREFIX) for one in report.findings}
    cache.plan_gc(grace_seconds=0).execute(max_share=1)
    removed = before - _keys(local_url)
    if make is _stop_before_relocation:  # the pack was in use until its frame was relocated
        removed = {key for key in removed if not key.startswith("packs/")}
    assert {key for key in removed if key.startswith(FOLDERS)} <= reported
    # A blob that is reported and kept has a name that framecache does not use.
    kept = {key for key in reported - removed if not key.endswith("notes.txt")}
    assert not kept
    assert cache.timeline("t").verify().ok


def _keys(url: str) -> set[str]:
    return {key.removeprefix(PREFIX) for key in outside(url).list(PREFIX)}


@pytest.mark.parametrize(
    ("key", "folder", "epoch", "is_valid"),
    [
        ("index/000001-0123abcd/000000-0.parquet", EpochFolder.INDEX, "000001-0123abcd", True),
        ("index/000001-0123abcd/_timeline-4.compacted", EpochFolder.INDEX, "000001-0123abcd", True),
        (
            "index/000001-0123abcd/more/000000-0.parquet",
            EpochFolder.INDEX,
            "000001-0123abcd",
            False,
        ),
        ("index/000000-0.parquet", EpochFolder.INDEX, "", False),
        ("claims/000001-0123abcd/moving-3.json", EpochFolder.LEASES, "000001-0123abcd", True),
        ("claims/000001-0123abcd/moving.json", EpochFolder.LEASES, "000001-0123abcd", False),
        (
            "packs/000001-0123abcd/w000002-0123456789abcdef.tar",
            EpochFolder.PACKS,
            "000001-0123abcd",
            True,
        ),
        ("packs/elsewhere/000000-0123456789abcdef.tar", EpochFolder.PACKS, "elsewhere", False),
        ("sprites/000001-0123abcd/000000-0.jpg", EpochFolder.SPRITES, "000001-0123abcd", True),
    ],
)
def test_key_in_folder_with_epochs_is_parsed(
    key: str, folder: EpochFolder, epoch: str, *, is_valid: bool
) -> None:
    place = parse_epoch_blob("t", PREFIX + key)
    assert place is not None
    assert (place.folder, place.epoch, place.is_valid) == (folder, epoch, is_valid)


@pytest.mark.parametrize("key", ["frames/0.jpg", "timeline/00000001.json", "used", "indexes/1/2"])
def test_key_in_other_folder_has_no_epoch(key: str) -> None:
    assert parse_epoch_blob("t", PREFIX + key) is None
