"""Items of a FrameDataset, read in this process."""

from pathlib import Path

import clips
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gray_frames import (
    FRAMES,
    all_frames,
    frame,
    gray_of,
    identities,
    identity,
    timelines,
    unopened,
)
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from framecache import (
    Frame,
    FrameCache,
    InvalidValue,
    NotCached,
    Timeline,
    TimelineCleared,
)
from framecache.testing import HookedStore
from framecache.torch import FrameDataset, FrameSample


def decoded(store: Path, sequence: int) -> npt.NDArray[np.int64]:
    """A stored JPEG of ``match``, as Pillow decodes it."""
    with Image.open(store / f"cache/timelines/match/frames/{sequence}.jpg") as image:
        return np.asarray(image.convert("RGB"), np.int64)


@pytest.fixture
def extracted(tmp_path: Path) -> Timeline:
    """A timeline of three chunks, of 20, 10 and 15 frames."""
    timeline = FrameCache(tmp_path / "extracted").timeline("match")
    timeline.extract(clips.chunks())
    return timeline


def test_item_is_a_dict_with_the_picture_and_the_position_of_its_frame(
    extracted: Timeline,
) -> None:
    item = FrameDataset(extracted)[25]
    assert isinstance(item, dict)
    assert list(item) == ["image", "timeline_id", "sequence", "timestamp", "chunk_id"]
    assert (item["timeline_id"], item["sequence"], item["chunk_id"]) == ("match", 25, 1)
    assert type(item["sequence"]) is int
    assert type(item["chunk_id"]) is int
    assert item["timestamp"] == pytest.approx(1.0, abs=1e-9)
    assert item["image"].dtype == torch.uint8
    assert item["image"].shape == (3, clips.HEIGHT, clips.WIDTH)


def test_image_is_the_stored_picture(extracted: Timeline, tmp_path: Path) -> None:
    picture = decoded(tmp_path / "extracted", 7)
    first = FrameDataset(extracted)[7]["image"].numpy()
    last = FrameDataset(extracted, channels="last")[7]["image"].numpy()
    bgr = FrameDataset(extracted, channels="last", color="bgr")[7]["image"].numpy()
    assert np.abs(first - picture.transpose(2, 0, 1)).max() <= 2  # decoders round differently
    assert np.abs(last - picture).max() <= 2
    assert np.abs(bgr - picture[:, :, ::-1]).max() <= 2


