"""Neither many requests for some work nor a hanging store block other requests."""

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import Any, Final, TypeVar

import pytest
from served import Service, over, problem_of, serving, uncached

from framecache import FrameCache
from framecache._index import Snapshot, arrow
from framecache._index.columns import Columns
from framecache.server import Limits, ServiceSettings
from framecache.server.timeline_cache import TimelineCache
from framecache.server.work_limits import QueuedConcurrencyLimit, WorkLimits, current_client
from framecache.testing import Action, HookedStore
from outside import frame, outside, png_by_pillow

MANY: Final = 50

Result = TypeVar("Result")


def filled(url: str, *timeline_ids: str) -> FrameCache:
    cache = FrameCache(url)
    for timeline_id in timeline_ids:
        cache.timeline(timeline_id).write([frame(0)])
    return cache


def at_once(service: Service, path: str, pool: ThreadPoolExecutor, refused: int) -> None:
    """Send many requests, and wait until a number of them are refused."""
    asked = [pool.submit(service.get, path) for _ in range(MANY)]
    for _, one in zip(range(refused), as_completed(asked), strict=False):
        assert problem_of(one.result()) == (429, "rate_limited")


class Hanging:
    """Hook that makes a store hang on requests for some timelines."""

    def __init__(self) -> None:
        self.timeline_ids: set[str] = set()
        self.is_begun = threading.Event()
        self._ended = threading.Event()

    def __call__(self, _: Action, key: str) -> None:
        if any(f"/timelines/{one}/" in key for one in self.timeline_ids):
            self.is_begun.set()
            assert self._ended.wait(60)

    @contextmanager
    def with_many(self) -> Iterator[ThreadPoolExecutor]:
        """Create threads for clients; the store stops hanging at the end of the block."""
        with ThreadPoolExecutor(MANY) as pool:
            try:
                yield pool
            finally:
                self._ended.set()


def test_full_work_limits_leave_threads_free() -> None:
    limits = Limits()
    limited_threads = (
        limits.decodes_at_once
        + limits.decodes_waiting
        + limits.sheets_at_once
        + limits.sheets_waiting
        + limits.comparisons_at_once
        + limits.comparisons_waiting
        + limits.pages_at_once
        + limits.pages_waiting
        + limits.loads_at_once
    )
    assert limited_threads < limits.threads


def run_for(client: str, work: Callable[[], Result]) -> Result:
    """Run work as for a request of a client; return its result."""

    def ask() -> Result:
        current_client.set(client)
        return work()

    return copy_context().run(ask)


def test_one_client_leaves_a_slot_for_others() -> None:
    limit = QueuedConcurrencyLimit("A page", max_concurrent=4, max_waiting=4)
    with ExitStack() as held:

        def enter() -> bool:
            return held.enter_context(limit.slot_if_free())

        assert [run_for("a", enter) for _ in range(4)] == [True, True, True, False]
        assert run_for("b", enter)


@pytest.mark.parametrize("name", ["decodes", "sheets", "comparisons", "pages"])
def test_one_client_leaves_queue_places_for_others(name: str) -> None:
    limit: QueuedConcurrencyLimit = getattr(WorkLimits.from_limits(Limits()), name)
    is_begun, may_end = threading.Event(), threading.Event()

    def enter() -> None:
        with limit.slot():
            may_end.wait(60)

    def enter_as_other() -> None:
        is_begun.set()
        run_for("b", enter)

    with ThreadPoolExecutor(MANY + 1) as pool:
        asked = [pool.submit(run_for, "a", enter) for _ in range(MANY)]
        assert next(as_completed(asked)).exception() is not None
        other = pool.submit(enter_as_other)
        assert is_begun.wait(60)
        may_end.set()
        assert other.exception() is None


def test_documents_are_served_while_many_thumbnails_wait(memory_url: str) -> None:
    settings = ServiceSettings(limits=Limits(decodes_at_once=1))
    waiting = settings.limits.decodes_waiting
    thumbnail = "api/v1/timelines/t/frames/0.jpg?width=16"
    with (
        serving(filled(memory_url, "t"), settings) as service,
        ThreadPoolExecutor(MANY) as pool,
        service.inside.work_limits.decodes.slot(),
    ):
        at_once(service, thumbnail, pool, refused=MANY - waiting)
        assert service.json("api/v1/timelines/t")["frame_count"] == 1


