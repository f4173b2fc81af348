"""Messages for servers of vision-language models: their bytes, and the times that they state."""

import base64
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

from framecache import Chunk, Frame, FrameCache, InvalidValue, NotCached, Timeline, VlmClip
from interop.comparing import extracted
from interop.counted_clips import clip, shown_number
from media import ffprobe_frames

PREFIX = "data:video/jpeg;base64,"


def computed(made: VlmClip) -> list[float]:
    """The times that vLLM and transformers compute, on the timeline."""
    fields = made.media_io_kwargs["video"]
    return [made.origin_seconds + index / fields["fps"] for index in fields["frames_indices"]]


def probed(path: Path) -> list[float]:
    frames = ffprobe_frames(path)
    return [float(frame.timestamp - frames[0].timestamp) for frame in frames]


def check_fields_as_vllm_does(made: VlmClip) -> None:
    fields = made.media_io_kwargs["video"]
    count = len(made.jpegs)
    assert fields["num_frames"] == len(fields["frames_indices"]) == count
    assert all(type(index) is int for index in fields["frames_indices"])
    assert fields["total_num_frames"] >= max(count, fields["frames_indices"][-1] + 1)
    assert fields["duration"] == pytest.approx(fields["total_num_frames"] / fields["fps"])


@pytest.mark.parametrize(
    "name", ["b-frames.mp4", "ntsc.mp4", "vfr.mp4", "vfr.mkv", "edit-list.mp4", "b-frames.ts"]
)
@pytest.mark.parametrize("max_frames", [1, 7, 32, 100])
def test_receiver_computes_the_time_of_each_frame(name: str, max_frames: int) -> None:
    made = extracted(name).to_vlm(max_frames=max_frames)
    truth = probed(clip(name))
    expected = [truth[sequence] for sequence in made.sequences]
    assert len(made.jpegs) == min(max_frames, len(truth))
    assert np.abs(np.array(computed(made)) - expected).max() <= 0.001
    check_fields_as_vllm_does(made)


def test_times_are_correct_across_joins_and_gaps() -> None:
    timeline = FrameCache(f"memory://{uuid.uuid4().hex}").timeline("t")
    names = ["b-frames.mp4", "vfr.mp4", "ntsc.mp4"]
    starts = [None, "7.3333", 60]
    timeline.extract(
        [Chunk(str(clip(name)), start) for name, start in zip(names, starts, strict=True)]
    )
    made = timeline.to_vlm(max_frames=50)
    truth = [
        time + start
        for name, start in zip(names, (0, 7.3333, 60), strict=True)
        for time in probed(clip(name))
    ]
    expected = [truth[sequence] for sequence in made.sequences]
    assert np.abs(np.array(computed(made)) - expected).max() <= 0.001
    assert {0, 1, 2} == {timeline.frame(sequence).chunk_id for sequence in made.sequences}
    check_fields_as_vllm_does(made)
    with pytest.raises(InvalidValue, match="do not follow each other at one rate"):
        timeline.to_vlm(timing="rate")


def test_range_counts_from_the_timeline_start_or_from_its_first_frame() -> None:
    timeline = extracted("b-frames.mp4")
    by_indices = timeline.to_vlm(1, 2)
    by_rate = timeline.to_vlm(1, 2, timing="rate")
    assert (by_indices.fps, by_indices.frames_indices[0]) == (25, 25)
    assert (by_rate.fps, by_rate.frames_indices[0], by_rate.origin_seconds) == (25, 0, 1)
    assert by_indices.sequences == by_rate.sequences == tuple(range(25, 50))
    assert timeline.to_vlm(1, 2, max_frames=9, timing="rate").sequences == tuple(range(25, 50, 3))


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_rate_is_rejected_with_rate_timing(name: str) -> None:
    with pytest.raises(InvalidValue, match="do not follow each other at one rate"):
        extracted(name).to_vlm(timing="rate")


def test_parts_contain_the_stored_bytes_and_their_times() -> None:
    timeline = extracted("vfr.mp4")
    made = timeline.to_vlm(max_frames=5)
    stored = [timeline.jpeg(sequence) for sequence in made.sequences]
    url = made.video_part["video_url"]["url"]
    assert url.startswith(PREFIX)
    assert [base64.b64decode(part) for part in url[len(PREFIX) :].split(",")] == stored
    texts, images = made.image_parts[::2], made.image_parts[1::2]
    assert [part["text"] for part in texts] == [f"{time:.3f} s" for time in made.timestamps]
    assert [
        base64.b64decode(part["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
        for part in images
    ] == stored


def test_scaled_frames_are_smaller_jpegs_of_the_same_pictures() -> None:
    timeline = extracted("b-frames.mp4")
    made = timeline.to_vlm(max_frames=6, scale=0.5)
    assert set(made.sizes) == {(48, 32)}
    for sequence, data in zip(made.sequences, made.jpegs, strict=True):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (32, 48, 3)
        larger = cv2.resize(image, (96, 64), interpolation=cv2.INTER_NEAREST)
        assert shown_number(larger.astype(np.uint8)) == sequence


def written(*frames: Frame) -> Timeline:
    timeline = FrameCache(f"memory://{uuid.uuid4().hex}").timeline("t")
    timeline.write(frames)
    return timeline


def blank(sequence: int, seconds: float, *, height: int = 32) -> Frame:
    return Frame(sequence, 0, seconds, np.zeros((height, 48, 3), np.uint8))


def test_frames_of_several_sizes_make_images_but_no_video() -> None:
    made = written(blank(0, 0), blank(1, 0.5, height=64)).to_vlm()
    assert len(made.image_parts) == 4
    with pytest.raises(InvalidValue, match="frames 0 and 1 differ in size"):
        _ = made.video_part


def test_frames_without_distinct_ascending_times_are_rejected() -> None:
    with pytest.raises(InvalidValue, match="within a millisecond"):
        written(blank(0, 0), blank(1, 0)).to_vlm()
    with pytest.raises(InvalidValue, match="do not ascend"):
        written(blank(0, 1), blank(1, 0)).to_vlm()


def test_empty_range_and_invalid_arguments_are_rejected() -> None:
    timeline = extracted("b-frames.mp4")
    with pytest.raises(NotCached, match="no frame begins from 90 to 91 s"):
        timeline.to_vlm(90, 91)
    with pytest.raises(NotCached, match="nothing is cached; extract it first"):
        FrameCache(f"memory://{uuid.uuid4().hex}").timeline("t").to_vlm()
    with pytest.raises(InvalidValue, match="max_frames must be an integer from 1"):
        timeline.to_vlm(max_frames=0)
    with pytest.raises(InvalidValue, match="scale must be"):
        timeline.to_vlm(scale=0.3)
    with pytest.raises(InvalidValue, match="timing must be"):
        timeline.to_vlm(timing="guess")  # type: ignore[arg-type]
