"""Datasets of a timeline of layout video, whose frames are decoded from its chunks."""

import json
from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from test_loader_workers import output_of

from framecache import FrameCache, Timeline
from framecache._media.video.container import Container
from framecache.torch import ClipDataset, FrameDataset

FRAMES = 45


@pytest.fixture
def stored(tmp_path: Path) -> Timeline:
    """The frames of the three chunks of ``watched``, as extraction stores them."""
    cache = FrameCache(tmp_path)
    cache.timeline("watched").extract(clips.chunks(), layout="video")
    cache.timeline("stored").extract(clips.chunks())
    return cache.timeline("stored")


def watched(tmp_path: Path) -> Timeline:
    return FrameCache(tmp_path).timeline("watched")


def test_items_are_those_of_stored_frames(stored: Timeline, tmp_path: Path) -> None:
    expected, found = FrameDataset(stored), FrameDataset(watched(tmp_path))
    order = [*range(0, FRAMES, 7), *range(FRAMES - 1, 0, -5)]
    for one, other in zip(expected.__getitems__(order), found.__getitems__(order), strict=True):
        assert torch.equal(one["image"], other["image"])
        assert (one["sequence"], one["timestamp"]) == (other["sequence"], other["timestamp"])


def test_windows_are_those_of_stored_frames(stored: Timeline, tmp_path: Path) -> None:
    expected = ClipDataset(stored, offsets=(-4, -2, 0))
    found = ClipDataset(watched(tmp_path), offsets=(-4, -2, 0))
    assert len(found) == len(expected) > 0
    for number in (0, len(expected) - 1):
        assert torch.equal(expected[number]["image"], found[number]["image"])


@pytest.mark.parametrize(
    ("workers", "start"), [(0, "fork"), (2, "fork"), (2, "spawn")], ids=["none", "fork", "spawn"]
)
def test_workers_deliver_the_stored_pictures(
    stored: Timeline, tmp_path: Path, workers: int, start: str
) -> None:
    sums = [int(frame.image.sum()) for frame in stored.frames()]
    for epoch in output_of("decoding.py", str(tmp_path), str(workers), start):
        assert json.loads(epoch) == [[number, one] for number, one in enumerate(sums)]


def test_batches_in_turn_share_the_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = watched(tmp_path)
    timeline.extract([clips.clip(keyframe_every=FRAMES)], layout="video")
    decoded = []
    decode = Container.decode

    def count(container: Container, packet: Any) -> Any:  # noqa: ANN401 -- as the method
        decoded.append(packet)
        return decode(container, packet)

    monkeypatch.setattr(Container, "decode", count)
    for batch in torch.utils.data.DataLoader(FrameDataset(timeline), batch_size=4):
        assert len(batch["image"])
    assert FRAMES <= len(decoded) < 1.3 * FRAMES
