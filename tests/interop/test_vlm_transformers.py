"""Clips for vision-language models, given to the processors of transformers, without weights."""

import io
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framecache import VlmClip
from interop.comparing import extracted
from interop.counted_clips import clip
from interop.test_vlm import probed

_PROCESSORS = {
    "Qwen3VLVideoProcessor": {},
    "Glm4vVideoProcessor": {},
    "SmolVLMVideoProcessor": {"num_frames": 64, "fps": 1, "max_image_size": {"longest_edge": 512}},
}


@pytest.fixture(scope="module", autouse=True)
def operators_of_torchvision() -> Iterator[None]:
    """Declare operators that torchvision names at its import, and that processors do not call.

    Its wheels are built for CUDA, and cannot load their own operators with torch for CPUs.
    """
    from torch import library  # noqa: PLC0415 -- where PyTorch is installed

    operators = library.Library("torchvision", "FRAGMENT")
    with suppress(RuntimeError):  # they are there, in a torchvision that could load its own
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
    del operators  # which would undeclare them


def pictures(made: VlmClip) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in made.jpegs])


def metadata(made: VlmClip) -> Any:  # noqa: ANN401 -- a class of transformers
    return import_module("transformers.video_utils").VideoMetadata(**made.video_metadata)


def expected(made: VlmClip, name: str) -> list[float]:
    truth = probed(clip(name))
    return [truth[sequence] for sequence in made.sequences]


@pytest.mark.parametrize("name", ["b-frames.mp4", "ntsc.mp4", "vfr.mp4"])
@pytest.mark.parametrize("kind", _PROCESSORS)
def test_processor_keeps_the_time_of_each_frame(kind: str, name: str) -> None:
    processor = getattr(import_module("transformers"), kind)(**_PROCESSORS[kind])
    made = extracted(name).to_vlm(max_frames=16)
    result = processor(
        videos=[pictures(made)],
        video_metadata=[metadata(made)],
        do_sample_frames=False,
        return_metadata=True,
        return_tensors="pt",
    )
    (kept,) = result["video_metadata"]
    assert np.abs(np.array(kept.timestamps) - expected(made, name)).max() <= 0.001


@pytest.mark.parametrize("name", ["b-frames.mp4", "vfr.mp4"])
def test_qwen3_states_the_mean_time_of_each_pair_of_frames(name: str) -> None:
    processing = import_module("transformers.models.qwen3_vl.processing_qwen3_vl")
    made = extracted(name).to_vlm(max_frames=16)
    stated = processing.Qwen3VLProcessor._calculate_timestamps(  # noqa: SLF001 -- has no public way
        None, list(made.frames_indices), made.fps, 2
    )
    pairs = np.array(expected(made, name)).reshape(-1, 2).mean(axis=1)
    assert np.abs(np.array(stated) - pairs).max() <= 0.001


@pytest.mark.parametrize("name", ["b-frames.mp4", "ntsc.mp4"])
def test_rate_alone_gives_the_time_of_each_frame(name: str) -> None:
    made = extracted(name).to_vlm(max_frames=20, timing="rate")
    step = 1 / metadata(made).sampled_fps
    times = made.origin_seconds + step * np.arange(len(made.jpegs))
    assert np.abs(times - expected(made, name)).max() <= 0.001
