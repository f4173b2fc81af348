"""Displays of frames in notebooks: a filmstrip, and a comparison of two frames."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from framecache._read.hash_distance import Hashes
from framecache.errors import InvalidValue
from framecache.model import Frame, Image

_STRIP_WIDTH: Final = 160
_COMPARISON_WIDTH: Final = 480
"""Maximum widths in pixels of displayed pictures."""
_BRIGHTEST: Final = 255


@dataclass(frozen=True, slots=True, repr=False)
class Filmstrip:
    """Frames side by side, as a notebook displays them: ``Filmstrip(match.frames(0, 50, 5))``."""

    frames: Iterable[Frame]
    """Frames in the order of the strip; they are read when the strip is made."""

    def __post_init__(self) -> None:
        """Read the frames, and keep them at the size at which they are displayed."""
        small = tuple(_shrink(frame, _STRIP_WIDTH) for frame in self.frames)
        object.__setattr__(self, "frames", small)

    def __repr__(self) -> str:
        """Return the sequences of the frames."""
        return f"<Filmstrip of frames {[frame.sequence for frame in self.frames]}>"

    def _repr_html_(self) -> str:
        """Return HTML that shows the frames, each with its sequence and time."""
        pictures = "".join(_figure(frame, _label(frame)) for frame in self.frames)
        return f'<div style="display:flex;flex-wrap:wrap;gap:4px">{pictures}</div>'


@dataclass(frozen=True, slots=True, repr=False)
class FrameComparison:
    """Two frames of one size and their difference, as a notebook displays them."""

    left: Frame
    """Frame to compare."""
    right: Frame
    """Frame that it is compared with, read with the same size and color."""

    def __post_init__(self) -> None:
        """Check that the pictures can be compared.

        Raises:
            InvalidValue: they differ in size or color.
        """
        sides = [(np.shape(one.image), one.color) for one in (self.left, self.right)]
        if sides[0] != sides[1]:
            raise InvalidValue(
                f"frames {self.left.sequence} and {self.right.sequence} differ in size or color "
                f"({sides[0]} and {sides[1]}): read both with one scale and color"
            )

    def __repr__(self) -> str:
        """Return the sequences and the differences."""
        return (
            f"<FrameComparison of frames {self.left.sequence} and {self.right.sequence}: "
            f"{self._summary()}>"
        )

    @property
    def mean_difference(self) -> float:
        """Mean absolute difference of the pixels' values, 0 to 255."""
        return float(self._difference().mean())

    @property
    def changed_bits(self) -> int | None:
        """Bits in which the perceptual hashes differ, 0 to 64; None if one is unknown."""
        hashes = Hashes.parse([self.left.perceptual_hash, self.right.perceptual_hash])
        distance = int(hashes.distances_to_previous()[0])
        return None if distance < 0 else distance

    def _repr_html_(self) -> str:
        """Return HTML that shows both frames and their difference, brightened to be seen."""
        difference = self._difference()
        scale = _BRIGHTEST / max(1, int(difference.max(initial=0)))
        bright = (difference * scale).astype(np.uint8)
        shown = Frame(
            self.left.sequence, self.left.chunk_id, self.left.timestamp, bright, "", self.left.color
        )
        pictures = "".join(
            _figure(_shrink(frame, _COMPARISON_WIDTH), label)
            for frame, label in (
                (self.left, _label(self.left)),
                (self.right, _label(self.right)),
                (shown, f"difference × {scale:.1f}: {self._summary()}"),
            )
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:4px">{pictures}</div>'

    def _summary(self) -> str:
        bits = self.changed_bits
        changed = "" if bits is None else f", {bits} bits of the hash"
        return f"mean {self.mean_difference:.2f} of 255{changed}"

    def _difference(self) -> Image:
        left, right = self.left.image, self.right.image
        difference: Image = np.maximum(left, right) - np.minimum(left, right)
        return difference


def _label(frame: Frame) -> str:
    return f"frame {frame.sequence}, {frame.timestamp:.3f} s"


def _figure(frame: Frame, label: str) -> str:
    data = base64.b64encode(frame._repr_png_() or b"").decode("ascii")
    return (
        f'<figure style="margin:0"><img src="data:image/png;base64,{data}" alt="{label}">'
        f'<figcaption style="font-size:small">{label}</figcaption></figure>'
    )


def _shrink(frame: Frame, width: int) -> Frame:
    """Return a frame whose picture is at most so wide, by averaging blocks of whole pixels."""
    image = frame.image
    step = -(-image.shape[1] // width)
    if step > 1:
        height, wide = (max(1, side // step) for side in image.shape[:2])
        whole = image[: height * step, : wide * step]
        blocks = whole.reshape(height, -1, wide, step, *image.shape[2:])
        image = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return Frame(
        frame.sequence, frame.chunk_id, frame.timestamp, image, frame.perceptual_hash, frame.color
    )
