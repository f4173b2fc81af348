"""Aggregates of a timeline's frames, for listings that should not decode every row."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Final, Self

from framecache._core import json_documents


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Aggregates of some rows of an index."""

    frame_count: int
    """Number of frames, undecodable ones included."""
    undecodable_count: int
    size_bytes: int
    """Total size of the JPEGs."""
    width: int
    """Width of the first frame in pixels; 0 if unknown."""
    height: int
    """Height of the first frame in pixels; 0 if unknown."""
    first_sequence: int
    last_sequence: int
    end_seconds: float
    """Seconds at which the last frame leaves the screen."""

    @property
    def is_gapless(self) -> bool:
        """True if every sequence from the first to the last has a picture."""
        spanned = self.last_sequence - self.first_sequence + 1
        return self.undecodable_count == 0 and self.frame_count == spanned

    def to_json(self) -> bytes:
        """Return the JSON document that an index file stores."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Self | None:
        """Parse that document; return None if it is invalid."""
        try:
            document = json_documents.decode_object(body)
            return cls(
                **{name: int(document[name]) for name in _INTEGER_FIELDS},
                end_seconds=float(document["end_seconds"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


_INTEGER_FIELDS: Final = [field.name for field in fields(Aggregates) if field.name != "end_seconds"]

EMPTY: Final = Aggregates(0, 0, 0, 0, 0, first_sequence=0, last_sequence=-1, end_seconds=0.0)
"""Aggregates of no rows."""


def combine(parts: Sequence[Aggregates]) -> Aggregates | None:
    """Combine the aggregates of non-empty parts; None if their sequences are not in order."""
    if any(before.last_sequence >= after.first_sequence for before, after in pairwise(parts)):
        return None
    first, last = parts[0], parts[-1]
    return Aggregates(
        frame_count=sum(part.frame_count for part in parts),
        undecodable_count=sum(part.undecodable_count for part in parts),
        size_bytes=sum(part.size_bytes for part in parts),
        width=first.width,
        height=first.height,
        first_sequence=first.first_sequence,
        last_sequence=last.last_sequence,
        end_seconds=last.end_seconds,
    )
