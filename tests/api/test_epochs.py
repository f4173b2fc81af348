"""Conflicting extractions: one continues and the others raise an error; none stops it."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clips
import google_crc32c
import pytest

import framecache._index.lease
import framecache._ingest.epochs
from framecache import ExtractReport, SettingsConflict, StoreUnavailable, Timeline
from framecache._index import lease
from framecache._ingest import epochs
from framecache.store import Store, open_store
from framecache.testing import Action, Crash, HookedStore
from outside import frame

PREFIX = "cache/timelines/t/"
FRAMES = 45
EXTRACTED = r"timeline t is being extracted with .* by another program"

Extract = Callable[[Store], ExtractReport]


def extract(store: Store, *given: Path, **settings: Any) -> ExtractReport:  # noqa: ANN401 -- of extract
    return Timeline(store, "t").extract(given or clips.chunks(), workers=1, **settings)


OTHERWISE: dict[str, Extract] = {
    "other settings": lambda store: extract(store, every=2),
    "another quality": lambda store: extract(store, quality=60),
    "another layout": lambda store: extract(store, layout="packs"),
    "another video": lambda store: extract(store, clips.clip(frames=30)),
}
DIFFERING = pytest.mark.parametrize("otherwise", OTHERWISE.values(), ids=OTHERWISE.keys())


@pytest.fixture
def store(memory_url: str) -> Store:
    return open_store(memory_url)


class Clock:
    """Clock that advances only while the program under test sleeps between checks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.began = self.now
        self.while_waiting: Callable[[], object] = lambda: None

    @property
    def waited_seconds(self) -> float:
        return self.now - self.began

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.while_waiting()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=clock.monotonic))
    waiting = SimpleNamespace(sleep=clock.sleep)
    monkeypatch.setattr(epochs, "time", waiting)
    return clock


def die(store: Store, *, at: Action, within: str, extract: Extract = extract) -> None:
    """Extract, and die at a request: neither it nor a later one is made."""
    died: list[str] = []

    def before(action: Action, key: str) -> None:
        if died or (action == at and within in key):
            died.append(key)
            if threading.current_thread().name == "framecache-leases":
                # Its thread outlives the simulated death, and would report a crash as a defect.
                raise StoreUnavailable("the program is dead")
            raise Crash

    with pytest.raises(Crash):
        extract(HookedStore(store, before=before))


def die_before_epoch_is_begun(store: Store) -> None:
    die(store, at="put", within="/0.jpg")


def die_after_epoch_is_begun(store: Store) -> None:
    die(store, at="create", within="/index/")


def leave_uncommitted(store: Store) -> None:
    """Leave a timeline with a manifest, without a lease on it, and with nothing committed."""
    die_before_epoch_is_begun(store)
    delete_leases(store)


def delete_leases(store: Store) -> None:
    store.delete([blob.key for blob in store.list(f"{PREFIX}claims")])


def documents(store: Store) -> list[dict[str, Any]]:
    """Return the versions of the manifest, oldest first."""
    found = sorted(blob.key for blob in store.list(f"{PREFIX}timeline/"))
    return [json.loads(store.get(key)) for key in found]


def begun(store: Store) -> list[bool]:
    return [document["begun"] for document in documents(store)]


def run_at_request(
    store: Store, other_work: Callable[[], object], *, at: Action, within: str
) -> HookedStore:
    """Return a store that runs other work before its first matching request."""
    left = [other_work]

    def before(action: Action, key: str) -> None:
        if action == at and within in key and left:
            left.pop()()

    return HookedStore(store, before=before)


@contextmanager
def held_at(
    store: Store, *, at: Action, within: str, extract: Extract = extract
) -> Iterator[tuple["Future[ExtractReport]", Callable[[], None]]]:
    """Extract on another thread, which waits at a request until the test resumes it."""
    is_waiting, may_continue = threading.Event(), threading.Event()

    def hold() -> None:
        is_waiting.set()
        assert may_continue.wait(60)

    slow = run_at_request(store, hold, at=at, within=within)
    with ThreadPoolExecutor(1) as pool:
        extracting = pool.submit(extract, slow)
        try:
            assert is_waiting.wait(60)
            yield extracting, may_continue.set
        finally:
            may_continue.set()


