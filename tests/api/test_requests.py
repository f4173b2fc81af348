"""Number and kinds of requests that starting, opening and reading a timeline make."""

import base64
import re
import threading
from collections.abc import Callable, Iterable
from typing import Final

import clips
import pytest

from framecache import FrameCache, NotCached, Timeline, functional
from framecache.model import Layout
from framecache.store import is_remote
from framecache.testing import Action, HookedStore
from outside import outside, png_by_pillow
from tars import jpegs_in, packs_of

PREFIX = "cache/timelines/t/"
FRAMES = 12
LIST = ("list", f"{PREFIX}timeline/")
MANIFEST = ("get", f"{PREFIX}timeline/00000003.json")
NEXT_MANIFEST = ("head", f"{PREFIX}timeline/00000004.json")
CHECK_FOR_NEXT_MANIFEST = [NEXT_MANIFEST, MANIFEST]
ACCESS_LOG = ("put", f"{PREFIX}used")
IN_BOTH_LAYOUTS: Final = pytest.mark.parametrize("layout", ["objects", "packs"])
NEAR_AND_FAR: Final = pytest.mark.parametrize("is_far", [False, True], ids=["near", "far"])


class FarAway(HookedStore):
    """A store that seems to be behind a network."""

    @property
    def url(self) -> str:
        # The access log is updated once for a URL, so each store needs its own.
        return f"s3://far-away/{self.inner.url}"


@pytest.fixture
def layout() -> Layout:
    """Location of the frames of ``t``, unless a test overrides it."""
    return "objects"


@pytest.fixture
def is_far() -> bool:
    """True if the store is to look remote; a test may override it."""
    return False


@pytest.fixture
def store(local_url: str, layout: Layout, *, is_far: bool) -> HookedStore:
    """A store with a complete timeline of several chunks, ``t``."""
    FrameCache(local_url).timeline("t").extract(clips.chunks(), every=4, layout=layout)
    store = (FarAway if is_far else HookedStore)(FrameCache(local_url).store)
    assert is_remote(store) == is_far
    return store


@pytest.fixture
def opened(store: HookedStore) -> Timeline:
    """The timeline, opened and read from before."""
    timeline = Timeline(store, "t")
    timeline.jpeg(0)
    store.requests.clear()
    return timeline


def frame_of(sequence: int) -> tuple[str, str]:
    return ("get", f"{PREFIX}frames/{sequence}.jpg")


def requests_for(url: str, layout: Layout, sequences: Iterable[int]) -> list[tuple[str, str]]:
    """Return the requests for reading: one per frame, or one per pack that holds any of them."""
    wanted = set(sequences)
    if layout == "objects":
        return sorted(map(frame_of, wanted))
    packs = packs_of(outside(url), "t")
    return sorted(("get", key) for key in packs if jpegs_in({key: packs[key]}).keys() & wanted)


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
@pytest.mark.parametrize(
    "look",
    [
        lambda timeline: timeline.index,
        len,
        lambda timeline: timeline.exists,
        lambda timeline: timeline.complete,
        Timeline.info,
        Timeline.sequences,
        lambda timeline: timeline.sequence_at(0.0),
        Timeline.frames,
    ],
)
def test_open_takes_a_list_a_manifest_and_an_index(
    local_url: str, store: HookedStore, look: Callable[[Timeline], object]
) -> None:
    look(Timeline(store, "t"))
    epoch = FrameCache(local_url).timeline("t").info().epoch
    index = ("get", f"{PREFIX}index/{epoch}/_timeline-3.compacted")
    assert store.requests == [LIST, MANIFEST, index]


EPOCH = r"[0-9]{6}-[0-9a-f]{8}"


def test_new_timeline_takes_few_requests_before_first_frame(local_url: str) -> None:
    store = HookedStore(FrameCache(local_url).store)
    Timeline(store, "t").extract(clips.clip())
    begun = next(
        i for i, (action, key) in enumerate(store.requests) if "/frames/" in key and action == "put"
    )
    expected = [
        f"list {PREFIX}timeline/",
        f"list {PREFIX}frames/",
        f"create {PREFIX}timeline/00000001.json",
        f"create {PREFIX}claims/{EPOCH}/000000-0.json",
        f"head {PREFIX}index/{EPOCH}/000000-0.parquet",
        f"head {PREFIX}timeline/00000002.json",
        f"get {PREFIX}timeline/00000001.json",
    ]
    made = "\n".join(" ".join(request) for request in store.requests[:begun])
    assert re.fullmatch("\n".join(expected), made), made