def test_hanging_timeline_does_not_delay_others(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "known", "new", "t").store, before=hanging)
    with serving(over(store), uncached()) as service, hanging.with_many() as pool:
        service.json("api/v1/timelines/known")
        hanging.timeline_ids.add("t")
        at_once(service, "api/v1/timelines/t/frames", pool, refused=MANY - 8)
        assert service.json("api/v1/timelines/known")["frame_count"] == 1
        assert service.json("api/v1/timelines/new")["frame_count"] == 1


def test_cached_timeline_is_served_while_its_refresh_hangs(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "t").store, before=hanging)

    def ask_until_it_hangs() -> None:
        while not hanging.is_begun.is_set():
            service.get("api/v1/timelines/t/frames")

    with serving(over(store), uncached()) as service, hanging.with_many() as pool:
        service.json("api/v1/timelines/t/frames")
        hanging.timeline_ids.add("t")
        pool.submit(ask_until_it_hangs)
        assert hanging.is_begun.wait(60)
        assert len(service.json("api/v1/timelines/t/frames")["frames"]) == 1


def test_cached_timeline_is_served_while_all_load_slots_hang(memory_url: str) -> None:
    hanging = Hanging()
    names = [f"t{number}" for number in range(MANY)]
    store = HookedStore(filled(memory_url, "known").store, before=hanging)
    limits = Limits(loads_of_one_client=Limits().loads_at_once)
    settings = uncached(ServiceSettings(limits=limits))
    with serving(over(store), settings) as service, hanging.with_many() as pool:
        service.json("api/v1/timelines/known/frames")
        hanging.timeline_ids.update(names)
        asked = [pool.submit(service.get, f"api/v1/timelines/{one}/frames") for one in names]
        refused = MANY - Limits().loads_at_once
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "rate_limited")
        assert len(service.json("api/v1/timelines/known/frames")["frames"]) == 1


def test_timeline_invalidated_during_load_is_loaded_again(memory_url: str) -> None:
    cache = filled(memory_url, "t")
    limits = Limits(cache_ttl_seconds=3600.0)
    entry = TimelineCache(cache, limits, WorkLimits.from_limits(limits)).get("t")
    looked_up = entry.timeline.snapshot_cache.latest_source

    def change_during_look_up() -> object:
        found = looked_up()
        cache.timeline("t").write([frame(1)])
        entry.invalidate()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry.timeline.snapshot_cache, "latest_source", change_during_look_up)
        entry.source()
    assert entry.row_count == 0
    entry.source()
    assert entry.row_count == 2


def test_older_load_that_ends_later_does_not_replace_newer_one(memory_url: str) -> None:
    cache = filled(memory_url, "t")
    limits = Limits(cache_ttl_seconds=3600.0)
    entry = TimelineCache(cache, limits, WorkLimits.from_limits(limits)).get("t")
    look_up = entry.timeline.snapshot_cache.latest_source

    def change_during_look_up() -> object:
        patch.undo()
        found = look_up()
        cache.timeline("t").write([frame(1)])
        entry.force_refresh()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry.timeline.snapshot_cache, "latest_source", change_during_look_up)
        entry.load()
    assert entry.row_count == 2


def test_refreshes_leave_load_slots_for_first_loads(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "t", "u", "new").store, before=hanging)
    refreshing = {"Cache-Control": "no-cache"}
    limits = Limits(
        loads_of_one_client=Limits().loads_at_once,
        refreshes_of_one_client=Limits().refreshes_at_once,
    )
    settings = ServiceSettings(limits=limits)
    with serving(over(store), settings) as service, hanging.with_many() as pool:
        for known in ("t", "u"):
            service.json(f"api/v1/timelines/{known}")
        hanging.timeline_ids.update(["t", "u"])
        asked = [
            pool.submit(service.get, f"api/v1/timelines/{known}", headers=refreshing)
            for known in ["t", "u"] * (MANY // 2)
        ]
        refused = MANY - Limits().refreshes_at_once
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "rate_limited")
        assert service.json("api/v1/timelines/new")["frame_count"] == 1


