"""The command after which an extraction that conflicts with the cached settings succeeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from framecache._core import sampling
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Settings
from framecache.cli.options import CacheSelection
from framecache.model import MAX_FRAME_SIDE, JpegSettings, Layout
from framecache.store import normalized_url
from framecache.timeline import Timeline


@dataclass(frozen=True, slots=True)
class RequestedSettings:
    """Chunks and settings given on a command line, and the options that gave the sampling."""

    chunks: tuple[str, ...]
    settings: Settings
    layout: Layout | None
    renditions: tuple[int, ...] | None
    sampling_words: tuple[str, ...]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return what the options of ``framecache extract`` ask for."""
        fps, every, keyframes = options["fps"], options["every"], options["keyframes"]
        words = ("--keyframes",) if keyframes else ("--every", str(every or 1))
        return cls(
            tuple(options["chunks"]),
            Settings(
                sampling.from_arguments(fps=fps, every=every, keyframes=keyframes),
                JpegSettings().with_changes(
                    **{name: options[name] for name in ("quality", "aspect", "max_side", "chroma")}
                ),
            ),
            options["layout"],
            options["renditions"],
            ("--fps", fps) if fps is not None else words,
        )


def remedy_command(
    choice: CacheSelection, timeline: Timeline, requested: RequestedSettings | None
) -> str:
    """Return the end of an error message: the command after which the extraction succeeds."""
    name = timeline.timeline_id
    info = timeline.info()
    cached = info.settings
    clear = choice.command_line("clear", name)
    if cached is None or requested is None:
        return f": {clear}"
    wanted = replace(
        requested.settings,
        jpeg=replace(
            requested.settings.jpeg,
            renditions=cached.jpeg.renditions
            if requested.renditions is None
            else requested.renditions,
        ),
        layout=requested.layout or cached.layout,
    )
    words: list[str] = []
    if wanted.sampling != cached.sampling:
        words += requested.sampling_words
    words += _jpeg_options(wanted.jpeg, cached.jpeg)
    if wanted == cached:
        # Only the chunks differ.
        return f": {clear}"
    if _has_other_chunks(requested.chunks, info.chunks):
        return (
            ". Its videos differ, too, and a rebuild would not change them: use another "
            f"timeline name, or discard its frames first: {clear}"
        )
    has, wants = set(cached.jpeg.renditions), set(wanted.jpeg.renditions)
    if has < wants and cached.has_same_frames(wanted):
        new = map(str, sorted(wants - has, reverse=True))
        return f": {choice.command_line('renditions', name, *new)}"
    if wanted.jpeg.renditions != cached.jpeg.renditions:
        words += ("--renditions", ",".join(map(str, wanted.jpeg.renditions)) or "none")
    if not words:
        return f": {choice.command_line('repack', name, '--layout', wanted.layout)}"
    if wanted.layout != cached.layout:
        words += ("--layout", wanted.layout)
    return f": {choice.command_line('rebuild', name, *words)}"


def _jpeg_options(wanted: JpegSettings, cached: JpegSettings) -> Iterator[str]:
    """Yield the options of a rebuild that changes cached settings to those that are wanted."""
    limits = (wanted.max_side or MAX_FRAME_SIDE, cached.max_side or MAX_FRAME_SIDE)
    for option, value, before in (
        ("--quality", wanted.quality, cached.quality),
        ("--aspect", wanted.aspect, cached.aspect),
        ("--max-side", *limits),
        ("--chroma", wanted.chroma, cached.chroma),
    ):
        if value != before:
            yield from (option, str(value))


def _has_other_chunks(asked: Sequence[str], cached: Sequence[ChunkEntry]) -> bool:
    """Return whether the given videos differ from the cached ones, as far as both lists go."""
    pairs = zip(asked, cached, strict=False)
    return any(normalized_url(path) != chunk.url for path, chunk in pairs)
