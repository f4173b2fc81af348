"""A file of the corpus, and how to make it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Maker = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One file of the corpus."""

    name: str
    """Name of the file."""
    container: str
    """Its suffix, or ``fragmented``."""
    codec: str
    """FFmpeg's name of the codec."""
    make: Maker
    """Writes the file to a path."""
    oddity: str = ""
    """The way in which the file is unusual; empty for plain ones."""
    numbers: Sequence[int] | None = None
    """The numbers that its pictures show, in order, if they are known in advance."""
