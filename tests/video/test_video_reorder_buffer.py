"""The reorder buffer emits only pictures without damage, and as early as possible."""

from collections.abc import Iterable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from framecache._media.video import Decoded
from framecache._media.video.reorder_buffer import ReorderBuffer


def frame(*, corrupt: bool = False) -> Any:  # noqa: ANN401 - stands in for PyAV's
    return SimpleNamespace(is_corrupt=corrupt)


class History:
    """Reorder buffer with packets in decoding order: ``"I0 P4 B2"`` with keyframes I."""

    def __init__(self, packets: str, *, floor: int = 0) -> None:
        self._packets = [(kind[0], int(kind[1:])) for kind in packets.split()]
        self._ledger = ReorderBuffer({pts for _, pts in self._packets}, min_pts=floor)

    def send(self, *, failing: Iterable[int] = ()) -> "History":
        for kind, pts in self._packets:
            self._ledger.add_packet(pts, is_keyframe=kind == "I")
            if pts in failing:
                self._ledger.mark_damaged(pts, "decoder: refused")
        return self

    def come(self, *times: int, corrupt: Iterable[int] = ()) -> dict[int, bool]:
        """Add pictures; return those that are emitted, and True for each intact one."""
        for pts in times:
            self._ledger.add_picture(pts, frame(corrupt=pts in corrupt))
        return self._settled()

    def finish(self) -> dict[int, bool]:
        self._ledger.flush()
        return self._settled()

    def _settled(self) -> dict[int, bool]:
        return {item.pts: isinstance(item, Decoded) for item in self._ledger.pop_ready()}


def good(*times: int) -> dict[int, bool]:
    return dict.fromkeys(times, True)


def bad(*times: int) -> dict[int, bool]:
    return dict.fromkeys(times, False)


def test_picture_is_held_until_earlier_decoded_ones_arrive() -> None:
    story = History("I0 P4 B2 B1 B3").send()
    assert story.come(0) == good(0)
    assert story.come(1, 2, 3) == {}
    assert story.come(4) == good(1, 2, 3, 4)


def test_picture_that_depends_on_a_corrupt_one_is_bad_even_if_shown_earlier() -> None:
    story = History("I0 P4 B2 I8 P12").send()
    assert story.come(0, 2, 4, corrupt=[4]) == good(0) | bad(2, 4)
    assert story.come(8, 12) == good(8, 12)


def test_picture_that_depends_on_a_lost_one_is_bad() -> None:
    story = History("I0 P2 P4 P6 I8").send()
    assert story.come(0, 2, 6, 8) == good(0, 2) | bad(4, 6) | good(8)


def test_picture_decoded_before_a_failure_stays_good() -> None:
    story = History("I0 P4 B2 P8 B6").send(failing=[8])
    assert story.come(0, 2, 4) == good(0, 2, 4)
    assert story.come(6) == {}
    assert story.finish() == bad(6, 8)


def test_damage_reaches_only_the_leading_pictures_of_the_next_keyframe() -> None:
    story = History("I0 P4 I8 B6 P12").send(failing=[4])
    assert story.come(0, 6, 8, 12) == good(0) | bad(4, 6) | good(8, 12)


def test_damaged_leading_pictures_do_not_affect_trailing_ones() -> None:
    story = History("I0 P4 I8 B6 B7 P12").send(failing=[6])
    assert story.come(0, 4, 7, 8, 12) == good(0, 4) | bad(6, 7) | good(8, 12)


def test_missing_pictures_before_the_floor_are_not_damage() -> None:
    story = History("I8 B6 P12", floor=8).send()
    assert story.come(8, 12) == good(8, 12)


def test_missing_pictures_that_are_not_shown_are_not_damage() -> None:
    buffer = ReorderBuffer({0, 2})
    buffer.add_packet(0, is_keyframe=True)
    buffer.add_packet(1, is_keyframe=False, is_shown=False)
    buffer.add_packet(2, is_keyframe=False)
    buffer.add_picture(0, frame())
    buffer.add_picture(2, frame())
    assert buffer.is_clean
    assert [item.pts for item in buffer.pop_ready()] == [0, 2]


def test_finish_releases_held_pictures() -> None:
    story = History("I0 P4 B2").send()
    assert story.come(0, 2) == good(0)
    assert story.finish() == bad(2, 4)


def test_damaged_time_does_not_hold_all_pictures_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_HELD_PICTURES", 3)
    # The picture with the stray time is lost, and no picture arrives so late.
    story = History("I0 P99999999 P1 P2 P3 P4 P5 P6").send()
    assert story.come(0, 1, 2) == good(0)
    assert story.come(3, 4, 5) == good(1, 2)
    assert story.finish() == bad(3, 4, 5, 6, 99999999)


def test_holding_more_pictures_than_the_limit_is_not_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_HELD_PICTURES", 3)
    buffer = ReorderBuffer(set(range(10)) | {99})
    for pts in (0, 99, 1, 2, 3, 4):
        buffer.add_packet(pts, is_keyframe=pts == 0)
    for pts in (0, 1, 2, 3):
        buffer.add_picture(pts, frame())
    assert buffer.is_clean
    assert [item.pts for item in buffer.pop_ready()] == [0]
    buffer.add_picture(4, frame())
    assert not buffer.is_clean


def test_damage_state_stays_small_when_every_other_picture_is_damaged() -> None:
    buffer = ReorderBuffer(set(range(20_000)))
    given_out = 0
    for pts in range(20_000):
        buffer.add_packet(pts, is_keyframe=pts == 0)
        if pts % 2:
            buffer.mark_damaged(pts, "decoder: refused")
        else:
            buffer.add_picture(pts, frame())
        given_out += len(list(buffer.pop_ready()))
    assert given_out == 19_999
    assert len(buffer._damage) == 1  # noqa: SLF001 - what the time of each depends on


def test_picture_that_arrives_too_early_makes_no_other_bad() -> None:
    story = History("I0 P2 P4 P6 I8").send()
    assert story.come(0, 6, 2, 4, 8) == good(0, 2, 4) | bad(6) | good(8)


def test_picture_that_arrives_after_its_successor_is_bad() -> None:
    story = History("I0 P4 B2 I8").send()
    assert story.come(0, 4, 2, 8) == good(0) | bad(2) | good(4, 8)


def test_verdict_on_a_picture_does_not_depend_on_later_packets() -> None:
    for seed in range(300):
        dice = Random(seed)
        order = [0]
        for begin in range(0, 12, 4):
            order += [begin + 4, begin + 2, begin + 1, begin + 3]
        # A decoder orders pictures by their own order counts, which may be damaged.
        order_keys = {
            pts: pts if dice.random() < 0.8 else dice.randint(-3, 20) + 0.5 for pts in order
        }
        order_keys[0] = -9
        everything = verdicts(order, order_keys, order)
        for end in range(1, len(order) + 1):
            last = order[end - 1]
            assert verdicts(order[:end], order_keys, order)[last] == everything[last], seed


def verdicts(
    sent: list[int], order_keys: dict[int, float], displayed: list[int]
) -> dict[int, bool]:
    buffer = ReorderBuffer(set(displayed))
    for pts in sent:
        buffer.add_packet(pts, is_keyframe=pts == 0)
    for pts in sorted(sent, key=lambda pts: order_keys[pts]):
        buffer.add_picture(pts, frame())
    buffer.flush()
    return {item.pts: isinstance(item, Decoded) for item in buffer.pop_ready()}
