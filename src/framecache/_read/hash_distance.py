"""Distances between perceptual hashes: the number of bits in which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from framecache._index import Index, hash_bytes

HASH_BITS: Final = 64
_BYTES: Final = HASH_BITS // 8
_DIGITS: Final = 2 * _BYTES
_BITS_SET: Final = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)
"""Number of bits that are set in each value of a byte."""


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """Perceptual hashes of frames."""

    data: npt.NDArray[np.uint8]
    """Bytes of each hash, ``(frames, 8)``; zeros where it is unknown."""
    is_known: npt.NDArray[np.bool_]
    """Mask of the frames whose hash is 16 hex digits; others cannot be compared."""

    @classmethod
    def of_rows(cls, index: Index, positions: npt.NDArray[np.int64]) -> "Hashes":
        """Return the hashes of some rows of an index."""
        known = hash_bytes(index, positions)
        return cls.parse(index.perceptual_hash[positions]) if known is None else cls(*known)

    @classmethod
    def parse(cls, texts: Sequence[str] | npt.NDArray[np.object_]) -> "Hashes":
        """Parse hashes in hexadecimal; those of other programs may be any text."""
        values = [_parse(text) for text in texts]
        joined = b"".join(value or bytes(_BYTES) for value in values)
        data = np.frombuffer(joined, np.uint8).reshape(-1, _BYTES)
        return cls(data, np.array([value is not None for value in values], dtype=np.bool_))

    def distances_to_previous(self) -> npt.NDArray[np.int64]:
        """Return the distance of each hash but the first to the one before; -1 if unknown."""
        bits = _BITS_SET[self.data[1:] ^ self.data[:-1]].sum(axis=1, dtype=np.int64)
        return np.where(self.is_known[1:] & self.is_known[:-1], bits, -1)

    def as_integers(self) -> list[int | None]:
        """Return each hash as an integer of 64 bits; None if it is unknown."""
        numbers = self.data.reshape(-1).view(">u8").tolist()
        known = self.is_known.tolist()
        return [
            number if is_known else None for number, is_known in zip(numbers, known, strict=True)
        ]


class ChangeFilter:
    """Filter of frames that look different from the last one that it kept."""

    def __init__(self, min_change: int) -> None:
        """Start without a frame to compare with.

        Args:
            min_change: least number of bits by which the hash of a kept frame differs from that of
                the one kept before. A frame is also kept if one of the two hashes is unknown.
        """
        self._min_change = min_change
        self._last: int | None = None

    def keep(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return a mask of the frames to keep among the next frames."""
        kept = np.zeros(len(hashes.is_known), dtype=np.bool_)
        last, least = self._last, self._min_change
        for place, value in enumerate(hashes.as_integers()):
            if value is None or last is None or (value ^ last).bit_count() >= least:
                kept[place] = True
                last = value
        self._last = last
        return kept


def _parse(text: str) -> bytes | None:
    if len(text) != _DIGITS or not text.isalnum():  # fromhex accepts spaces
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
