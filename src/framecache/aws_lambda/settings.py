"""Settings of the Lambda function, from arguments or environment variables."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from framecache._core import keys, sampling
from framecache._core.manifest import Settings
from framecache._core.numeric import as_fraction, format_value, require_int
from framecache._core.sampling import Rate
from framecache.aws_lambda.chunk_pattern import ChunkPattern
from framecache.errors import InvalidValue
from framecache.model import DEFAULT_LAYOUT, Aspect, Chroma, JpegSettings, Layout, require_layout

_PREFIX: Final = "FRAMECACHE_LAMBDA_"
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class LambdaSettings:
    """Settings with which events become chunks of timelines.

    Raises `InvalidValue` if one is out of its range.
    """

    chunks: str
    """URL of the chunks, such as ``s3://videos/live/{timeline_id}/{number}.ts``. ``{timeline_id}``
    and ``{number}`` each stand once; ``*`` stands for any characters except a slash."""
    first_number: int = 0
    """Number of the first chunk of each timeline, from 0."""
    max_wait_seconds: float = 600.0
    """Time that a chunk waits for missing ones before it, from 0; then they are skipped."""
    fps: Rate | None = None
    """Sampling of new timelines, as for `Timeline.extract`, as ``every`` and ``keyframes``."""
    every: int | None = None
    keyframes: bool = False
    quality: int = 85
    """JPEG quality of new timelines, 1 to 100."""
    aspect: Aspect = "stored"
    """Aspect of new timelines, as for `Timeline.extract`."""
    max_side: int | None = None
    """Maximum width and height of the frames of new timelines in pixels; None: no limit."""
    chroma: Chroma = "420"
    """Chroma of new timelines, as for `Timeline.extract`."""
    renditions: tuple[int, ...] = ()
    """Sizes of smaller copies of each frame of new timelines, as for `Timeline.extract`."""
    layout: Layout = DEFAULT_LAYOUT
    """Layout of new timelines."""
    workers: int | None = None
    """Threads that decode and encode, from 1; None: one per core."""
    reserve_seconds: float = 10.0
    """Time before the end of an invocation at which it stops, from 0; at most a quarter of it."""
    pattern: ChunkPattern = field(init=False, repr=False, compare=False)
    """Parsed form of ``chunks``."""
    extraction: Settings = field(init=False, repr=False, compare=False)
    """Settings of the manifests of new timelines."""

    def __post_init__(self) -> None:
        """Check the settings, and parse the pattern."""
        limit = 10**keys.CHUNK_NUMBER_DIGITS
        require_int(self.first_number, what="first_number", below=limit)
        for name in ("max_wait_seconds", "reserve_seconds"):
            seconds = as_fraction(getattr(self, name))
            if seconds is None or seconds < 0:
                given = format_value(getattr(self, name))
                raise InvalidValue(f"{name} must be a number from 0, not {given}")
        if self.workers is not None:
            require_int(self.workers, what="workers", minimum=1)
        by = sampling.from_arguments(fps=self.fps, every=self.every, keyframes=self.keyframes)
        jpeg = JpegSettings(self.quality, self.aspect, self.max_side, self.chroma, self.renditions)
        object.__setattr__(self, "pattern", ChunkPattern(self.chunks))
        settings = Settings(by, jpeg, require_layout(self.layout))
        if jpeg.renditions:
            from framecache._layouts import check_renditions  # noqa: PLC0415 -- loads a lot

            check_renditions(settings)
        object.__setattr__(self, "extraction", settings)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return the settings in variables such as ``FRAMECACHE_LAMBDA_MAX_WAIT_SECONDS``.

        Each setting has a variable of its name; an empty one counts as missing.

        Args:
            environment: variables; None: those of this process.

        Raises:
            InvalidValue: ``FRAMECACHE_LAMBDA_CHUNKS`` is missing, a variable has an invalid value,
                or begins with ``FRAMECACHE_LAMBDA_`` and is not the name of a setting.
        """
        given = {
            name: value
            for name, value in (os.environ if environment is None else environment).items()
            if name.startswith(_PREFIX) and value
        }
        if unknown := sorted(given.keys() - _PARSERS.keys()):
            raise InvalidValue(
                f"${unknown[0]} is not a setting; the settings are {', '.join(_PARSERS)}"
            )
        if f"{_PREFIX}CHUNKS" not in given:
            raise InvalidValue(
                f"${_PREFIX}CHUNKS is not set: give the URL of the chunks, such as "
                "s3://videos/live/{timeline_id}/{number}.ts"
            )
        values: dict[str, Any] = {
            name.removeprefix(_PREFIX).lower(): _parse(name, value) for name, value in given.items()
        }
        return cls(**values)


def _parse_sizes(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _parse_flag(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    f"{_PREFIX}CHUNKS": str,
    f"{_PREFIX}FIRST_NUMBER": int,
    f"{_PREFIX}MAX_WAIT_SECONDS": float,
    f"{_PREFIX}FPS": str,
    f"{_PREFIX}EVERY": int,
    f"{_PREFIX}KEYFRAMES": _parse_flag,
    f"{_PREFIX}QUALITY": int,
    f"{_PREFIX}ASPECT": str,
    f"{_PREFIX}MAX_SIDE": int,
    f"{_PREFIX}CHROMA": str,
    f"{_PREFIX}RENDITIONS": _parse_sizes,
    f"{_PREFIX}LAYOUT": str,
    f"{_PREFIX}WORKERS": int,
    f"{_PREFIX}RESERVE_SECONDS": float,
}
"""Function that parses each variable."""


def _parse(name: str, text: str) -> object:
    try:
        return _PARSERS[name](text)
    except ValueError as error:
        raise InvalidValue(f"${name} has the invalid value {text!r}") from error
