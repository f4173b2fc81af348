"""Sprite sheets: their tiles, the requests they take, and no tile of a wrong frame."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier

import clips
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from framecache import (
    FrameCache,
    InvalidValue,
    Sprites,
    StorePermissionDenied,
    Timeline,
    TimelineCleared,
)
from framecache.model import Layout
from framecache.testing import Action, HookedStore, fail_from_nth
from outside import (
    everything,
    frame,
    jpeg_by_pillow,
    mean_error,
    outside,
    pixels_by_pillow,
)
from signing import sign_pictures

PREFIX = "cache/timelines/t/"
GRAY = np.full((1, 1, 3), 128, np.uint8)
Pixels = npt.NDArray[np.uint8]


def timeline(url: str) -> Timeline:
    return FrameCache(url).timeline("t")


def stored(url: str) -> list[str]:
    return outside(url).list(f"{PREFIX}sprites/")


def thumbnail(data: bytes, *, size: tuple[int, int]) -> Pixels:
    """A frame as Pillow makes it as large as a tile."""
    with Pillow.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize(size, Pillow.Resampling.BILINEAR))


def tiles(sprites: Sprites) -> list[Pixels]:
    """The tile of each position, cut out by Pillow."""
    found: list[Pixels] = []
    layout = sprites.map
    for i, sheet in enumerate(layout.sheets):
        pixels = pixels_by_pillow(sprites.sheet(i))
        assert pixels.shape[1] == layout.columns * layout.tile_width
        assert sheet.first_position == len(found)
        for place in range(sheet.count):
            row, column = divmod(place, layout.columns)
            top, left = row * layout.tile_height, column * layout.tile_width
            found.append(
                pixels[top : top + layout.tile_height, left : left + layout.tile_width].copy()
            )
    return found


def require_right(of: Timeline) -> None:
    """Require that each tile is close to Pillow's thumbnail of its frame, and closest to it."""
    sprites, index = of.sprites(), of.index
    size = sprites.map.tile_width, sprites.map.tile_height
    shown = tiles(sprites)
    assert len(shown) == len(index)
    for position, tile in enumerate(shown):
        if index.is_ok[position]:
            jpeg = of.jpeg(int(index.sequence[position]))
            assert mean_error(tile, thumbnail(jpeg, size=size)) < 6
        else:
            assert mean_error(tile, np.broadcast_to(GRAY, tile.shape)) < 3


@pytest.mark.parametrize("layout", ["objects", "packs"])
@pytest.mark.every_store
def test_each_tile_is_thumbnail_of_its_frame(store_url: str, layout: Layout) -> None:
    timeline(store_url).extract(clips.chunks(), layout=layout)
    found = timeline(store_url).sprites().map
    assert [(one.chunk_id, one.first_position, one.count) for one in found.sheets] == [
        (0, 0, 20),
        (1, 20, 10),
        (2, 30, 15),
    ]
    require_right(timeline(store_url))
    epoch = timeline(store_url).info().epoch
    assert stored(store_url) == [f"{PREFIX}sprites/{epoch}/{n:06d}-0.jpg" for n in range(3)]
    require_right(timeline(store_url))


def test_frames_with_gaps_fill_several_sheets(local_url: str) -> None:
    t = timeline(local_url)
    t.write([frame(3 * n, number=n, width=64, height=48) for n in range(230)])
    assert [one.count for one in t.sprites().map.sheets] == [100, 100, 30]
    require_right(t)


def test_frames_of_different_size_keep_their_proportions(local_url: str) -> None:
    white = np.full((40, 160, 3), 255, np.uint8)
    t = timeline(local_url)
    t.write([frame(0, width=160, height=160)])
    with_other = frame(1)
    t.write([type(with_other)(1, 0, 0.5, white)])
    [_, tile] = tiles(t.sprites())
    assert mean_error(tile[64:96], np.full((32, 160, 3), 255, np.uint8)) < 3
    assert mean_error(tile[:56], np.full((56, 160, 3), 128, np.uint8)) < 3
    assert mean_error(tile[104:], np.full((56, 160, 3), 128, np.uint8)) < 3


def test_undecodable_frame_has_gray_tile(local_url: str) -> None:
    t = timeline(local_url)
    t.extract(clips.ends_in_garbage())
    assert not t.index.is_ok.all()
    require_right(t)
    assert len(stored(local_url)) == 1


def test_sheets_of_foreign_frames_are_not_stored(store_url: str) -> None:
    for n in (0, 4, 9):
        outside(store_url).put(f"{PREFIX}frames/{n}.jpg", jpeg_by_pillow(n, width=320, height=180))
    before = everything(outside(store_url))
    t = timeline(store_url)
    assert (t.sprites().map.tile_width, t.sprites().map.tile_height) == (160, 90)
    require_right(t)
    assert everything(outside(store_url)) == before