def test_scale_max_side_and_gray_change_the_shape(extracted: Timeline) -> None:
    half = FrameDataset(extracted, scale=0.5)[0]["image"]
    assert half.shape == (3, clips.HEIGHT // 2, clips.WIDTH // 2)
    limited = FrameDataset(extracted, max_side=clips.WIDTH // 4, channels="last")[0]["image"]
    assert limited.shape == (clips.HEIGHT // 4, clips.WIDTH // 4, 3)
    assert np.array_equal(limited.numpy(), extracted.frame(0, max_side=clips.WIDTH // 4).image)
    gray = FrameDataset(extracted, color="gray")
    assert gray[0]["image"].shape == (1, clips.HEIGHT, clips.WIDTH)
    last = FrameDataset(extracted, color="gray", channels="last")
    assert last[0]["image"].shape == (clips.HEIGHT, clips.WIDTH, 1)


def test_frames_of_all_timelines_are_concatenated(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 3 * FRAMES
    assert dataset.timeline_sizes == [FRAMES] * 3
    assert dataset.timeline_ids == ["t0", "t1", "t2"]
    assert [identity(dataset[number]) for number in range(len(dataset))] == all_frames()


def test_items_are_read_in_the_requested_order(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    numbers = [30, 2, 15, 2, -1, 0, torch.tensor(7), np.int64(29)]
    expected = [all_frames()[int(number)] for number in numbers]
    assert [identity(item) for item in dataset.__getitems__(numbers)] == expected


def test_no_numbers_are_no_items(tmp_path: Path) -> None:
    assert FrameDataset(timelines(tmp_path)).__getitems__([]) == []


@pytest.mark.parametrize("number", [36, -37])
def test_number_past_the_end_raises_index_error(tmp_path: Path, number: int) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    with pytest.raises(IndexError, match="has 36 items"):
        dataset[number]


def test_subset_is_read_in_batches(tmp_path: Path) -> None:
    loader = DataLoader(Subset(FrameDataset(timelines(tmp_path)), [3, 20, 1]), batch_size=3)
    assert [identities(batch) for batch in loader] == [[("t0", 3), ("t1", 8), ("t0", 1)]]


def test_range_of_sequences_or_times_limits_each_timeline(extracted: Timeline) -> None:
    stepped = FrameDataset(extracted, start=5, stop=30, step=10)
    assert [stepped[number]["sequence"] for number in range(len(stepped))] == [5, 15, 25]
    timed = FrameDataset(extracted, start_seconds=1.0, stop_seconds="1.2s")
    assert [timed[number]["sequence"] for number in range(len(timed))] == [25, 26, 27, 28, 29]


def test_frames_without_a_picture_are_omitted(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path / "store").timeline("garbage")
    timeline.extract(clips.ends_in_garbage())
    index = timeline.index
    assert 0 < index.is_ok.sum() < len(index)
    dataset = FrameDataset(timeline)
    read = [item["sequence"] for item in dataset.__getitems__(range(len(dataset)))]
    assert read == index.sequence[index.is_ok].tolist()


def test_default_collate_function_copies_no_image(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    addresses: list[int] = []

    class Watched(FrameDataset):
        def __getitems__(self, numbers: object) -> list[FrameSample]:
            samples = dataset.__getitems__(numbers)  # type: ignore[arg-type]
            addresses.append(samples[0]["image"].data_ptr())
            return samples

    loader = DataLoader(Watched(timelines(tmp_path)), batch_size=4)
    for batch in loader:
        assert batch["image"].data_ptr() == addresses[-1]
        assert batch["image"].shape == (4, 3, 32, 48)
    assert len(addresses) == 9


def test_batch_is_a_plain_dict_of_tensors_and_lists(tmp_path: Path) -> None:
    (batch,) = DataLoader(FrameDataset(timelines(tmp_path)), batch_size=36)
    assert type(batch) is dict
    assert identities(batch) == all_frames()
    assert batch["sequence"].dtype == torch.int64
    assert batch["timestamp"].dtype == torch.float64
    assert batch["timestamp"][13].item() == pytest.approx(1 / 25)
    assert batch["chunk_id"].tolist() == [0] * 36


def test_shuffled_batch_over_timelines_keeps_the_requested_order(tmp_path: Path) -> None:
    order = torch.randperm(36, generator=torch.Generator().manual_seed(5)).tolist()
    (batch,) = DataLoader(FrameDataset(timelines(tmp_path)), batch_size=36, sampler=order)
    assert identities(batch) == [all_frames()[number] for number in order]


def test_loader_without_batches_yields_single_items(tmp_path: Path) -> None:
    loader = DataLoader(FrameDataset(timelines(tmp_path)), batch_size=None)
    assert [identity(item) for item in loader] == all_frames()


def test_image_stays_valid_while_later_batches_are_read(tmp_path: Path) -> None:
    loader = DataLoader(FrameDataset(timelines(tmp_path)), batch_size=6)
    batches = [*loader]
    assert [name for batch in batches for name in identities(batch)] == all_frames()


def test_transform_replaces_the_image_and_target_is_added(tmp_path: Path) -> None:
    dataset = FrameDataset(
        timelines(tmp_path),
        transform=lambda image: image[:1, :4, :4].float() / 255,
        target=lambda timeline_id, sequence: 100 * int(timeline_id[1]) + sequence,
    )
    batch = next(iter(DataLoader(dataset, batch_size=14)))
    assert batch["image"].shape == (14, 1, 4, 4)
    assert batch["image"].dtype == torch.float32
    assert batch["target"].tolist() == [*range(12), 100, 101]
    assert batch["image"][13].mean().item() == pytest.approx(gray_of(1, 1) / 255, abs=0.01)


def test_frames_of_several_sizes_keep_their_size(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t0")
    sizes = [(32, 48), (16, 24), (32, 48), (24, 16)]
    timeline.write([frame(0, sequence, size=size) for sequence, size in enumerate(sizes)])
    items = FrameDataset(unopened(tmp_path, count=1)).__getitems__(range(4))
    assert [identity(item) for item in items] == [("t0", sequence) for sequence in range(4)]
    assert [tuple(item["image"].shape[1:]) for item in items] == sizes


def test_batch_of_several_sizes_is_rejected_by_name(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t0")
    timeline.write([frame(0, 0), frame(0, 1, size=(16, 24))])
    loader = DataLoader(FrameDataset(timeline), batch_size=2)
    with pytest.raises(
        InvalidValue, match=r"frame 0 of timeline t0 is 3x32x48 and frame 1 .* 3x16x24: resize"
    ):
        next(iter(loader))


def test_transform_can_unify_several_sizes(tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t0")
    timeline.write([frame(0, 0), frame(0, 1, size=(16, 24))])
    dataset = FrameDataset(timeline, transform=lambda image: image[:, :8, :8])
    assert next(iter(DataLoader(dataset, batch_size=2)))["image"].shape == (2, 3, 8, 8)


def test_frames_stored_by_another_program_are_read(tmp_path: Path) -> None:
    timelines(tmp_path / "ours", count=1)
    frames = tmp_path / "theirs" / "cache" / "timelines" / "t0" / "frames"
    frames.mkdir(parents=True)
    for path in (tmp_path / "ours" / "cache" / "timelines" / "t0" / "frames").iterdir():
        (frames / path.name).write_bytes(path.read_bytes())
    (batch,) = DataLoader(FrameDataset(unopened(tmp_path / "theirs", count=1)), batch_size=12)
    assert identities(batch) == all_frames(1)


def test_frames_replaced_by_another_size_are_read(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path, count=1))
    assert len(dataset) == FRAMES
    changed = Frame(3, 0, 3 / 25, np.full((16, 16, 3), gray_of(0, 3), np.uint8))
    FrameCache(tmp_path).timeline("t0").write([changed], on_conflict="replace")
    items = dataset.__getitems__([2, 3, 4])
    assert [identity(item) for item in items] == [("t0", 2), ("t0", 3), ("t0", 4)]
    assert items[1]["image"].shape == (3, 16, 16)


def test_frames_appended_after_opening_change_no_number(tmp_path: Path) -> None:
    dataset = FrameDataset(timelines(tmp_path))
    assert len(dataset) == 36
    FrameCache(tmp_path).timeline("t0").write([frame(0, sequence) for sequence in (12, 13)])
    assert len(dataset) == 36
    assert identity(dataset[12]) == ("t1", 0)
    assert len(FrameDataset(unopened(tmp_path))) == 38


def test_dataset_makes_no_request_before_first_use(tmp_path: Path) -> None:
    store = HookedStore(FrameCache(tmp_path).store)
    dataset = FrameDataset(Timeline(store, "t0"), start=3)
    assert store.requests == []
    with pytest.raises(NotCached, match="t0"):
        len(dataset)


@pytest.mark.parametrize("cached", [True, False], ids=["empty range", "empty timeline"])
def test_dataset_without_frames_is_rejected(tmp_path: Path, *, cached: bool) -> None:
    if cached:
        timelines(tmp_path, count=1)
    dataset = FrameDataset(unopened(tmp_path, count=1), start=100)
    with pytest.raises(InvalidValue if cached else NotCached, match="t0"):
        len(dataset)


def test_timeline_without_frames_in_the_range_adds_none(tmp_path: Path) -> None:
    (long, short) = timelines(tmp_path, count=2)
    FrameCache(tmp_path).timeline("t0").write([frame(0, 20)])
    dataset = FrameDataset([short, long], start=15)
    assert dataset.timeline_sizes == [0, 1]
    assert identity(dataset[0]) == ("t0", 20)


def test_invalid_arguments_are_rejected_before_any_request(tmp_path: Path) -> None:
    (timeline,) = unopened(tmp_path, count=1)
    with pytest.raises(InvalidValue, match="at least one timeline"):
        FrameDataset([])
    with pytest.raises(InvalidValue, match=r"cache\.timeline"):
        FrameDataset(["t0"])  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match="scale"):
        FrameDataset(timeline, scale=0.3)
    with pytest.raises(InvalidValue, match="scale and max_side"):
        FrameDataset(timeline, scale=0.5, max_side=64)
    with pytest.raises(InvalidValue, match="color"):
        FrameDataset(timeline, color="yuv")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="channels"):
        FrameDataset(timeline, channels="middle")  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["clear", "rebuild", "delete"])
def test_timeline_changed_after_opening_raises_timeline_cleared(
    extracted: Timeline, tmp_path: Path, change: str
) -> None:
    dataset = FrameDataset(extracted)
    assert len(dataset) == 45
    other = FrameCache(tmp_path / "extracted").timeline("match")
    if change == "rebuild":
        other.rebuild(every=2)
    else:
        getattr(other, change)()
    for _ in range(2):  # also once the reader has the new epoch
        with pytest.raises(TimelineCleared, match="create the dataset again"):
            dataset[3]
    if change == "rebuild":
        assert len(FrameDataset(other)) == 23


def test_timeline_rebuilt_before_a_worker_opens_it_raises_timeline_cleared(
    extracted: Timeline, tmp_path: Path
) -> None:
    """The worker has no old snapshot, and its first read would find another frame."""
    import pickle  # noqa: PLC0415 -- as a spawned worker gets it

    pickled = pickle.dumps(FrameDataset(extracted))
    FrameCache(tmp_path / "extracted").timeline("match").rebuild(every=2)
    with pytest.raises(TimelineCleared, match="create the dataset again"):
        pickle.loads(pickled)[3]
