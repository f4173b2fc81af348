"""Arguments and options that several commands share, and the cache they choose."""

import os
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

import click
from click.shell_completion import CompletionItem

from framecache.cache import FrameCache
from framecache.errors import FrameCacheError
from framecache.model import Aspect, Layout

_COMPLETION_SECONDS: Final = 2.0

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Choice:
    """The cache that a command works on, and who chose it."""

    cache: FrameCache
    option: str | None
    """What ``--cache`` said."""

    @property
    def origin(self) -> str:
        """Where the cache's URL comes from, as a user would look it up."""
        if self.option is not None:
            return "--cache"
        variables = ("FRAMECACHE_URL", "S3_BUCKET")
        return next((f"${name}" for name in variables if os.environ.get(name)), "the default")

    def command_line(self, *words: str) -> str:
        """A framecache command that reaches the same cache, to be pasted into a shell."""
        given = self.option
        if given is not None and not given.isprintable():
            given = self.cache.url  # in which the bytes of such a path are percent-encoded
        option = ["--cache", given] if given is not None else []
        return shlex.join(["framecache", *words, *option])


def root_options(function: Decorated) -> Decorated:
    """``--cache`` and ``--debug`` before the command."""
    return _cache_option(_root_cache)(_debug_option(function))


def cache_options(function: Decorated) -> Decorated:
    """``--cache`` and ``--debug`` after the command; passes the cache as ``choice``."""
    return _cache_option(_choose)(_debug_option(function))


def timeline_argument(function: Decorated) -> Decorated:
    """The timeline a command works on, passed as ``timeline_id``."""
    return click.argument("timeline_id", metavar="TIMELINE", shell_complete=_complete_timeline)(
        function
    )


def timelines_argument(function: Decorated) -> Decorated:
    """The timelines a command works on, or none for all; passed as ``timeline_ids``."""
    return click.argument(
        "timeline_ids", metavar="[TIMELINE]...", nargs=-1, shell_complete=_complete_timeline
    )(function)


def sampling_options(function: Decorated) -> Decorated:
    """``--fps``, ``--every`` and ``--keyframes``."""
    for option in (
        click.option("--keyframes", is_flag=True, help="Take keyframes only."),
        click.option("--every", type=int, metavar="N", help="Take every N-th frame."),
        click.option(
            "--fps",
            metavar="RATE",
            help="Take the frame on screen RATE times a second: 5, 0.5, 30000/1001.",
        ),
    ):
        function = option(function)
    return function


layout_option = click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    help="One blob a frame, or one tar a chunk.  [default: as cached, else objects]",
)
aspect_option = click.option(
    "--aspect",
    type=click.Choice(get_args(Aspect)),
    help="Pixels as in the video, or scaled to be square.  [default: as cached, else stored]",
)
workers_option = click.option(
    "--workers", type=int, metavar="N", help="Threads that decode and encode.  [default: cores]"
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, for programs."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def _cache_option(callback: Callable[..., object]) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--cache",
        "choice",
        metavar="URL",
        callback=callback,
        help="Where the cache lies: a folder, s3://…, gs://… or az://….",
    )


_debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show where an error came from ($FRAMECACHE_DEBUG).",
)


def _root_cache(context: click.Context, _: click.Parameter, url: str | None) -> str | None:
    if url == "":
        raise click.UsageError("--cache was given an empty URL.", context)
    return url


def _choose(context: click.Context, parameter: click.Parameter, url: str | None) -> Choice:
    option = _root_cache(context, parameter, url)
    if option is None:
        option = context.find_root().params.get("choice")
    return Choice(FrameCache(option), option)


def _complete_timeline(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The timelines that begin so; none when the store does not answer before one gets bored."""
    found: list[str] = []

    def look() -> None:
        try:
            choice = context.params.get("choice") or _choose(context, parameter, None)
            found.extend(choice.cache.timelines())
        except FrameCacheError:
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_COMPLETION_SECONDS)
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
