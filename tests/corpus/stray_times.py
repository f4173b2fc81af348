"""MPEG-TS in which single times are wrong, as recorders write them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from corpus.case import Case, Maker
from corpus.encoding import encode
from corpus.streams import TICKS, with_times
from corpus.variants import PLAIN_ORDER

_FRAMES: Final = 60
_STEP: Final = TICKS // 25


def cases() -> Iterator[Case]:
    changes: dict[str, Callable[[int, int], int]] = {
        "sound": lambda _, pts: pts,
        "hours-ahead": lambda n, pts: pts + 37_600 * TICKS if n == 30 else pts,
        "two-ahead": lambda n, pts: pts + 37_600 * TICKS if n in {30, 31} else pts,
        "second-behind": lambda n, pts: pts - TICKS - 20 if n == 30 else pts,
        "below-zero": lambda n, pts: pts - 60 * TICKS if n == 30 else pts,
        "one-pair": lambda n, pts: pts - _STEP if n == 30 else pts,
        "pairs": lambda n, pts: pts - n % 2 * _STEP if n >= 30 else pts,
        "all-equal": lambda n, pts: pts - n * _STEP,
        "ten-back": lambda n, pts: pts - 5 * _STEP if n in range(20, 30) else pts,
        "set-back": lambda n, pts: pts - 25 * _STEP if n >= 30 else pts,
        "set-back-twice": lambda n, pts: pts - n // 20 * 25 * _STEP,
        "first-ahead": lambda n, pts: pts + 50 * TICKS if n == 0 else pts,
        "last-behind": lambda n, pts: pts - TICKS if n == 59 else pts,
        "last-ahead": lambda n, pts: pts + 500 * TICKS if n == 59 else pts,
        "seven-behind": lambda n, pts: pts - 20 * _STEP if n in range(30, 37) else pts,
        "every-tenth-ahead": lambda n, pts: pts + 90 * TICKS if n % 10 == 5 else pts,
        "backwards": lambda n, pts: pts - 2 * n * _STEP + 60 * _STEP,
        "swapped": lambda n, pts: pts + (_STEP if n % 2 == 0 else -_STEP) if n >= 30 else pts,
        "small-set-back": lambda n, pts: pts - 3 * _STEP + 7 if n >= 30 else pts,
    }
    for label, change in changes.items():
        yield Case(
            f"times-{label}.ts",
            "ts",
            "h264",
            _restamped(change),
            "single times changed",
            range(_FRAMES),
        )


def _restamped(change: Callable[[int, int], int]) -> Maker:
    def make(path: Path) -> None:
        encode(path, range(_FRAMES), *PLAIN_ORDER)
        path.write_bytes(with_times(path.read_bytes(), change))

    return make