def test_timeline_without_frames_has_no_sheet(local_url: str) -> None:
    sprites = timeline(local_url).sprites()
    assert sprites.map.sheets == ()
    for i in (0, -1, True, "0", 10**9):
        with pytest.raises(InvalidValue, match="has 0 sheets"):
            sprites.sheet(i)  # type: ignore[arg-type]


def test_stored_sheet_takes_one_request(memory_url: str) -> None:
    timeline(memory_url).extract(clips.chunks())
    store = HookedStore(FrameCache(memory_url).store)
    opened = Timeline(store, "t")
    sprites = opened.sprites()
    epoch = opened.info().epoch
    key = f"{PREFIX}sprites/{epoch}/000001-0.jpg"
    opened.jpeg(0)
    store.requests.clear()
    made = sprites.sheet(1)
    frames = sorted(("get", f"{PREFIX}frames/{n}.jpg") for n in range(20, 30))
    assert store.requests[0] == ("get", key)
    assert sorted(store.requests[1:11]) == frames
    assert [action for action, _ in store.requests[11:]] == ["create", "head", "get"]
    store.requests.clear()
    assert sprites.sheet(1) == opened.sprites().sheet(1) == made
    assert store.requests == [("get", key)] * 2


def test_make_all_creates_missing_sheets(store_url: str) -> None:
    timeline(store_url).extract(clips.chunks(), every=3)
    timeline(store_url).sprites().sheet(1)
    assert timeline(store_url).sprites().make_all() == 2
    assert timeline(store_url).sprites().make_all() == 0
    assert len(stored(store_url)) == 3


@pytest.mark.parametrize("action", ["create", "put"])
def test_sheet_is_returned_when_store_denies_writes(local_url: str, action: Action) -> None:
    timeline(local_url).extract(clips.clip(), every=5)
    if action == "put":
        epoch = timeline(local_url).info().epoch
        outside(local_url).put(f"{PREFIX}sprites/{epoch}/000000-0.jpg", b"damaged")
    before = everything(outside(local_url))
    hook = fail_from_nth(
        StorePermissionDenied("read only"), action=action, nth=1, within="sprites/"
    )
    reader = Timeline(HookedStore(FrameCache(local_url).store, before=hook), "t")
    require_right(reader)
    after = everything(outside(local_url))
    assert {key for key in after if "/sprites/" in key} == {
        key for key in before if "/sprites/" in key
    }


Change = Callable[[str], object]


def repack(url: str) -> None:
    timeline(url).repack("packs")


def rewrite(url: str) -> None:
    timeline(url).delete()
    timeline(url).write([frame(n, number=40 + n, width=96, height=64) for n in range(12)])


def damage_and_repair(url: str) -> None:
    damaged = jpeg_by_pillow(200, width=96, height=64)
    outside(url).put(f"{PREFIX}frames/5.jpg", damaged)
    assert timeline(url).verify(repair=True).repaired == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda url: timeline(url).append(clips.clip()),
        lambda url: timeline(url).rebuild(),
        lambda url: timeline(url).rebuild(every=2),
        repack,
        rewrite,
        damage_and_repair,
        lambda url: (timeline(url).clear(), timeline(url).extract(clips.clip(), every=4)),
    ],
    ids=["append", "rebuild", "every", "repack", "rewrite", "repair", "other chunks"],
)
def test_sheets_after_change_show_no_wrong_frame(memory_url: str, change: Change) -> None:
    timeline(memory_url).extract(clips.chunks(), every=3)
    timeline(memory_url).sprites().make_all()
    change(memory_url)
    require_right(timeline(memory_url))


def test_frames_written_between_others_move_tiles(memory_url: str) -> None:
    t = timeline(memory_url)
    t.write([frame(2 * n, number=n) for n in range(20)])
    require_right(t)
    t.write([frame(2 * n + 1, number=100 + n) for n in range(20)])
    assert len(t.index) == 40
    require_right(t)
    require_right(timeline(memory_url))


