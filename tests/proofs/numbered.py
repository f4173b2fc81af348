"""Chunks whose frames show their own number, so that a wrong frame is detected."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 96, 64
BITS = 16
STRIPE = WIDTH // BITS
# Two frames differ in one stripe at least, which makes 13; JPEG and color make 0.4.
_MOST_ERROR = 2.0

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NumberedChunks:
    """The chunks of one timeline, every frame of which is to be cached."""

    paths: tuple[str, ...]
    frames_each: int
    """Frames of each segment."""
    pictures: str
    """A numpy file of what ffmpeg decodes of them, ``(N, H, W, 3)``, for any process to map."""
    segments_each: int = 1

    @property
    def part_count(self) -> int:
        """Segments of all chunks; each has an index part."""
        return len(self.paths) * self.segments_each

    @property
    def frame_count(self) -> int:
        return self.part_count * self.frames_each


class Truth:
    """Expected pictures of the frames of numbered chunks."""

    def __init__(self, chunks: NumberedChunks) -> None:
        self._pictures: Images = np.load(chunks.pictures, mmap_mode="r")

    def fault(self, sequence: int, image: Images) -> str:
        """Return the fault of a frame; empty when it has none."""
        shown = _number_shown(image)
        if shown != sequence:
            return f"frame {sequence} shows {shown}"
        expected = self._pictures[sequence]
        error = float(np.abs(image.astype(np.int16) - expected.astype(np.int16)).mean())
        if error > _MOST_ERROR:
            return f"frame {sequence} differs from ffmpeg's by {error:.1f} of 255"
        return ""


def _number_shown(image: Images) -> int:
    """The number in the stripes of a picture, lowest bit leftmost."""
    inner = image.reshape(HEIGHT, BITS, STRIPE, 3)[:, :, 2:4]
    bits = inner.mean(axis=(0, 2, 3)) > 127
    return int(bits @ (1 << np.arange(BITS)))
