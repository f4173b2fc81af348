"""Datasets of a timeline of layout video, whose frames are decoded from its chunks."""

import json
import zlib
from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from test_loader_workers import output_of
from torch.utils.data import DataLoader

from framecache import FrameCache, Timeline
from framecache._media.video.container import Container
from framecache._read.on_demand.open_chunks import chunk_pool
from framecache._read.on_demand.picture_cache import pictures
from framecache.torch import BlockSampler, ClipDataset, FrameDataset

FRAMES = 285
KEYFRAME_EVERY = 30
BLOCK_SIZE = 40
OFFSETS = (-8, -4, 0)


def most_decoded(batch_size: int) -> float:
    """Return how many pictures may be decoded if each batch has whole blocks.

    Half of a group of pictures comes before the first frame of a block, on average. For the last
    frame of a batch, the decoder may take up to 16 packets of frames after it.
    """
    return FRAMES * (1 + KEYFRAME_EVERY / (2 * BLOCK_SIZE) + 16 / batch_size)


def chunks() -> list[Path]:
    """Return two chunks, with a keyframe every 30 frames and every 10."""
    return [clips.clip(frames=240, keyframe_every=KEYFRAME_EVERY), clips.clip()]


def extract(url: str | Path, *urls: str | Path) -> Timeline:
    """Return the frames of some chunks as extraction stores them; ``watched`` stores nothing."""
    cache = FrameCache(url)
    cache.timeline("watched").extract(urls, layout="video")
    cache.timeline("stored").extract(urls, layout="packs")
    return cache.timeline("stored")


@pytest.fixture
def stored(tmp_path: Path) -> Timeline:
    return extract(tmp_path, *chunks())


def watched(tmp_path: Path) -> Timeline:
    return FrameCache(tmp_path).timeline("watched")


def test_items_are_those_of_stored_frames(stored: Timeline, tmp_path: Path) -> None:
    expected, found = FrameDataset(stored), FrameDataset(watched(tmp_path))
    order = [*range(0, FRAMES, 7), *range(FRAMES - 1, 0, -5)]
    for one, other in zip(expected.__getitems__(order), found.__getitems__(order), strict=True):
        assert torch.equal(one["image"], other["image"])
        assert (one["sequence"], one["timestamp"]) == (other["sequence"], other["timestamp"])


@pytest.mark.parametrize("batch_size", [1, 5])
def test_windows_are_those_of_stored_frames(
    stored: Timeline, tmp_path: Path, batch_size: int
) -> None:
    expected = DataLoader(ClipDataset(stored, offsets=OFFSETS), batch_size)
    found = DataLoader(ClipDataset(watched(tmp_path), offsets=OFFSETS), batch_size)
    assert len(found) == len(expected) > 0
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one["image"], other["image"])


def require_stored_pictures(stored: Timeline, epochs: list[str]) -> None:
    """Require that each epoch has every frame once, with the picture of the stored frame."""
    expected = [[frame.sequence, zlib.crc32(frame.image.tobytes())] for frame in stored.frames()]
    for epoch in epochs:
        assert sorted(json.loads(epoch)) == expected


@pytest.mark.parametrize(
    ("workers", "start"),
    [(0, "fork"), (2, "fork"), (2, "spawn"), (8, "fork"), (8, "spawn")],
)
def test_workers_deliver_the_stored_pictures_and_share_the_decoding(
    stored: Timeline, tmp_path: Path, workers: int, start: str
) -> None:
    given = (str(tmp_path), str(workers), start, str(BLOCK_SIZE), str(tmp_path / "decoded"))
    *epochs, decoded = output_of("decoding.py", *given)
    require_stored_pictures(stored, epochs)
    # In the second epoch, pictures of the first may still be in memory.
    assert FRAMES - BLOCK_SIZE <= int(decoded) <= 2 * most_decoded(BLOCK_SIZE)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_chunks_from_a_bucket(s3_url: str, tmp_path: Path, start: str) -> None:
    FrameCache(s3_url).store.put("videos/0.mp4", clips.clip().read_bytes())
    stored = extract(s3_url, f"{s3_url}/videos/0.mp4")
    *epochs, _ = output_of("decoding.py", s3_url, "2", start, "15", str(tmp_path / "decoded"))
    require_stored_pictures(stored, epochs)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Packets that were decoded since the process had no picture in memory."""
    packets = []
    decode = Container.decode

    def count(container: Container, packet: Any) -> Any:  # noqa: ANN401 -- as the method
        packets.append(packet)
        return decode(container, packet)

    monkeypatch.setattr(Container, "decode", count)
    chunk_pool.value.clear()
    pictures.value.clear()
    return packets


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_batches_in_turn_share_the_decoding(
    tmp_path: Path, decoded: list[Any], batch_size: int
) -> None:
    for batch in DataLoader(FrameDataset(watched(tmp_path)), batch_size):
        assert len(batch["image"])
    assert FRAMES <= len(decoded) <= 1.15 * FRAMES


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_windows_in_turn_share_the_decoding(
    tmp_path: Path, decoded: list[Any], batch_size: int
) -> None:
    for batch in DataLoader(ClipDataset(watched(tmp_path), offsets=OFFSETS), batch_size):
        assert len(batch["image"])
    assert FRAMES <= len(decoded) <= 1.15 * FRAMES


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("batch_size", [8, 32])
def test_shuffled_batches_share_the_decoding_while_their_pictures_fit_in_memory(
    tmp_path: Path, decoded: list[Any], batch_size: int
) -> None:
    dataset = FrameDataset(watched(tmp_path))
    sampler = BlockSampler(dataset, seed=5)
    for batch in sampler.track(DataLoader(dataset, batch_size, sampler=sampler)):
        assert len(batch["image"])
    assert FRAMES <= len(decoded) <= 2 * FRAMES


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("mixed_blocks", [1, 3])
def test_batches_of_whole_mixes_share_the_decoding_without_memory(
    tmp_path: Path, decoded: list[Any], monkeypatch: pytest.MonkeyPatch, mixed_blocks: int
) -> None:
    monkeypatch.setattr(pictures.value, "limit_bytes", 1)
    dataset = FrameDataset(watched(tmp_path))
    sampler = BlockSampler(dataset, seed=5, block_size=BLOCK_SIZE, mixed_blocks=mixed_blocks)
    batch_size = mixed_blocks * BLOCK_SIZE
    for batch in sampler.track(DataLoader(dataset, batch_size, sampler=sampler)):
        assert len(batch["image"])
    assert FRAMES <= len(decoded) <= most_decoded(batch_size)
