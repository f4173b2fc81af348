"""Types of the plain functions, which accept frames of a caller's own class. mypy checks this file.

Frames with other attributes are refused: ``test_typing.py`` checks that.
"""

from dataclasses import dataclass
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from PIL.Image import Image as PilImage

from framecache import Frame
from framecache.functional import (
    EncodedFrame,
    FrameLike,
    cache_exists,
    cache_frames,
    clear_cache,
    frames_to_b64,
    list_overlay_frames,
    load_cached_frames,
    load_cached_frames_b64,
    load_overlays,
    save_overlays,
)


@dataclass
class Mutable:
    """Frame of a caller: a dataclass that is not frozen."""

    sequence: int
    chunk_id: int
    timestamp: float
    image: npt.NDArray[np.uint8]
    perceptual_hash: str | None = None


@dataclass(frozen=True)
class WithPillow:
    """Frame of a caller: frozen, with a Pillow image and a further attribute."""

    sequence: int
    chunk_id: int
    timestamp: float
    image: PilImage
    perceptual_hash: str
    label: str


def plain_functions(mutable: list[Mutable], with_pillow: tuple[WithPillow, ...]) -> None:
    assert_type(cache_frames("t", mutable), int)
    assert_type(cache_frames("t", with_pillow, quality=90), int)
    assert_type(cache_exists("t"), bool)
    assert_type(load_cached_frames("t"), list[Frame])
    assert_type(cache_frames("t", load_cached_frames("t")), int)
    encoded = load_cached_frames_b64("t")
    assert_type(encoded, list[EncodedFrame])
    assert_type(encoded[0]["seq"], int)
    assert_type(encoded[0]["timestamp"], float)
    assert_type(encoded[0]["jpeg_b64"], str)
    assert_type(frames_to_b64(mutable, quality=75), list[EncodedFrame])
    save_overlays("t", "job", "stage", 20, {"mask": "iVBORw0K"})
    assert_type(load_overlays("t", "job", "stage", 20), dict[str, str] | None)
    assert_type(list_overlay_frames("t", "job", "stage"), list[int])
    clear_cache("t")


def frame_like(frame: FrameLike) -> None:
    assert_type(frame.sequence, int)
    assert_type(frame.image, Any)
    assert_type(frame.perceptual_hash, str | None)