def require_sound(store: Store, frames: int = FRAMES) -> None:
    timeline = Timeline(store, "t")
    assert timeline.complete
    assert len(list(timeline.frames())) == frames
    assert timeline.verify(deep=True).ok


# Begun


def test_epoch_is_begun_by_one_manifest_version_before_first_commit(store: Store) -> None:
    begun_at_commits: list[list[bool]] = []
    observed = HookedStore(
        store,
        before=lambda action, key: (
            begun_at_commits.append(begun(store))
            if action == "create" and "/index/" in key
            else None
        ),
    )
    extract(observed)
    assert begun_at_commits == [[False, True]] * 4  # 3 chunks, and all of them compacted
    assert begun(store) == [False, True, True]


def test_concurrent_extractions_share_one_begun_manifest_version(store: Store) -> None:
    together = threading.Barrier(3)

    def extract_at_once(_: int) -> int:
        together.wait(60)
        return extract(store).chunks_extracted

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(extract_at_once, range(3))) == 3
    assert [document["version"] for document in documents(store)] == [1, 2, 3]
    assert documents(store)[-1]["compaction"] is not None


def test_later_versions_of_epoch_are_begun_and_new_epoch_is_not(store: Store) -> None:
    timeline = Timeline(store, "t")
    extract(store, clips.chunks()[0])
    timeline.append(clips.chunks()[1])
    timeline.repack("packs")
    assert begun(store) == [False, *[True] * (len(begun(store)) - 1)]
    timeline.clear()
    assert begun(store)[-1] is False
    before = len(begun(store))
    timeline.rebuild()
    assert begun(store)[before:] == [False, True, True]


def test_extraction_without_commit_leaves_epoch_not_begun(store: Store) -> None:
    with pytest.raises(Exception, match="no"):
        extract(HookedStore(store, before=refuse_puts))
    assert begun(store) == [False]


def refuse_puts(action: str, _: str) -> None:
    if action == "put":
        raise framecache.StoreUnavailable("no")


@DIFFERING
def test_begun_epoch_of_dead_program_conflicts_with_other_settings(
    store: Store, otherwise: Extract
) -> None:
    die_after_epoch_is_begun(store)
    delete_leases(store)
    with pytest.raises(SettingsConflict, match=EXTRACTED):
        otherwise(store)
    assert extract(store).chunks_extracted == 3
    require_sound(store)


@DIFFERING
def test_clear_of_begun_epoch_of_dead_program_allows_other_settings(
    store: Store, otherwise: Extract
) -> None:
    die_after_epoch_is_begun(store)
    Timeline(store, "t").clear()
    report = otherwise(store)
    require_sound(store, report.frame_count)


def test_rebuild_replaces_begun_epoch_of_dead_program(store: Store) -> None:
    die_after_epoch_is_begun(store)
    assert Timeline(store, "t").rebuild(every=3).frames_extracted == 15
    require_sound(store, 15)


def test_begun_rebuild_of_dead_program_conflicts_with_other_settings(store: Store) -> None:
    extract(store)
    die(
        store,
        at="create",
        within="/index/000001-",
        extract=lambda dying: Timeline(dying, "t").rebuild(every=3, workers=1),
    )
    delete_leases(store)
    with pytest.raises(SettingsConflict, match=EXTRACTED):
        extract(store)


# Before that


@DIFFERING
def test_other_settings_conflict_at_first_heartbeat_before_epoch_is_begun(
    store: Store, otherwise: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 4.0)
    with held_at(store, at="put", within="/frames/0.jpg") as (extracting, resume):
        with pytest.raises(SettingsConflict, match=EXTRACTED):
            otherwise(store)
        resume()
        assert extracting.result(60).chunks_extracted == 3
    require_sound(store)


