"""Items of a ClipDataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch
from gray_frames import FRAMES, frame, gray_of, timelines, unopened
from torch.utils.data import DataLoader

from framecache import Chunk, FrameCache, InvalidValue, Timeline, TimelineCleared
from framecache.testing import HookedStore
from framecache.torch import BlockSampler, ClipDataset


def windows(dataset: ClipDataset) -> list[tuple[str, list[int]]]:
    """The windows of a dataset, whose pictures were compared with their names."""
    return [checked(dataset[number]) for number in range(len(dataset))]


def checked(sample: dict[str, Any]) -> tuple[str, list[int]]:
    timeline_id, sequences = sample["timeline_id"], sample["sequence"].tolist()
    for image, sequence in zip(sample["image"], sequences, strict=True):
        gray = gray_of(int(timeline_id.removeprefix("t")), sequence)
        assert abs(float(image.float().mean()) - gray) < 1.4
    return timeline_id, sequences


def sequences(dataset: ClipDataset) -> list[list[int]]:
    return [found for _, found in windows(dataset)]


def written(folder: Path, times: Sequence[float], **options: Any) -> Timeline:  # noqa: ANN401 -- of a frame
    """A timeline ``t0`` with frames at these times."""
    timeline = FrameCache(folder).timeline("t0")
    frames = [frame(0, number, seconds=time) for number, time in enumerate(times)]
    timeline.write(frames, **options)
    return timeline


def test_item_is_a_dict_with_the_window_and_the_positions_of_its_frames(
    tmp_path: Path,
) -> None:
    item = ClipDataset(timelines(tmp_path), offsets=(-2, 0, 1))[0]
    assert list(item) == ["image", "timeline_id", "sequence", "timestamp", "chunk_id"]
    assert item["image"].shape == (3, 3, 32, 48)
    assert item["image"].dtype == torch.uint8
    assert item["timeline_id"] == "t0"
    assert item["sequence"].tolist() == [0, 2, 3]
    assert item["timestamp"].tolist() == pytest.approx([0.0, 0.08, 0.12])
    assert item["chunk_id"].tolist() == [0, 0, 0]


def test_windows_in_frames_do_not_span_two_timelines(tmp_path: Path) -> None:
    found = windows(ClipDataset(timelines(tmp_path, count=2), offsets=(-4, 0)))
    expected = [(name, [n - 4, n]) for name in ("t0", "t1") for n in range(4, FRAMES)]
    assert found == expected


def test_windows_in_seconds_take_the_nearest_frames(tmp_path: Path) -> None:
    timeline = written(tmp_path, [0.0, 0.1, 0.2, 0.33, 0.4])
    dataset = ClipDataset(timeline, offsets_seconds=(-0.1, 0), tolerance_seconds=0.02)
    assert sequences(dataset) == [[0, 1], [1, 2]]
    wider = ClipDataset(timeline, offsets_seconds=(-0.1, 0), tolerance_seconds=0.035)
    assert sequences(wider) == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_step_selects_a_window_for_every_nth_frame(tmp_path: Path) -> None:
    assert sequences(ClipDataset(timelines(tmp_path, count=1), offsets=(0, 1), step=4)) == [
        [0, 1],
        [4, 5],
        [8, 9],
    ]


def test_windows_stay_within_the_range(tmp_path: Path) -> None:
    dataset = ClipDataset(timelines(tmp_path, count=1), offsets=(-1, 0, 1), start=3, stop=7)
    assert sequences(dataset) == [[3, 4, 5], [4, 5, 6]]


def test_windows_do_not_span_a_missing_frame_unless_allowed(tmp_path: Path) -> None:
    (timeline,) = timelines(tmp_path, count=1, sequences=[0, 1, 2, 5, 6])
    assert sequences(ClipDataset(timeline, offsets=(0, 1))) == [[0, 1], [1, 2], [5, 6]]
    crossing = ClipDataset(timeline, offsets=(0, 1), gaps="cross")
    assert sequences(crossing) == [[0, 1], [1, 2], [2, 5], [5, 6]]


def test_windows_do_not_span_a_gap_between_chunks_unless_allowed(tmp_path: Path) -> None:
    (_, second, third) = clips.chunks()
    timeline = FrameCache(tmp_path).timeline("t")
    # Chunk 0 lasts 0.4 s; 60 ms without a picture are less than two intervals of 40 ms.
    timeline.extract([second, Chunk(str(third), start_seconds=0.46)])
    assert timeline.index.timestamp[10] == pytest.approx(0.46)
    pairs = [[number, number + 1] for number in range(24)]
    apart = ClipDataset(timeline, offsets=(0, 1))
    found = [apart[number]["sequence"].tolist() for number in range(len(apart))]
    assert found == [pair for pair in pairs if pair != [9, 10]]
    assert len(ClipDataset(timeline, offsets=(0, 1), gaps="cross")) == 24


def test_windows_span_chunk_boundaries_without_a_gap(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.chunks())
    dataset = ClipDataset(timeline, offsets=(0, 1))
    assert len(dataset) == 44
    assert dataset[19]["chunk_id"].tolist() == [0, 1]


def test_sampled_timeline_has_no_gaps(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.chunks(), fps=5)
    assert len(ClipDataset(timeline, offsets=(0, 1))) == len(timeline) - 1


def test_windows_contain_no_frame_without_a_picture(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.ends_in_garbage())
    is_ok = timeline.index.is_ok
    dataset = ClipDataset(timeline, offsets=(0, 1))
    pairs = [[n, n + 1] for n in range(len(is_ok) - 1) if is_ok[n] and is_ok[n + 1]]
    assert [dataset[number]["sequence"].tolist() for number in range(len(dataset))] == pairs


def test_long_interval_is_a_gap_unless_allowed(tmp_path: Path) -> None:
    timeline = written(tmp_path, [0.0, 0.1, 0.2, 1.0, 1.1])
    assert sequences(ClipDataset(timeline, offsets=(0, 1))) == [[0, 1], [1, 2], [3, 4]]
    longer = ClipDataset(timeline, offsets=(0, 1), max_interval_seconds=1.0)
    assert len(longer) == 4


def test_batch_of_windows_is_one_tensor_in_order(tmp_path: Path) -> None:
    dataset = ClipDataset(timelines(tmp_path), offsets=(-1, 0, 1), target=lambda *name: name)
    order = [25, 3, 4, 11]
    (batch,) = DataLoader(dataset, batch_size=4, sampler=order)
    assert batch["image"].shape == (4, 3, 3, 32, 48)
    found = [
        checked({"image": image, "timeline_id": timeline_id, "sequence": numbers})
        for image, timeline_id, numbers in zip(
            batch["image"], batch["timeline_id"], batch["sequence"], strict=True
        )
    ]
    expected = [("t2", [5, 6, 7]), ("t0", [3, 4, 5]), ("t0", [4, 5, 6]), ("t1", [1, 2, 3])]
    assert found == expected
    # The target is that of the frame at offset 0.
    assert batch["target"][0] == ("t2", "t0", "t0", "t1")
    assert batch["target"][1].tolist() == [6, 4, 5, 2]


def test_frames_shared_by_windows_are_fetched_once(tmp_path: Path) -> None:
    timelines(tmp_path, count=1)
    store = HookedStore(FrameCache(tmp_path).store)
    dataset = ClipDataset(Timeline(store, "t0"), offsets=(-2, -1, 0))
    items = dataset.__getitems__(range(5))
    assert [checked(item)[1] for item in items] == [[n, n + 1, n + 2] for n in range(5)]
    fetched = [key for _, key in store.requests if "/frames/" in key]
    assert len(fetched) == len(set(fetched)) == 7


def test_image_options_are_those_of_frame_dataset(tmp_path: Path) -> None:
    dataset = ClipDataset(
        timelines(tmp_path, count=1), offsets=(0, 1), scale=0.5, color="gray", channels="last"
    )
    assert dataset[0]["image"].shape == (2, 16, 24, 1)
    limited = ClipDataset(timelines(tmp_path / "other", count=1), offsets=(0, 1), max_side=12)
    assert limited[0]["image"].shape == (2, 3, 8, 12)
    changed = ClipDataset(
        unopened(tmp_path, count=1), offsets=(0, 1), transform=lambda clip: clip.float().mean()
    )
    assert changed[3]["image"].item() == pytest.approx((gray_of(0, 3) + gray_of(0, 4)) / 2, abs=1)


def test_window_of_several_sizes_is_rejected_by_name(tmp_path: Path) -> None:
    FrameCache(tmp_path).timeline("t0").write([frame(0, 0), frame(0, 1, size=(16, 24))])
    with pytest.raises(InvalidValue, match="frames 0 and 1 of timeline t0 differ in size"):
        ClipDataset(unopened(tmp_path, count=1), offsets=(0, 1))[0]


def test_dataset_without_windows_is_rejected(tmp_path: Path) -> None:
    dataset = ClipDataset(timelines(tmp_path), offsets=(0, 50))
    with pytest.raises(InvalidValue, match="the dataset has no windows"):
        len(dataset)


def test_offsets_in_seconds_need_frames_in_time_order(tmp_path: Path) -> None:
    timeline = written(tmp_path, [0.0, 2.0, 1.0])
    with pytest.raises(InvalidValue, match="give offsets in frames"):
        len(ClipDataset(timeline, offsets_seconds=(0, 1)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"offsets": (0,), "offsets_seconds": (0,)},
        {"offsets": ()},
        {"offsets": (0.5,)},
        {"offsets_seconds": (float("nan"),)},
        {"offsets": (0,), "step": 0},
        {"offsets": (0,), "gaps": "yes"},
        {"offsets_seconds": (0,), "tolerance_seconds": -1},
        {"offsets": (0,), "max_interval_seconds": "1"},
        {"offsets": (True,)},
        {"offsets": (0,), "step": True},
    ],
    ids=str,
)
def test_invalid_arguments_are_rejected(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        ClipDataset(unopened(tmp_path), **settings)


def test_numbers_of_every_type_are_taken(tmp_path: Path) -> None:
    timelines(tmp_path, count=1)
    expected = ClipDataset(unopened(tmp_path, count=1), offsets=(-1, 0), step=2)
    for offsets in (torch.tensor([-1, 0]), np.array([-1, 0], np.int8)):
        dataset = ClipDataset(unopened(tmp_path, count=1), offsets=offsets, step=torch.tensor(2))
        assert sequences(dataset) == sequences(expected)
    timed = ClipDataset(
        unopened(tmp_path, count=1),
        offsets_seconds=np.array([-0.04, 0], np.float32),
        tolerance_seconds=np.float32(0.01),  # type: ignore[arg-type]
    )
    assert len(timed) == FRAMES - 1


def test_no_numbers_are_no_items(tmp_path: Path) -> None:
    assert ClipDataset(timelines(tmp_path), offsets=(0, 1)).__getitems__([]) == []


def test_cleared_timeline_raises_a_typed_error(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.chunks())
    dataset = ClipDataset(FrameCache(tmp_path).timeline("t"), offsets=(0, 1))
    assert len(dataset) == 44
    timeline.rebuild(every=2)
    with pytest.raises(TimelineCleared, match="create the dataset again"):
        dataset[0]


def test_sampler_delivers_each_window_once(tmp_path: Path) -> None:
    dataset = ClipDataset(timelines(tmp_path), offsets=(0, 3))
    sampler = BlockSampler(dataset, block_size=3, mixed_blocks=2)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=2)
    found = [
        (timeline_id, *numbers)
        for batch in sampler.track(loader)
        for timeline_id, numbers in zip(
            batch["timeline_id"], batch["sequence"].tolist(), strict=True
        )
    ]
    assert sorted(found) == [(f"t{t}", n, n + 3) for t in range(3) for n in range(FRAMES - 3)]
