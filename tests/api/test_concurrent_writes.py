"""Frames that are replaced while other programs move, repack, clear, read or write them."""

import io
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from PIL import Image as Pillow

from framecache import Frame, FrameCache, Timeline
from framecache.model import Layout
from framecache.testing import Crash, Hook, HookedStore
from outside import frame, frames_of, mean_error, outside, picture, pixels_by_pillow


@pytest.fixture
def url(local_url: str) -> str:
    """A local store, for behavior that hardly depends on the kind of store."""
    return local_url


def timeline(url: str, *, before: Hook | None = None, after: Hook | None = None) -> Timeline:
    """Return a new handle, like another program's."""
    return Timeline(HookedStore(FrameCache(url).store, before=before, after=after), "t")


def once(action: str, within: str, work: Callable[[], object]) -> Hook:
    """A hook that does some work at the first request of its kind."""
    is_done: list[bool] = []

    def hook(requested: str, key: str) -> None:
        if requested == action and within in key and not is_done:
            is_done.append(True)
            work()

    return hook


def replace(url: str, sequence: int, number: int) -> None:
    timeline(url).write([frame(sequence, number=number)], on_conflict="replace")


def shown(url: str, sequence: int) -> set[int]:
    """Return the numbers of the pictures that the library and the public name return."""
    images = [
        timeline(url).frame(sequence).image,
        pixels_by_pillow(frames_of(outside(url), "t")[f"{sequence}.jpg"]),
    ]
    return {n for n in range(12) for image in images if mean_error(image, picture(n)) <= 3}


@pytest.mark.parametrize("start", ["objects", "packs"])
def test_frame_replaced_during_repack_is_relocated_to_public_key(url: str, start: Layout) -> None:
    timeline(url).write([frame(n) for n in range(3)], layout=start)
    action, within = ("create", "/index/") if start == "packs" else ("get", "/index/")
    hook = once(action, within, lambda: replace(url, 1, 9))
    timeline(url, before=hook).repack("objects")
    assert shown(url, 1) == {9}
    assert outside(url).list("cache/timelines/t/packs/") == []


def test_relocation_overwrites_no_frame_of_later_epoch(url: str) -> None:
    timeline(url).write([frame(n) for n in range(3)])

    def write_in_new_epoch() -> None:
        timeline(url).write([frame(1, number=7)])

    def clear() -> None:
        # The packs of the previous epoch still exist when the frame is written.
        timeline(url, before=once("list", "/packs/", write_in_new_epoch)).clear()

    replacing = timeline(url, before=once("create", "/frames/1.jpg", clear))
    replacing.write([frame(1, number=5)], on_conflict="replace")
    assert shown(url, 1) == {7}


def test_failed_write_still_relocates_frames_replaced_by_others(url: str) -> None:
    timeline(url).write([frame(0)])

    def given() -> Iterator[Frame]:
        yield frame(5, number=3)
        yield from ()
        replace_when_created()
        raise ZeroDivisionError

    def replace_when_created() -> None:
        while "cache/timelines/t/frames/5.jpg" not in outside(url).list():
            time.sleep(0.01)
        replace(url, 5, 8)

    with pytest.raises(ZeroDivisionError):
        timeline(url).write(given())
    assert shown(url, 5) == {8}


def test_write_does_not_wait_for_program_killed_during_write(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline(url).write([frame(0)])
    is_dead: list[bool] = []

    def die(action: str, key: str) -> None:
        if is_dead or (action == "create" and "/index/" in key):
            is_dead.append(True)
            raise Crash

    with pytest.raises(Crash):
        timeline(url, before=die).write([frame(5, number=3)])
    sleeps: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleeps.append)
    monkeypatch.setattr("framecache._ingest.relocation.time", clock)
    replace(url, 5, 8)
    assert sleeps == []
    assert mean_error(timeline(url).frame(5).image, picture(8)) <= 3


def test_index_parts_of_killed_writes_are_skipped_in_few_requests(
    url: str,
) -> None:
    timeline(url).write([frame(0)])
    for n in range(12):
        is_dead: list[bool] = []

        def die(action: str, key: str, dead: list[bool] = is_dead) -> None:
            if dead or (action == "create" and "/index/" in key):
                dead.append(True)
                if len(dead) > 1:
                    raise Crash

        with pytest.raises(Crash):
            timeline(url, after=die).write([frame(20 + n)])
    requests: list[str] = []
    timeline(url, before=lambda action, key: requests.append(f"{action} {key}")).write([frame(1)])
    parts = [one for one in requests if one.startswith("create") and "/index/" in one]
    assert len(parts) <= 2, "one that is taken, and one after all of them"
    assert timeline(url).sequences() == [0, 1]


def test_batch_of_frames_replaced_in_another_size_has_new_size(url: str) -> None:
    timeline(url).write([frame(n) for n in range(3)])
    handle = timeline(url)
    assert handle.batch([0, 1, 2]).shape == (3, 32, 48, 3)
    larger = [frame(n, number=n + 5, width=56, height=40) for n in range(3)]
    timeline(url).write(larger, on_conflict="replace")
    batch = handle.batch([0, 1, 2])
    assert batch.shape == (3, 40, 56, 3)
    stored = frames_of(outside(url), "t")
    assert [Pillow.open(io.BytesIO(stored[f"{n}.jpg"])).size for n in range(3)] == [(56, 40)] * 3


def test_write_with_keep_of_frame_written_meanwhile_leaves_no_pack(url: str) -> None:
    timeline(url).write([frame(0)], layout="packs")
    packs = len(outside(url).list("cache/timelines/t/packs/"))
    hook = once("create", "/index/", lambda: replace(url, 5, 8))
    report = timeline(url, before=hook).write([frame(5, number=3)], on_conflict="keep")
    assert (report.kept, report.stored) == (1, 0)
    assert mean_error(timeline(url).frame(5).image, picture(8)) <= 3
    assert len(outside(url).list("cache/timelines/t/packs/")) == packs + 1