@DIFFERING
def test_other_settings_conflict_as_soon_as_epoch_is_begun(
    store: Store, otherwise: Extract, clock: Clock
) -> None:
    is_begun, may_commit = threading.Event(), threading.Event()

    def hold() -> None:
        is_begun.set()
        assert may_commit.wait(60)

    slow = run_at_request(store, hold, at="create", within="/index/")
    with held_at(slow, at="put", within="/frames/0.jpg") as (extracting, resume):

        def continue_extraction() -> None:
            resume()
            assert is_begun.wait(60)

        clock.while_waiting = continue_extraction
        try:
            with pytest.raises(SettingsConflict, match=EXTRACTED):
                otherwise(store)
        finally:
            may_commit.set()
        assert extracting.result(60).chunks_extracted == 3
    assert clock.waited_seconds < lease.LEASE_TTL_SECONDS / 4
    require_sound(store)


@DIFFERING
def test_dead_program_is_replaced_after_lease_ttl_before_epoch_is_begun(
    store: Store, otherwise: Extract, clock: Clock
) -> None:
    die_before_epoch_is_begun(store)
    report = otherwise(store)
    lifetime = lease.LEASE_TTL_SECONDS
    assert lifetime <= clock.waited_seconds < lifetime + 1
    require_sound(store, report.frame_count)


@DIFFERING
def test_epoch_without_leases_or_commits_is_replaced_without_wait(
    store: Store, otherwise: Extract, clock: Clock
) -> None:
    leave_uncommitted(store)
    report = otherwise(store)
    assert clock.waited_seconds == 0
    require_sound(store, report.frame_count)


# Races between check and action


