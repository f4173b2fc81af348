"""Renditions when a timeline is verified, repaired, repacked, copied, cleared and collected."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import clips
import pytest
from test_renditions import LAYOUTS, PREFIX, SIDES, folder, stored_renditions

from dying import dying_at
from framecache import CorruptFrame, FrameCache, StoreUnavailable, Timeline
from framecache._index import Index
from framecache._maintain.copying import copy_timeline
from framecache._maintain.gc import plan_gc
from framecache._maintain.rewriting import PartsRewrite, RewrittenPart
from framecache.model import Layout, Progress
from framecache.store import open_store
from framecache.testing import Action, Crash, HookedStore
from outside import frame, outside

ORIGINS: Final = ["planes", "jpeg", "written"]


@pytest.fixture
def match(tmp_path: Path) -> Timeline:
    return FrameCache(str(tmp_path / "store")).timeline("t")


def fill(timeline: Timeline, layout: Layout, origin: str = "planes") -> None:
    """Store frames with renditions that were made in one of three ways."""
    if origin == "written":
        timeline.write([frame(n, width=96, height=64) for n in range(4)], layout=layout)
        timeline.add_renditions(SIDES)
    elif origin == "jpeg":
        timeline.extract(clips.chunks(), every=3, layout=layout)
        timeline.add_renditions(SIDES)
    else:
        timeline.extract(clips.chunks(), every=3, layout=layout, renditions=SIDES)


def all_jpegs(timeline: Timeline) -> list[bytes]:
    """Return all frames and renditions."""
    frames = [*timeline.jpegs(timeline.sequences())]
    return frames + [one for side in SIDES for one in stored_renditions(timeline, side)]


def origins(timeline: Timeline) -> set[str]:
    table = timeline.index.to_arrow()
    return {str(one) for side in SIDES for one in table[f"origin_{side}"].to_pylist()}


def blob_names(timeline: Timeline) -> list[str]:
    return [key for key in outside(folder(timeline)).list(PREFIX) if "/renditions/" in key]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_added_renditions_leave_the_frames_and_equal_their_number(
    match: Timeline, layout: Layout
) -> None:
    match.extract(clips.chunks(), every=3, layout=layout)
    before = [*match.jpegs(match.sequences())]
    steps: list[tuple[int, int]] = []
    report = match.add_renditions(
        [48], progress=lambda one: steps.append((one.frames_done, one.frames_total))
    )
    count = len(before)
    assert (report.renditions, report.frames_changed, report.renditions_stored) == (
        (48,),
        count,
        count,
    )
    assert report.bytes_stored == sum(map(len, stored_renditions(match, 48)))
    assert sorted(steps) == [(n, count) for n in range(1, count + 1)]
    assert match.add_renditions([20]).renditions == (48, 20)
    assert [*match.jpegs(match.sequences())] == before
    assert origins(match) == {"jpeg"}
    again = match.add_renditions(SIDES)
    assert (again.frames_changed, again.renditions_stored, again.bytes_stored) == (0, 0, 0)
    assert match.verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_appended_later_have_renditions_of_their_own_planes(
    match: Timeline, layout: Layout
) -> None:
    match.extract(clips.chunks()[:1], every=3, layout=layout)
    match.add_renditions(SIDES)
    match.append(clips.chunks()[1])
    rows = match.index.rows(range(len(match.index)))
    found = {(row.chunk_id, one.origin) for row in rows for one in row.renditions}
    assert found == {(0, "jpeg"), (1, "planes")}


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case _:
            path.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("kind", ["missing", "truncated", "corrupt"])
def test_damaged_rendition_is_found_and_made_again_from_its_origin(
    match: Timeline, layout: Layout, origin: str, kind: str
) -> None:
    fill(match, layout, origin)
    before, made_from = all_jpegs(match), origins(match)
    name = blob_names(match)[0]
    damage(Path(folder(match), name), kind)
    side = int(name.split("/")[5])
    with pytest.raises(CorruptFrame, match=r"framecache verify t|write the frame again"):
        list(FrameCache(folder(match)).timeline("t").frames(max_side=side))
    assert [*match.jpegs(match.sequences())] == before[: len(match.sequences())]
    found = match.verify()
    assert not found.ok
    assert found.renditions_checked == 2 * found.frames_checked
    bad = [one for one in found.findings if one.kind in ("missing", "truncated", "corrupt")]
    assert {finding.key for finding in bad} == {name}
    assert all(f"rendition {side} of the frame" in one.detail for one in bad)
    repaired = match.verify(repair=True)
    assert repaired.ok
    assert repaired.repaired == found.damaged
    again = FrameCache(folder(match)).timeline("t")
    assert all_jpegs(again) == before
    assert origins(again) == made_from
    assert again.verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_repair_of_a_frame_restores_renditions_of_each_origin(
    match: Timeline, layout: Layout
) -> None:
    match.extract(clips.chunks(), every=3, layout=layout, renditions=[48])
    match.add_renditions([20])
    before, made_from = all_jpegs(match), origins(match)
    names = outside(folder(match)).list(PREFIX)
    kinds = ("/frames/", "/packs/", "/renditions/")
    for name in [one for one in names if any(kind in one for kind in kinds)]:
        Path(folder(match), name).unlink()
    assert match.verify(repair=True).ok
    again = FrameCache(folder(match)).timeline("t")
    assert (all_jpegs(again), origins(again)) == (before, made_from)


def test_rendition_of_planes_is_made_from_the_jpeg_if_its_video_is_gone(
    match: Timeline, tmp_path: Path
) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(clips.chunks()[0].read_bytes())
    match.extract(video, every=3, renditions=SIDES)
    video.unlink()
    for name in blob_names(match):
        Path(folder(match), name).unlink()
    report = match.verify(repair=True)
    assert report.ok
    assert report.counts["source_missing"] == 1
    again = FrameCache(folder(match)).timeline("t")
    assert origins(again) == {"jpeg"}
    assert again.verify(deep=True).ok
    assert {one.image.shape for one in again.frames(max_side=48)} == {(32, 48, 3)}


def test_rendition_whose_frame_is_damaged_too_is_reported(match: Timeline) -> None:
    fill(match, "objects", "written")
    Path(folder(match), f"{PREFIX}frames/0.jpg").unlink()
    for name in blob_names(match):
        Path(folder(match), name).unlink()
    report = match.verify(repair=True)
    assert not report.ok
    left = {finding.sequence for finding in report.findings if not finding.repaired}
    assert left == {0}
    assert any("its frame is damaged, too" in finding.detail for finding in report.findings)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(("before", "after"), [("objects", "packs"), ("packs", "objects")])
def test_repack_moves_renditions_with_their_frames(
    match: Timeline, origin: str, before: Layout, after: Layout
) -> None:
    fill(match, before, origin)
    jpegs, made_from, old = all_jpegs(match), origins(match), set(blob_names(match))
    match.repack(after)
    assert (all_jpegs(match), origins(match)) == (jpegs, made_from)
    assert old.isdisjoint(blob_names(match))
    suffix = {"objects": ".jpg", "packs": ".tar"}[after]
    assert all(name.endswith(suffix) for name in blob_names(match))
    report = match.verify(deep=True)
    assert report.ok
    assert not [one for one in report.findings if "/index/" not in one.key]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_nothing_in_use_is_collected_and_everything_else_is(
    match: Timeline, layout: Layout, origin: str
) -> None:
    fill(match, layout, origin)
    jpegs = all_jpegs(match)
    cache = FrameCache(folder(match))
    cache.plan_gc(grace_seconds=0).execute(max_share=1)
    assert all_jpegs(FrameCache(folder(match)).timeline("t")) == jpegs
    used = blob_names(match)
    epoch = used[0].split("/")[4]
    blobs = outside(folder(match))
    unused = [
        f"{PREFIX}renditions/{epoch}/48/999.jpg",
        f"{PREFIX}renditions/{epoch}/48/000000-{'0' * 16}.tar",
        f"{PREFIX}renditions/{epoch}/7/0.jpg",
    ]
    for name in unused:
        blobs.put(name, b"leftover")
    invalid = f"{PREFIX}renditions/{epoch}/48/other.txt"
    blobs.put(invalid, b"not ours")
    found = {one.key: one.kind for one in match.verify().findings if one.kind == "orphan"}
    assert found.keys() == {*unused, invalid}
    cache.plan_gc(grace_seconds=0).execute(max_share=1)
    assert set(blob_names(match)) == {*used, invalid}
    assert all_jpegs(FrameCache(folder(match)).timeline("t")) == jpegs


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clear_rebuild_and_delete_remove_renditions(match: Timeline, layout: Layout) -> None:
    fill(match, layout)
    first = blob_names(match)
    match.rebuild()
    assert set(first).isdisjoint(blob_names(match))
    assert match.verify(deep=True).ok
    match.rebuild(renditions=())
    assert blob_names(match) == []
    match.add_renditions(SIDES)
    match.clear()
    assert blob_names(match) == []
    match.delete()
    assert outside(folder(match)).list(PREFIX) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_copy_has_the_same_renditions(
    match: Timeline, tmp_path: Path, layout: Layout, origin: str
) -> None:
    fill(match, layout, origin)
    target = str(tmp_path / "copy")
    copy_timeline(open_store(folder(match)), open_store(target), "t")
    copied = FrameCache(target).timeline("t")
    assert all_jpegs(copied) == all_jpegs(match)
    assert copied.verify(deep=True).ok


@pytest.mark.parametrize("layout", LAYOUTS)
def test_failed_addition_changes_nothing_and_can_be_repeated(
    match: Timeline, layout: Layout
) -> None:
    fill(match, layout, "planes")
    before = all_jpegs(match)

    def fail(action: str, key: str) -> None:
        if "/renditions/" in key and "/30/" in key and action != "list" and "12" in key:
            raise OSError("no more space")

    store = HookedStore(open_store(folder(match)), before=fail if layout == "objects" else None)
    if layout == "objects":
        with pytest.raises(OSError, match="no more space"):
            Timeline(store, "t").add_renditions([30])
        assert match.index.rendition_sides == SIDES
        assert all_jpegs(FrameCache(folder(match)).timeline("t")) == before
    assert match.add_renditions([30]).renditions == (48, 30, 20)
    assert match.index.has_rendition(30).all()
    assert match.verify(deep=True).ok


def test_damaged_frame_fails_the_addition_and_changes_nothing(match: Timeline) -> None:
    match.extract(clips.chunks(), every=3)
    Path(folder(match), f"{PREFIX}frames/3.jpg").unlink()
    with pytest.raises(CorruptFrame):
        match.add_renditions(SIDES)
    assert not FrameCache(folder(match)).timeline("t").index.rendition_sides


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reader_of_former_locations_goes_on_during_changes(match: Timeline, layout: Layout) -> None:
    """A repack moves renditions while a reader has the former index."""
    fill(match, layout)
    reader = FrameCache(folder(match)).timeline("t")
    expected = [one.image.tolist() for one in reader.frames(max_side=20)]
    match.repack("packs" if layout == "objects" else "objects")
    for number, sequence in enumerate(reader.index.sequence.tolist()):
        assert reader.frame(sequence, max_side=20).image.tolist() == expected[number]
    assert reader.frame(0, max_side=20).image.shape == (13, 20, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_that_cannot_be_repaired_is_reported_with_that_of_other_parts(
    tmp_path: Path, match: Timeline, layout: Layout
) -> None:
    video = clips.copy_to(clips.chunks()[2], tmp_path)
    match.extract(video, every=3, layout=layout, renditions=SIDES)
    video.unlink()
    row = match.index.row(1)
    for located in (row, row.renditions[0]):
        stored = bytearray(outside(folder(match)).read(located.key))
        stored[located.offset + located.size // 2] ^= 1
        outside(folder(match)).put(located.key, bytes(stored))
    report = match.verify(repair=True)
    # A finding without a sequence is about the video.
    of_frames = [one for one in report.findings if one.sequence is not None]
    assert [(one.sequence, one.repaired) for one in of_frames] == [(1, False), (1, False)]
    assert report.frames_checked == len(match)


def test_index_has_no_rows_of_a_size_that_no_rendition_has(match: Timeline) -> None:
    match.extract(clips.chunks()[0], renditions=SIDES)
    assert len(match.index.of_renditions(640)) == 0
    assert len(match.index.of_renditions(SIDES[0])) == len(match)


def test_renditions_are_not_stored_for_rows_that_a_repair_replaced(
    match: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two programs that add renditions read the index before the other's repair."""
    match.extract(clips.chunks()[:2], every=3, layout="objects")
    others = FrameCache(folder(match)).timeline("t")
    rewrite = PartsRewrite._rewrite  # noqa: SLF001 -- between the read of the index and the lease

    def after_a_repair(
        self: PartsRewrite, part: str, index: Index, old_keys: Sequence[str]
    ) -> RewrittenPart:
        monkeypatch.setattr(PartsRewrite, "_rewrite", rewrite)
        others.add_renditions(SIDES)
        Path(folder(match), f"{PREFIX}frames/{len(match) - 1}.jpg").unlink()
        assert others.verify(repair=True).ok
        return rewrite(self, part, index, old_keys)

    monkeypatch.setattr(PartsRewrite, "_rewrite", after_a_repair)
    with pytest.raises(StoreUnavailable, match=r"changed part .* in the meantime"):
        match.add_renditions(SIDES)
    assert FrameCache(folder(match)).timeline("t").verify().ok