def test_packs_are_filled_during_check_for_deleted_timeline(
    local_url: str,
) -> None:
    is_decoding = threading.Event()

    def wait_for_frames(action: Action, key: str) -> None:
        if (action, key) == ("head", f"{PREFIX}timeline/00000002.json"):
            assert is_decoding.wait(60)

    store = HookedStore(FrameCache(local_url).store, before=wait_for_frames)
    Timeline(store, "t").extract(clips.clip(), layout="packs", progress=lambda _: is_decoding.set())


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
def test_first_frame_opens_timeline_and_updates_access_log(
    local_url: str, store: HookedStore, layout: Layout
) -> None:
    Timeline(store, "t").frame(5)
    assert store.requests[3:] == [*requests_for(local_url, layout, [5]), ACCESS_LOG]


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
@pytest.mark.parametrize(
    ("read", "sequences"),
    [
        (lambda timeline: timeline.frame(7), [7]),
        (lambda timeline: timeline.jpeg(7), [7]),
        (lambda timeline: timeline.frame_at(timeline.index.timestamp[7]), [7]),
        (lambda timeline: timeline.frame_at(0.0, scale=0.5), [0]),
        (lambda timeline: timeline.batch([3, 9, 1]), [1, 3, 9]),
        (lambda timeline: list(timeline.jpegs(range(FRAMES))), list(range(FRAMES))),
        (lambda timeline: timeline.sequence_at(timeline.index.timestamp[7]), []),
        (len, []),
        (lambda timeline: timeline.index.rows([1, 2]), []),
    ],
)
def test_read_of_open_timeline_takes_one_request_per_frame_or_pack(
    local_url: str,
    store: HookedStore,
    opened: Timeline,
    layout: Layout,
    read: Callable[[Timeline], object],
    sequences: list[int],
) -> None:
    read(opened)
    assert sorted(store.requests) == requests_for(local_url, layout, sequences)


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
def test_iteration_checks_once_for_newer_manifest_and_lists_nothing(
    local_url: str, store: HookedStore, opened: Timeline, layout: Layout, *, is_far: bool
) -> None:
    assert len(list(opened.frames(2, 10))) == 8
    looked = [one for one in store.requests if one in CHECK_FOR_NEXT_MANIFEST]
    assert looked == CHECK_FOR_NEXT_MANIFEST
    # If the check takes long, frames are fetched during it.
    assert is_far or store.requests[:2] == looked
    others = [one for one in store.requests if one not in looked]
    assert sorted(others) == requests_for(local_url, layout, range(2, 10))
    store.requests.clear()
    assert len(opened.sequences(step=5)) == 3
    assert store.requests == CHECK_FOR_NEXT_MANIFEST


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
@pytest.mark.parametrize(
    "read",
    [
        lambda timeline: list(timeline.frames()),
        lambda timeline: list(timeline.frames(step=3, scale=0.5, color="gray")),
        lambda timeline: list(timeline.frames(start_seconds=0.3, stop_seconds=1.0)),
        lambda timeline: timeline.sequences(start_seconds=0.3),
        lambda timeline: timeline.batch([11, 0, 7, 0], scale=0.25),
        lambda timeline: list(timeline.jpegs(range(FRAMES - 1, -1, -1))),
        lambda timeline: timeline.frame_at(1.0, color="gray"),
        Timeline.footprint,
    ],
)
def test_reads_of_open_timeline_list_nothing(
    store: HookedStore, opened: Timeline, read: Callable[[Timeline], object]
) -> None:
    for _ in range(2):
        read(opened)
    assert {action for action, _ in store.requests} <= {"get", "head"}


@IN_BOTH_LAYOUTS
@NEAR_AND_FAR
@pytest.mark.parametrize(
    "ask",
    [
        lambda timeline: timeline.frame(FRAMES),
        lambda timeline: timeline.batch([0, 10**9]),
        lambda timeline: timeline.frame_at(1e6),
        lambda timeline: timeline.jpegs([10**9]),
    ],
)
def test_request_for_missing_frame_of_open_timeline_lists_nothing(
    store: HookedStore, opened: Timeline, ask: Callable[[Timeline], object]
) -> None:
    with pytest.raises(NotCached):
        ask(opened)
    assert store.requests == CHECK_FOR_NEXT_MANIFEST


def test_request_for_appended_frame_opens_timeline_again(
    store: HookedStore, opened: Timeline
) -> None:
    FrameCache(store.url).timeline("t").append(clips.clip())
    opened.jpeg(FRAMES)
    assert store.requests[:2] == [NEXT_MANIFEST, LIST]
    assert {action for action, _ in store.requests[2:]} == {"get"}
    assert store.requests[-1] == frame_of(FRAMES)


PNG = png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)


def overlay_of(sequence: int) -> tuple[str, str]:
    return ("put", f"{PREFIX}overlays/j/s/{sequence}_o.png")


def test_overlay_save_takes_one_request(store: HookedStore) -> None:
    timeline = Timeline(store, "t")
    overlays = timeline.overlays(job_id="j", stage="s")
    overlays.save_many({n: {"o": PNG} for n in range(3)})
    assert sorted(store.requests) == [overlay_of(n) for n in range(3)]
    store.requests.clear()
    overlays.save(FRAMES, {"o": png_by_pillow(1)})
    assert store.requests == [overlay_of(FRAMES)]


class Hooked(FrameCache):
    """Cache whose requests are recorded."""

    def __init__(self, store: HookedStore) -> None:
        super().__init__(store.url)
        self._store = store


def test_overlay_save_by_plain_function_takes_one_request(
    local_url: str, store: HookedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Hooked(store)
    monkeypatch.setattr(functional, "_current_cache", lambda: cache)
    for n in range(3):
        functional.save_overlays("t", "j", "s", n, {"o": base64.b64encode(PNG).decode()})
    assert store.requests == [overlay_of(n) for n in range(3)]
    assert FrameCache(local_url).timeline("t").jobs() == {"j": {"s": 3}}
