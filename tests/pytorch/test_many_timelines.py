"""Requests of datasets over many timelines."""

from collections import Counter

import pytest
from gray_frames import identity, timelines, unopened

from framecache import FrameCache, Timeline
from framecache.testing import HookedStore
from framecache.torch import BlockSampler, ClipDataset, FrameDataset

TIMELINES = 1000
READ = ("frames/", "used")


class FarAway(HookedStore):
    """A store that seems to be behind a network."""

    @property
    def url(self) -> str:
        return f"s3://far-away/{self.inner.url}"


@pytest.fixture(scope="module")
def url() -> str:
    """A store with a thousand timelines of two frames each."""
    timelines("memory://many", count=TIMELINES, sequences=[0, 1])
    return "memory://many"


@pytest.fixture
def store(url: str) -> HookedStore:
    """Return the store, which looks remote."""
    return FarAway(FrameCache(url).store)


def opening_requests(store: HookedStore) -> Counter[str]:
    """The number of requests to each timeline that read no frame."""
    return Counter(
        key.split("/")[2] for _, key in store.requests if not any(one in key for one in READ)
    )


def test_opening_a_thousand_timelines_makes_three_requests_each(store: HookedStore) -> None:
    names = [timeline.timeline_id for timeline in unopened("memory://many", count=TIMELINES)]
    dataset = FrameDataset(Timeline(store, name) for name in names)
    assert store.requests == []
    assert len(dataset) == 2 * TIMELINES
    assert set(opening_requests(store).values()) == {3}
    assert identity(dataset[2 * 700 + 1]) == ("t700", 1)
    for sample in dataset.__getitems__([*range(0, 2 * TIMELINES, 97)]):
        identity(sample)
    assert len(BlockSampler(dataset)) == 2 * TIMELINES
    assert opening_requests(store).total() == 3 * TIMELINES


def test_finding_windows_makes_no_further_request(store: HookedStore) -> None:
    dataset = ClipDataset(
        [Timeline(store, f"t{number}") for number in range(50)], offsets_seconds=(0, 0.04)
    )
    assert len(dataset) == 50
    assert set(opening_requests(store).values()) == {3}
    assert len(opening_requests(store)) == 50