def test_client_loading_many_timelines_leaves_slots_for_others(memory_url: str) -> None:
    hanging = Hanging()
    names = [f"t{number}" for number in range(MANY)]
    store = HookedStore(filled(memory_url, "new").store, before=hanging)
    with (
        serving(over(store)) as service,
        hanging.with_many() as pool,
        service.from_address("127.0.0.2") as other,
    ):
        hanging.timeline_ids.update(names)
        asked = [pool.submit(service.get, f"api/v1/timelines/{one}/frames") for one in names]
        refused = MANY - Limits().loads_of_one_client
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "rate_limited")
        assert problem_of(service.get("api/v1/timelines/new")) == (429, "rate_limited")
        assert other.json("api/v1/timelines/new")["frame_count"] == 1


def test_client_with_many_refreshes_leaves_slots_for_others(memory_url: str) -> None:
    hanging = Hanging()
    store = HookedStore(filled(memory_url, "t", "known").store, before=hanging)
    refreshing = {"Cache-Control": "no-cache"}
    with (
        serving(over(store)) as service,
        hanging.with_many() as pool,
        service.from_address("127.0.0.2") as other,
    ):
        service.json("api/v1/timelines/t")
        hanging.timeline_ids.add("t")
        asked = [
            pool.submit(service.get, "api/v1/timelines/t", headers=refreshing) for _ in range(MANY)
        ]
        refused = MANY - Limits().refreshes_of_one_client
        for _, one in zip(range(refused), as_completed(asked), strict=False):
            assert problem_of(one.result()) == (429, "rate_limited")
        assert other.json("api/v1/timelines/known", headers=refreshing)["frame_count"] == 1


def test_embedded_frame_pages_beyond_limit_are_refused(memory_url: str) -> None:
    limits = Limits(pages_at_once=1, pages_waiting=0)
    page = "api/v1/timelines/t/frames?embed=jpeg_b64"
    with serving(filled(memory_url, "t"), ServiceSettings(limits=limits)) as service:
        with service.inside.work_limits.pages.slot():
            assert problem_of(service.get(page)) == (429, "rate_limited")
        assert len(service.json(page)["frames"]) == 1


def test_stored_sprite_sheet_needs_no_slot(memory_url: str) -> None:
    cache = filled(memory_url, "t", "u")
    cache.timeline("t").sprites().make_all()
    limits = Limits(sheets_at_once=1, sheets_waiting=0, decodes_at_once=1)
    with serving(cache, ServiceSettings(limits=limits)) as service:
        work_limits = service.inside.work_limits
        with work_limits.sheets.slot(), work_limits.decodes.slot():
            assert service.get("api/v1/timelines/t/sprites/0.jpg").status_code == 200
            answer = service.get("api/v1/timelines/u/sprites/0.jpg")
            assert problem_of(answer) == (429, "rate_limited")
        assert service.get("api/v1/timelines/u/sprites/0.jpg").status_code == 200


def test_comparisons_beyond_limit_are_refused(memory_url: str) -> None:
    limits = Limits(comparisons_at_once=1, comparisons_waiting=0)
    path = "api/v1/timelines/t/overlays/j/s/compare?job=k&stage=s"
    with serving(filled(memory_url, "t"), ServiceSettings(limits=limits)) as service:
        with service.inside.work_limits.comparisons.slot():
            assert problem_of(service.get(path)) == (429, "rate_limited")
        assert service.get(path).status_code == 200


def test_all_pages_of_timeline_list_take_one_store_listing(memory_url: str) -> None:
    names = [f"t{number:02}" for number in range(MANY)]
    listings = 0

    def count(_: Action, key: str) -> None:
        nonlocal listings
        listings += key == "cache/timelines/"

    store = HookedStore(filled(memory_url, *names).store, before=count)
    limits = Limits(cache_ttl_seconds=3600.0)
    with serving(over(store), ServiceSettings(limits=limits)) as service:
        listed: list[str] = []
        after: str | None = ""
        while after is not None:
            page = service.json("api/v1/timelines", params={"limit": 10, "after": after})
            listed += [one["timeline_id"] for one in page["timelines"]]
            after = page["next"]
        assert (listed, listings) == (names, 1)
        FrameCache(memory_url).timeline("t").write([frame(0)])
        assert service.json("api/v1/timeline-ids")["ids"] == ["t", *names]