def test_damaged_sheet_is_rendered_again(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    made = timeline(memory_url).sprites().sheet(0)
    [key] = stored(memory_url)
    for at in (0, 30, 60, len(made) // 2, len(made) - 1):
        damaged = bytearray(made)
        damaged[at] ^= 1
        for bad in (bytes(damaged), made[:at]):
            outside(memory_url).put(key, bad)
            assert timeline(memory_url).sprites().sheet(0) == made
            assert outside(memory_url).read(key) == made


def test_damaged_frame_has_gray_tile_until_repaired(memory_url: str) -> None:
    t = timeline(memory_url)
    t.extract(clips.clip(), every=5)
    outside(memory_url).remove(f"{PREFIX}frames/2.jpg")
    shown = tiles(t.sprites())
    assert mean_error(shown[2], np.broadcast_to(GRAY, shown[2].shape)) < 3
    assert stored(memory_url) == []
    assert t.verify(repair=True).ok
    require_right(timeline(memory_url))
    assert len(stored(memory_url)) == 1


def test_sheet_of_stale_snapshot_is_not_stored_after_repair(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    before = timeline(memory_url).sprites()
    outside(memory_url).remove(f"{PREFIX}frames/1.jpg")
    sign_pictures(monkeypatch)
    assert timeline(memory_url).verify(repair=True).repaired == 1
    assert not before.found_or_made(0).is_complete
    assert stored(memory_url) == []
    require_right(timeline(memory_url))


def test_sheet_enters_render_context_once_and_decode_context_per_frame(
    memory_url: str,
) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    steps: list[str] = []

    @contextmanager
    def recorded(what: str) -> Iterator[None]:
        steps.append(what)
        yield

    opened = timeline(memory_url).snapshot_cache
    source = opened.source()
    sprites = Sprites(
        source,
        "t",
        opened.track_read,
        render_context=partial(recorded, "making"),
        decode_context=partial(recorded, "decoding"),
    )
    sprites.sheet(0)
    assert steps == ["making", *["decoding"] * len(source.snapshot.index)]
    steps.clear()
    sprites.sheet(0)
    assert steps == []


def test_concurrent_renders_store_one_sheet(store_url: str) -> None:
    timeline(store_url).extract(clips.clip(), every=5)
    together = Barrier(2)

    def before(action: Action, key: str) -> None:
        if action == "create" and "/sprites/" in key:
            together.wait(timeout=60)

    stores = [HookedStore(FrameCache(store_url).store, before=before) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda store: Timeline(store, "t").sprites().sheet(0), stores)
    [key] = stored(store_url)
    assert one == other == outside(store_url).read(key)


@pytest.mark.parametrize("ends", [Timeline.clear, Timeline.delete, Timeline.rebuild])
def test_sheet_rendered_while_epoch_ends_is_not_left_behind(
    memory_url: str, ends: Callable[[Timeline], object]
) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    left = [ends]

    def before(action: Action, key: str) -> None:
        if action == "create" and "/sprites/" in key and left:
            left.pop()(timeline(memory_url))

    slow = Timeline(HookedStore(FrameCache(memory_url).store, before=before), "t")
    slow.sprites().sheet(0)
    assert stored(memory_url) == []
    assert not left


def test_sprites_of_cleared_timeline_raise_timeline_cleared(memory_url: str) -> None:
    t = timeline(memory_url)
    t.extract(clips.clip(), every=5)
    sprites = t.sprites()
    timeline(memory_url).clear()
    with pytest.raises(TimelineCleared):
        sprites.sheet(0)
    assert t.sprites().map.sheets == ()


@pytest.mark.parametrize("ends", [Timeline.clear, Timeline.delete, Timeline.rebuild])
def test_end_of_epoch_removes_its_sheets(
    store_url: str, ends: Callable[[Timeline], object]
) -> None:
    timeline(store_url).extract(clips.chunks(), every=5)
    timeline(store_url).sprites().make_all()
    ends(timeline(store_url))
    assert stored(store_url) == []


def test_verify_reports_only_stale_and_orphan_sheets(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    timeline(memory_url).sprites().make_all()
    assert timeline(memory_url).verify().findings == ()
    epoch = timeline(memory_url).info().epoch
    stray = f"{PREFIX}sprites/{epoch}/nothing.jpg"
    old = f"{PREFIX}sprites/{int((epoch or '').partition('-')[0]):06d}-00000000/000000-0.jpg"
    for key in (stray, old):
        outside(memory_url).put(key, b"x")
    found = timeline(memory_url).verify().findings
    assert sorted((one.kind, one.key) for one in found) == [("orphan", stray), ("stale", old)]


def test_gc_removes_sheets_of_older_epochs_only(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    timeline(memory_url).sprites().make_all()
    [current] = stored(memory_url)
    old = f"{PREFIX}sprites/000000-00000000/000000-0.jpg"
    strange = f"{PREFIX}sprites/notes.txt"
    for key in (old, strange):
        outside(memory_url).put(key, b"x")
    FrameCache(memory_url).plan_gc(grace_seconds=0).execute(max_share=1)
    assert stored(memory_url) == sorted([current, strange])
    FrameCache(memory_url).plan_gc(grace_seconds=0, max_bytes=0).execute(max_share=1)
    assert stored(memory_url) == [strange]


def test_manifest_references_no_sheet(memory_url: str) -> None:
    timeline(memory_url).extract(clips.clip(), every=5)
    before = outside(memory_url).list(f"{PREFIX}timeline/")
    timeline(memory_url).sprites().make_all()
    assert outside(memory_url).list(f"{PREFIX}timeline/") == before
    assert "sprites" not in json.loads(outside(memory_url).read(before[-1]))
