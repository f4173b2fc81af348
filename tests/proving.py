"""Size and figures of the proofs; ``--proofs long`` makes many more attempts."""

from dataclasses import dataclass, field
from typing import Final

ANSWERS_PROFILE: Final = "framecache answers"
"""Hypothesis profile with the number of requests of each operation of the service."""


@dataclass(slots=True)
class Proof:
    """Amount of work of one proof, and its results."""

    is_long: bool
    figures: dict[str, object] = field(default_factory=dict)

    def size(self, *, short: int, long: int) -> int:
        """Return the number of attempts."""
        return long if self.is_long else short

    def found(self, **figures: object) -> None:
        """Add figures to those that are shown after all tests."""
        self.figures.update(figures)

    def __str__(self) -> str:
        return ", ".join(
            f"{name.replace('_', ' ')} {figure}" for name, figure in self.figures.items()
        )