@pytest.mark.parametrize("start", [None, leave_uncommitted], ids=["from nothing", "uncommitted"])
@pytest.mark.parametrize("nth", range(1, 41))
def test_one_of_two_conflicting_extractions_succeeds_and_other_raises(
    store: Store,
    start: Callable[[Store], None] | None,
    nth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second runs from start to end before one of the requests of the first."""
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 1.0)
    if start is not None:
        start(store)
    done: list[int] = []
    refused: list[SettingsConflict] = []
    requests = 0

    def try_it(extract: Extract, target: Store) -> None:
        try:
            done.append(extract(target).frame_count)
        except SettingsConflict as error:
            refused.append(error)

    def before(_: Action, __: str) -> None:
        nonlocal requests
        requests += 1
        if requests == nth:
            try_it(lambda target: extract(target, clips.chunks()[0], every=2), store)

    first = HookedStore(store, before=before)
    try_it(lambda target: extract(target, clips.chunks()[0], quality=60), first)
    if requests < nth:
        assert (len(done), len(refused)) == (1, 0)
    else:
        assert (len(done), len(refused)) == (1, 1)
    require_sound(store, done[0])


@DIFFERING
def test_commit_between_check_and_new_manifest_is_kept(store: Store, otherwise: Extract) -> None:
    # With one chunk there is no compaction, which would also stop the other program.
    one = clips.chunks()[0]
    die(store, at="put", within="/frames/0.jpg", extract=lambda dying: extract(dying, one))
    delete_leases(store)
    sleeping = run_at_request(
        store,
        lambda: extract(store, one),
        at="create",
        within="/timeline/00000002.json",
    )
    with pytest.raises(SettingsConflict, match="timeline t is cached"):
        otherwise(sleeping)
    require_sound(store, 20)


@DIFFERING
def test_extraction_replaced_before_epoch_is_begun_raises_and_commits_nothing(
    store: Store, otherwise: Extract
) -> None:
    reports: list[ExtractReport] = []

    def replace() -> None:
        delete_leases(store)  # as if their program had sent no heartbeat for too long
        reports.append(otherwise(store))

    slow = run_at_request(store, replace, at="create", within="/timeline/00000002.json")
    with pytest.raises(SettingsConflict, match=EXTRACTED):
        extract(slow)
    assert [key for action, key in slow.requests if action == "create" and "/index/" in key] == []
    assert Timeline(store, "t").complete
    assert len(Timeline(store, "t")) == reports[0].frame_count


def test_lease_acquired_as_epoch_ends_is_waited_for(store: Store, clock: Clock) -> None:
    """The other program saw the old epoch, and its frames have the keys of the new ones."""
    leave_uncommitted(store)
    others: list[Future[ExtractReport]] = []
    is_storing, may_store = threading.Event(), threading.Event()

    def hold() -> None:
        is_storing.set()
        assert may_store.wait(60)

    late = run_at_request(store, hold, at="put", within="/frames/0.jpg")
    with ThreadPoolExecutor(1) as pool:

        def start_other() -> None:
            others.append(pool.submit(extract, late))
            assert is_storing.wait(60)

        def finish_other() -> None:
            may_store.set()
            others[0].exception(60)

        clock.while_waiting = finish_other
        ending = run_at_request(store, start_other, at="create", within="/timeline/00000002.json")
        try:
            assert extract(ending, quality=60).chunks_extracted == 3
        finally:
            may_store.set()
        with pytest.raises(SettingsConflict, match=EXTRACTED):
            others[0].result(60)
    require_sound(store)


def test_clear_before_epoch_is_begun_raises_timeline_cleared(store: Store) -> None:
    slow = run_at_request(
        store,
        lambda: Timeline(store, "t").clear(),
        at="create",
        within="/timeline/00000002.json",
    )
    with pytest.raises(framecache.TimelineCleared):
        extract(slow)
    assert begun(store) == [False, False]


def test_stale_version_after_manifest_of_recreated_timeline_is_withdrawn(store: Store) -> None:
    """The timeline is deleted and recreated while the program waits to begin the epoch."""

    def recreate() -> None:
        Timeline(store, "t").delete()
        die(
            store,
            at="create",
            within="/timeline/00000002.json",
            extract=lambda dying: extract(dying, every=2),
        )

    slow = run_at_request(store, recreate, at="create", within="/timeline/00000002.json")
    with pytest.raises(SettingsConflict, match=EXTRACTED):
        extract(slow)
    assert [document["sampling"].get("n") for document in documents(store)] == [2]
    delete_leases(store)
    require_sound(store, extract(store, every=2).frame_count)


# Written frames, and stores of earlier versions


def test_extraction_does_not_interrupt_write_in_progress(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_TTL_SECONDS", 4.0)

    def write(target: Store) -> Any:  # noqa: ANN401 -- it stands for an extraction
        return Timeline(target, "t").write([frame(0)])

    with held_at(store, at="create", within="/index/", extract=write) as (writing, resume):
        with pytest.raises(SettingsConflict, match="being written to by another program"):
            extract(store)
        with pytest.raises(SettingsConflict, match="being written to by another program"):
            Timeline(store, "t").append(clips.clip())
        resume()
        writing.result(60)
    assert Timeline(store, "t").sequences() == [0]


def as_earlier_versions_wrote(store: Store) -> None:
    """Remove the fields that only this version stores from each manifest."""
    for document in documents(store):
        del document["begun"], document["crc32c"]
        body = json.dumps(document, indent=1)
        checksum = google_crc32c.value(body.encode())
        key = f"{PREFIX}timeline/{document['version']:08d}.json"
        store.put(key, f'{body[:-2]},\n "crc32c": "{checksum:08x}"\n}}'.encode())


@DIFFERING
def test_commit_of_earlier_version_conflicts_with_other_settings(
    store: Store, otherwise: Extract
) -> None:
    extract(store)
    as_earlier_versions_wrote(store)
    with pytest.raises(SettingsConflict, match="timeline t is cached"):
        otherwise(store)
    require_sound(store)


@DIFFERING
def test_manifest_of_earlier_version_without_commit_allows_other_settings(
    store: Store, otherwise: Extract
) -> None:
    leave_uncommitted(store)
    as_earlier_versions_wrote(store)
    require_sound(store, otherwise(store).frame_count)


def test_manifest_of_earlier_version_is_begun_at_next_commit(store: Store) -> None:
    extract(store, clips.chunks()[0])
    as_earlier_versions_wrote(store)
    extract(store)
    assert documents(store)[-1]["begun"] is True
    require_sound(store)
