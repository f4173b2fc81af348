"""Arguments of an extraction as callers give them: chunks and settings."""

import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from framecache._core import sampling
from framecache._core.manifest import Settings
from framecache._core.sampling import Rate, Sampling
from framecache._layouts import LAYOUTS, check_renditions
from framecache.errors import InvalidValue
from framecache.model import (
    DEFAULT_LAYOUT,
    Aspect,
    Chroma,
    Chunk,
    JpegSettings,
    Layout,
    as_layout,
    require_renditions,
)

if TYPE_CHECKING:
    from framecache._ingest.resolve import SettingsResolver  # programs that only read load less

ChunkLike = str | bytes | os.PathLike[Any] | Chunk
"""A local path, the URL of an object in a store, or a `Chunk` with its place in time."""


def as_chunks(chunks: ChunkLike | Iterable[ChunkLike], *, timeline_id: str) -> list[Chunk]:
    """Return the chunks of a timeline, given as one or several.

    Raises:
        InvalidValue: there is none, or one is not a path, a URL or a `Chunk`.
    """
    if isinstance(chunks, str | bytes | os.PathLike | Chunk):
        chunks = [chunks]
    if isinstance(chunks, Mapping | io.IOBase):
        # Iterating over these would not yield chunks.
        raise InvalidValue(
            "chunks must be paths, URLs or Chunk objects, or several of them, not "
            f"{type(chunks).__name__}"
        )
    try:
        wanted = [
            replace(chunk, url=os.fsdecode(chunk.url))
            if isinstance(chunk, Chunk)
            else Chunk(os.fsdecode(chunk))
            for chunk in chunks
        ]
    except TypeError as error:
        raise InvalidValue(
            f"chunks must be paths, URLs or Chunk objects, or several of them: {error}"
        ) from error
    if not wanted:
        raise InvalidValue(f"no chunk was given for timeline {timeline_id}")
    return wanted


def settings_resolver(
    *,
    fps: Rate | None,
    every: int | None,
    keyframes: bool,
    quality: int,
    aspect: Aspect,
    max_side: int | None,
    chroma: Chroma,
    renditions: Iterable[int] | None,
    layout: Layout | None,
) -> "SettingsResolver":
    """Return the function that completes the settings of a call with those of the timeline.

    Raises:
        InvalidValue: an argument is out of its range, or contradicts another one.
    """
    by = sampling.from_arguments(fps=fps, every=every, keyframes=keyframes)
    jpeg = JpegSettings(quality, aspect, max_side, chroma)
    sides = None if renditions is None else require_renditions(renditions)
    chosen = as_layout(layout)
    if sides is not None:
        check_renditions(Settings(by, replace(jpeg, renditions=sides), chosen or DEFAULT_LAYOUT))
    return partial(complete_settings, by, jpeg, chosen, renditions=sides)


def settings_changer(
    *,
    fps: Rate | None,
    every: int | None,
    keyframes: bool,
    quality: int | None,
    aspect: Aspect | None,
    max_side: int | None,
    chroma: Chroma | None,
    renditions: Iterable[int] | None,
    layout: Layout | None,
) -> Callable[[Settings], Settings]:
    """Return the function that replaces settings of a timeline by the arguments that are given.

    A layout that stores no frames replaces renditions that are not given.

    Raises:
        InvalidValue: an argument is out of its range, or contradicts another one.
    """
    by = sampling.from_arguments(fps=fps, every=every, keyframes=keyframes)
    has_sampling = fps is not None or every is not None or keyframes
    sides = None if renditions is None else require_renditions(renditions)
    chosen = as_layout(layout)

    def change(cached: Settings) -> Settings:
        jpeg = cached.jpeg.with_changes(
            quality=quality, aspect=aspect, max_side=max_side, chroma=chroma, renditions=sides
        )
        into = chosen or cached.layout
        if sides is None and not LAYOUTS[into].stores_frames:
            jpeg = replace(jpeg, renditions=())
        return check_renditions(Settings(by if has_sampling else cached.sampling, jpeg, into))

    change(Settings())  # raises what is wrong with them before any request
    return change


def complete_settings(
    sampling_rule: Sampling,
    jpeg: JpegSettings,
    layout: Layout | None,
    cached: Settings | None,
    *,
    renditions: tuple[int, ...] | None = None,
) -> Settings:
    """Return the requested settings; layout and renditions not given are those of the timeline."""
    known = cached or Settings()
    chosen = layout or known.layout
    if renditions is None:
        renditions = known.jpeg.renditions if LAYOUTS[chosen].stores_frames else ()
    return check_renditions(Settings(sampling_rule, replace(jpeg, renditions=renditions), chosen))
