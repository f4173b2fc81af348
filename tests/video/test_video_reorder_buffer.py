"""The ledger gives out what nothing bad can have gone into, and as soon as that is known."""

from collections.abc import Iterable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from framecache._media.video import Decoded
from framecache._media.video.reorder_buffer import ReorderBuffer


def frame(*, corrupt: bool = False) -> Any:  # noqa: ANN401 - stands in for PyAV's
    return SimpleNamespace(is_corrupt=corrupt)


class Story:
    """A ledger that was given packets in decoding order: ``"I0 P4 B2"`` with keyframes I."""

    def __init__(self, packets: str, *, floor: int = 0) -> None:
        self._packets = [(kind[0], int(kind[1:])) for kind in packets.split()]
        self._ledger = ReorderBuffer({pts for _, pts in self._packets}, min_pts=floor)

    def send(self, *, failing: Iterable[int] = ()) -> "Story":
        for kind, pts in self._packets:
            self._ledger.add_packet(pts, is_keyframe=kind == "I")
            if pts in failing:
                self._ledger.mark_damaged(pts, "decoder: refused")
        return self

    def come(self, *times: int, corrupt: Iterable[int] = ()) -> dict[int, bool]:
        """Return the pictures that are emitted when these have come, and if each is good."""
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


def test_a_picture_waits_for_those_decoded_before_it() -> None:
    story = Story("I0 P4 B2 B1 B3").send()
    assert story.come(0) == good(0)
    assert story.come(1, 2, 3) == {}
    assert story.come(4) == good(1, 2, 3, 4)


def test_what_is_built_on_a_corrupt_picture_is_bad_though_it_came_earlier() -> None:
    story = Story("I0 P4 B2 I8 P12").send()
    assert story.come(0, 2, 4, corrupt=[4]) == good(0) | bad(2, 4)
    assert story.come(8, 12) == good(8, 12)


def test_what_is_built_on_a_lost_picture_is_bad() -> None:
    story = Story("I0 P2 P4 P6 I8").send()
    assert story.come(0, 2, 6, 8) == good(0, 2) | bad(4, 6) | good(8)


def test_what_was_decoded_before_a_failure_stays_good() -> None:
    story = Story("I0 P4 B2 P8 B6").send(failing=[8])
    assert story.come(0, 2, 4) == good(0, 2, 4)
    assert story.come(6) == {}
    assert story.finish() == bad(6, 8)


def test_damage_reaches_the_pictures_that_lead_the_next_keyframe_and_no_others() -> None:
    story = Story("I0 P4 I8 B6 P12").send(failing=[4])
    assert story.come(0, 6, 8, 12) == good(0) | bad(4, 6) | good(8, 12)


def test_pictures_that_lead_a_keyframe_damage_none_that_follow_it() -> None:
    story = Story("I0 P4 I8 B6 B7 P12").send(failing=[6])
    assert story.come(0, 4, 7, 8, 12) == good(0, 4) | bad(6, 7) | good(8, 12)


def test_pictures_before_the_floor_may_stay_away() -> None:
    story = Story("I8 B6 P12", floor=8).send()
    assert story.come(8, 12) == good(8, 12)


def test_pictures_that_are_not_shown_may_stay_away() -> None:
    ledger = ReorderBuffer({0, 2})
    ledger.add_packet(0, is_keyframe=True)
    ledger.add_packet(1, is_keyframe=False, is_shown=False)
    ledger.add_packet(2, is_keyframe=False)
    ledger.add_picture(0, frame())
    ledger.add_picture(2, frame())
    assert ledger.is_clean
    assert [item.pts for item in ledger.pop_ready()] == [0, 2]


def test_the_end_brings_what_was_held_back() -> None:
    story = Story("I0 P4 B2").send()
    assert story.come(0, 2) == good(0)
    assert story.finish() == bad(2, 4)


def test_damaged_times_do_not_hold_all_pictures_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_HELD_PICTURES", 3)
    # The picture with the wild time is lost, and nothing ever comes so late.
    story = Story("I0 P99999999 P1 P2 P3 P4 P5 P6").send()
    assert story.come(0, 1, 2) == good(0)
    assert story.come(3, 4, 5) == good(1, 2)
    assert story.finish() == bad(3, 4, 5, 6, 99999999)


def test_holding_too_many_pictures_is_an_irregularity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_HELD_PICTURES", 3)
    ledger = ReorderBuffer(set(range(10)) | {99})
    for pts in (0, 99, 1, 2, 3, 4):
        ledger.add_packet(pts, is_keyframe=pts == 0)
    for pts in (0, 1, 2, 3):
        ledger.add_picture(pts, frame())
    assert ledger.is_clean
    assert [item.pts for item in ledger.pop_ready()] == [0]
    ledger.add_picture(4, frame())
    assert not ledger.is_clean


def test_damage_all_over_takes_no_more_time_for_each_picture() -> None:
    ledger = ReorderBuffer(set(range(20_000)))
    given_out = 0
    for pts in range(20_000):
        ledger.add_packet(pts, is_keyframe=pts == 0)
        if pts % 2:
            ledger.mark_damaged(pts, "decoder: refused")
        else:
            ledger.add_picture(pts, frame())
        given_out += len(list(ledger.pop_ready()))
    assert given_out == 19_999
    assert len(ledger._damage) == 1  # noqa: SLF001 - what the time of each depends on


def test_a_picture_that_comes_too_early_takes_none_away() -> None:
    story = Story("I0 P2 P4 P6 I8").send()
    assert story.come(0, 6, 2, 4, 8) == good(0, 2, 4) | bad(6) | good(8)


def test_a_picture_that_comes_after_one_it_was_decoded_after_is_out_of_place() -> None:
    story = Story("I0 P4 B2 I8").send()
    assert story.come(0, 4, 2, 8) == good(0) | bad(2) | good(4, 8)


def test_what_is_said_of_a_picture_does_not_depend_on_what_is_decoded_after_it() -> None:
    for seed in range(300):
        dice = Random(seed)
        order = [0]
        for begin in range(0, 12, 4):
            order += [begin + 4, begin + 2, begin + 1, begin + 3]
        # A decoder orders pictures by what they say of themselves, which may be damaged.
        told = {pts: pts if dice.random() < 0.8 else dice.randint(-3, 20) + 0.5 for pts in order}
        told[0] = -9
        everything = verdicts(order, told, order)
        for end in range(1, len(order) + 1):
            last = order[end - 1]
            assert verdicts(order[:end], told, order)[last] == everything[last], seed


def verdicts(sent: list[int], told: dict[int, float], displayed: list[int]) -> dict[int, bool]:
    ledger = ReorderBuffer(set(displayed))
    for pts in sent:
        ledger.add_packet(pts, is_keyframe=pts == 0)
    for pts in sorted(sent, key=lambda pts: told[pts]):
        ledger.add_picture(pts, frame())
    ledger.flush()
    return {item.pts: isinstance(item, Decoded) for item in ledger.pop_ready()}
