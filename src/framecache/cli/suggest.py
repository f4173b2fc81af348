"""Suggestions for misspelled names of commands and timelines."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Final

from framecache.cache import FrameCache
from framecache.cli.sentences import ends_in_command
from framecache.errors import FrameCacheError, NotCached

_MAX_SUGGESTIONS: Final = 3
_MIN_SIMILARITY: Final = 0.7
"""Minimum similarity, 0 to 1: about that of short names that differ in one letter."""


@contextmanager
def suggest_timelines(cache: FrameCache, timeline_ids: Sequence[str]) -> Iterator[None]:
    """Add similar names to an error about a timeline that does not exist.

    Args:
        cache: cache of the command; listed only after such an error.
        timeline_ids: timelines named on the command line.
    """
    try:
        yield
    except NotCached as error:
        hint = _suggest_timeline(cache, timeline_ids)
        if not hint:
            raise
        text = str(error)
        if ends_in_command(text):
            raise type(error)(f"{hint} {text[0].upper()}{text[1:]}") from error
        raise type(error)(f"{text.removesuffix('.')}. {hint}") from error


def suggest_names(name: str, candidates: Iterable[str]) -> str:
    """Return a question such as ``Did you mean walk or wall?``; empty if no name is similar."""
    close = get_close_matches(name, candidates, n=_MAX_SUGGESTIONS, cutoff=_MIN_SIMILARITY)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _suggest_timeline(cache: FrameCache, timeline_ids: Sequence[str]) -> str:
    known: list[str] = []
    # Suppressed, because the error that is being reported matters more.
    with suppress(FrameCacheError):
        known = cache.timelines()
    unknown = (name for name in timeline_ids if name not in known)
    return next(filter(None, (suggest_names(name, known) for name in unknown)), "")