def test_frames_replaced_during_an_addition_get_their_public_keys(match: Timeline) -> None:
    match.write([frame(n, width=96, height=64) for n in range(4)], layout="objects")

    def replace(_: Progress) -> None:
        others = FrameCache(folder(match)).timeline("t")
        others.write([frame(0, number=7, width=96, height=64)], on_conflict="replace")

    match.add_renditions(SIDES, progress=replace)
    latest = FrameCache(folder(match)).timeline("t")
    assert outside(folder(match)).read(f"{PREFIX}frames/0.jpg") == latest.jpeg(0)


def test_renditions_stored_again_while_others_are_collected_are_kept(match: Timeline) -> None:
    match.extract(clips.chunks()[:2], every=3, layout="objects")
    store = FrameCache(folder(match)).store
    with pytest.raises(Crash):
        Timeline(dying_at(store, "create", "/timeline/"), "t").add_renditions(SIDES)
    for blob in outside(folder(match)).list(PREFIX):
        os.utime(Path(folder(match), blob), (time.time() - 10**6,) * 2)
    added: list[str] = []

    def add(action: Action, key: str) -> None:
        if action == "list" and key.endswith("/renditions/"):
            added.append(key)
        if action == "list" and "/claims/" in key and len(added) == 1:
            added.append(key)
            match.add_renditions(SIDES)

    planned = plan_gc(
        HookedStore(store, before=add),
        timelines=["t"],
        grace_seconds=3600,
        max_bytes=None,
        max_age_seconds=None,
    )
    planned.execute(max_share=1)
    assert len(added) == 2
    assert FrameCache(folder(match)).timeline("t").verify().ok
    assert FrameCache(folder(match)).timeline("t").index.has_rendition(SIDES[0]).all()
