"""No work that many ask for, and no store that hangs, keeps the others from being answered."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Final

import pytest
from served import Service, impatient, over, problem_of, serving

from framecache import FrameCache
from framecache.http import Limits, ServiceSettings
from framecache.http.gates import Gates
from framecache.http.known import KnownTimelines
from framecache.index import Snapshot
from framecache.testing import Action, HookedStore
from outside import frame, outside, png_by_pillow

MANY: Final = 50


def filled(url: str, *timeline_ids: str) -> FrameCache:
    cache = FrameCache(url)
    for timeline_id in timeline_ids:
        cache.timeline(timeline_id).write([frame(0)])
    return cache


def at_once(service: Service, path: str, pool: ThreadPoolExecutor, refused: int) -> None:
    """Ask for something many times, until so many are told to come again."""
    asked = [pool.submit(service.get, path) for _ in range(MANY)]
    for _, one in zip(range(refused), as_completed(asked), strict=False):
        assert problem_of(one.result()) == (429, "too_many")


class Hanging:
    """A hook under which a store answers nothing about some timelines."""

    def __init__(self) -> None:
        self.timeline_ids: set[str] = set()
        self.begun = threading.Event()
        self._ended = threading.Event()

    def __call__(self, _: Action, key: str) -> None:
        if any(f"/timelines/{one}/" in key for one in self.timeline_ids):
            self.begun.set()
            assert self._ended.wait(60)

    @contextmanager
    def with_many(self) -> Iterator[ThreadPoolExecutor]:
        """Threads for clients, whose requests are answered at the end at the latest."""
        with ThreadPoolExecutor(MANY) as pool:
            try:
                yield pool
            finally:
                self._ended.set()


def test_threads_are_left_when_all_gates_are_full() -> None:
    limits = Limits()
    behind_gates = (
        limits.decodes_at_once
        + limits.decodes_waiting
        + limits.sheets_at_once
        + limits.sheets_waiting
        + limits.compares_at_once
        + limits.compares_waiting
        + limits.pages_at_once
        + limits.pages_waiting
        + limits.looks_at_once
    )
    assert behind_gates < limits.threads


def test_documents_are_answered_while_many_wait_for_thumbnails(memory_url: str) -> None:
    settings = ServiceSettings(limits=Limits(decodes_at_once=1))
    waiting = settings.limits.decodes_waiting
    thumbnail = "api/timelines/t/frames/0.jpg?width=16"
    with (
        serving(filled(memory_url, "t"), settings) as service,
        ThreadPoolExecutor(MANY) as pool,
        service.inside.gates.decodes.entered(),
    ):
        at_once(service, thumbnail, pool, refused=MANY - waiting)
        assert service.json("api/timelines/t")["frame_count"] == 1


def test_a_timeline_that_hangs_keeps_no_other_waiting(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "known", "new", "t").store, before=hanging)
    with serving(over(store), impatient()) as service, hanging.with_many() as pool:
        service.json("api/timelines/known")
        hanging.timeline_ids.add("t")
        at_once(service, "api/timelines/t/frames", pool, refused=MANY - 8)
        assert service.json("api/timelines/known")["frame_count"] == 1
        assert service.json("api/timelines/new")["frame_count"] == 1


def test_a_known_timeline_is_answered_as_it_was_while_one_looks_at_it(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "t").store, before=hanging)

    def ask_until_it_hangs() -> None:
        while not hanging.begun.is_set():
            service.get("api/timelines/t/frames")

    with serving(over(store), impatient()) as service, hanging.with_many() as pool:
        service.json("api/timelines/t/frames")
        hanging.timeline_ids.add("t")
        pool.submit(ask_until_it_hangs)
        assert hanging.begun.wait(60)
        assert len(service.json("api/timelines/t/frames")["frames"]) == 1


def test_a_known_timeline_is_answered_while_all_who_may_look_wait(memory_url: str) -> None:
    hanging = Hanging()
    names = [f"t{number}" for number in range(MANY)]
    store = HookedStore(filled(memory_url, "known").store, before=hanging)
    with serving(over(store), impatient()) as service, hanging.with_many() as pool:
        service.json("api/timelines/known/frames")
        hanging.timeline_ids.update(names)
        asked = [pool.submit(service.get, f"api/timelines/{one}/frames") for one in names]
        refused = MANY - Limits().looks_at_once
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "too_many")
        assert len(service.json("api/timelines/known/frames")["frames"]) == 1


def test_what_is_forgotten_during_a_look_is_looked_at_again(memory_url: str) -> None:
    cache = filled(memory_url, "t")
    limits = Limits(known_for_seconds=3600.0)
    known = KnownTimelines(cache, limits, Gates.of(limits)).get("t")
    looked_up = known.timeline.opened.latest_source

    def change_meanwhile() -> object:
        found = looked_up()
        cache.timeline("t").write([frame(1)])
        known.forget()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known.timeline.opened, "latest_source", change_meanwhile)
        known.source()
    assert known.row_count == 0
    known.source()
    assert known.row_count == 2


def test_an_older_look_that_ends_later_changes_nothing(memory_url: str) -> None:
    cache = filled(memory_url, "t")
    limits = Limits(known_for_seconds=3600.0)
    known = KnownTimelines(cache, limits, Gates.of(limits)).get("t")
    look_up = known.timeline.opened.latest_source

    def change_meanwhile() -> object:
        patch.undo()
        found = look_up()
        cache.timeline("t").write([frame(1)])
        known.look_again()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known.timeline.opened, "latest_source", change_meanwhile)
        known.look()
    assert known.row_count == 2


def test_refreshes_leave_places_for_those_who_look_first(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "t", "u", "new").store, before=hanging)
    refreshing = {"Cache-Control": "no-cache"}
    with serving(over(store)) as service, hanging.with_many() as pool:
        for known in ("t", "u"):
            service.json(f"api/timelines/{known}")
        hanging.timeline_ids.update(["t", "u"])
        asked = [
            pool.submit(service.get, f"api/timelines/{known}", headers=refreshing)
            for known in ["t", "u"] * (MANY // 2)
        ]
        refused = MANY - Limits().refreshes_at_once
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "too_many")
        assert service.json("api/timelines/new")["frame_count"] == 1


def test_pages_with_pictures_are_made_a_few_at_a_time(memory_url: str) -> None:
    limits = Limits(pages_at_once=1, pages_waiting=0)
    page = "api/timelines/t/frames?embed=jpeg_b64"
    with serving(filled(memory_url, "t"), ServiceSettings(limits=limits)) as service:
        with service.inside.gates.pages.entered():
            assert problem_of(service.get(page)) == (429, "too_many")
        assert len(service.json(page)["frames"]) == 1


def test_a_stored_sheet_waits_for_nobody(memory_url: str) -> None:
    cache = filled(memory_url, "t", "u")
    cache.timeline("t").sprites().make_all()
    limits = Limits(sheets_at_once=1, sheets_waiting=0, decodes_at_once=1)
    with serving(cache, ServiceSettings(limits=limits)) as service:
        gates = service.inside.gates
        with gates.sheets.entered(), gates.decodes.entered():
            assert service.get("api/timelines/t/sprites/0.jpg").status_code == 200
            answer = service.get("api/timelines/u/sprites/0.jpg")
            assert problem_of(answer) == (429, "too_many")
        assert service.get("api/timelines/u/sprites/0.jpg").status_code == 200


def test_who_asks_for_too_many_comparisons_is_told_to_come_back(memory_url: str) -> None:
    limits = Limits(compares_at_once=1, compares_waiting=0)
    path = "api/timelines/t/overlays/j/s/compare?job=k&stage=s"
    with serving(filled(memory_url, "t"), ServiceSettings(limits=limits)) as service:
        with service.inside.gates.compares.entered():
            assert problem_of(service.get(path)) == (429, "too_many")
        assert service.get(path).status_code == 200


def test_a_list_of_timelines_holds_few_of_them_at_a_time(memory_url: str) -> None:
    names = [f"t{number}" for number in range(MANY)]
    cache = filled(memory_url, *names)
    limits = Limits()
    known = KnownTimelines(cache, limits, Gates.of(limits))
    lock, met, alive = threading.Lock(), 0, 0

    def sum_up(timeline_id: str, _: Snapshot) -> str:
        nonlocal met, alive
        with lock:
            met += 1
            if met == MANY:
                alive = held() - before
        return timeline_id

    def held() -> int:
        return sum(type(one) is Snapshot for one in gc.get_objects())

    before = held()
    assert known.summed_up(names, sum_up) == names
    assert 0 < alive < MANY / 2


def test_overlays_that_are_too_large_together_are_got_one_by_one(local_url: str) -> None:
    prefix = "cache/timelines/t/overlays/j/s/"
    cache = filled(local_url, "t")
    for name in ("a", "b"):
        outside(local_url).put(f"{prefix}0_{name}.png", png_by_pillow(1) + bytes(20 * 2**20))
        outside(local_url).put(f"{prefix}1_{name}.png", png_by_pillow(1))
    with serving(cache) as service:
        answer = service.get("api/timelines/t/overlays/j/s/0")
        assert problem_of(answer) == (413, "too_large")
        assert service.get("api/timelines/t/overlays/j/s/0/a.png").status_code == 200
        assert set(service.json("api/timelines/t/overlays/j/s/1")) == {"a", "b"}