def test_timeline_list_takes_three_requests_per_timeline_and_decodes_no_row(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"t{number:02}" for number in range(MANY)]
    asked: list[str] = []
    cache = filled(memory_url, *names)
    store = HookedStore(cache.store, before=lambda _, key: asked.append(key))
    rows_read = 0
    to_columns = arrow.to_columns

    def count(batches: Any) -> Columns:  # noqa: ANN401 -- passed on
        nonlocal rows_read
        rows_read += 1
        return to_columns(batches)

    monkeypatch.setattr(arrow, "to_columns", count)
    with serving(over(store)) as service:
        page = service.json("api/v1/timelines", params={"limit": MANY})
    assert [one["frame_count"] for one in page["timelines"]] == [1] * MANY
    of_timelines = [key for key in asked if key.startswith("cache/timelines/t")]
    assert (len(of_timelines), rows_read) == (3 * MANY, 0)


def cached(cache: FrameCache, limits: Limits) -> TimelineCache:
    return TimelineCache(cache, limits, WorkLimits.from_limits(limits))


def test_least_recently_requested_timeline_is_dropped_beyond_limit(memory_url: str) -> None:
    timeline_cache = cached(filled(memory_url, "t", "u", "v"), Limits(max_cached_timelines=2))
    first, second = timeline_cache.get("t"), timeline_cache.get("u")
    assert timeline_cache.get("t") is first
    timeline_cache.get("v")
    assert len(timeline_cache) == 2
    assert timeline_cache.get("t") is first
    assert timeline_cache.get("u") is not second


def test_timelines_beyond_row_limit_are_dropped_after_load(
    memory_url: str,
) -> None:
    timeline_cache = cached(filled(memory_url, "t", "u", "v"), Limits(max_cached_frames=2))
    kept = [timeline_cache.get(one) for one in ("t", "u", "v")]
    for one in kept:
        one.source()
    assert len(timeline_cache) == 2
    assert timeline_cache.get("u") is kept[1]
    assert timeline_cache.get("v") is kept[2]
    alone = cached(filled(memory_url, "w"), Limits(max_cached_frames=0))
    assert len(alone.get("w").source().snapshot.index) == 1
    assert len(alone) == 1


def test_ids_are_listed_without_reading_a_timeline(memory_url: str) -> None:
    def refuse(_: Action, key: str) -> None:
        assert not key.startswith("cache/timelines/t")

    store = HookedStore(filled(memory_url, "t0", "t1", "t2", "u").store, before=refuse)
    with serving(over(store)) as service:
        first = service.json("api/v1/timeline-ids", params={"q": "t", "limit": 2})
        assert first == {"ids": ["t0", "t1"], "next": "t1"}
        rest = service.json("api/v1/timeline-ids", params={"q": "t", "after": "t1"})
        assert rest == {"ids": ["t2"], "next": None}


def test_timeline_list_holds_few_snapshots_in_memory(memory_url: str) -> None:
    names = [f"t{number}" for number in range(MANY)]
    cache = filled(memory_url, *names)
    limits = Limits()
    timeline_cache = TimelineCache(cache, limits, WorkLimits.from_limits(limits))
    lock, summarized, alive = threading.Lock(), 0, 0

    def sum_up(timeline_id: str, _: Snapshot) -> str:
        nonlocal summarized, alive
        with lock:
            summarized += 1
            if summarized == MANY:
                alive = held() - before
        return timeline_id

    def held() -> int:
        return sum(type(one) is Snapshot for one in gc.get_objects())

    before = held()
    assert timeline_cache.summarize(names, sum_up) == names
    assert 0 < alive < MANY / 2


def test_overlays_too_large_together_are_served_one_by_one(local_url: str) -> None:
    prefix = "cache/timelines/t/overlays/j/s/"
    cache = filled(local_url, "t")
    for name in ("a", "b"):
        outside(local_url).put(f"{prefix}0_{name}.png", png_by_pillow(1) + bytes(20 * 2**20))
        outside(local_url).put(f"{prefix}1_{name}.png", png_by_pillow(1))
    with serving(cache) as service:
        answer = service.get("api/v1/timelines/t/overlays/j/s/0")
        assert problem_of(answer) == (413, "too_large")
        assert service.get("api/v1/timelines/t/overlays/j/s/0/a.png").status_code == 200
        assert set(service.json("api/v1/timelines/t/overlays/j/s/1")) == {"a", "b"}
