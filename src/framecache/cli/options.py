"""Arguments and options that several commands share, and the cache that they select."""

import os
import re
import shlex
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar, cast, get_args

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from framecache.cache import FrameCache
from framecache.cli.output import is_quiet, print_message, set_quiet
from framecache.cli.suggest import suggest_timelines
from framecache.errors import FrameCacheError
from framecache.model import Aspect, Chroma, Layout

_COMPLETION_TIMEOUT_SECONDS: Final = 2.0
_COMMAND: Final = re.compile(
    r"framecache (?:verify|repack|rebuild) [^\s']++"
    r"(?: --(?!cache)[a-z-]++(?: (?:objects|packs|video|square|stored|[0-9][0-9./]*+))?+)*+"
    r"(?! --cache)"
)
"""Commands in messages of the library, which does not know about --cache."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class CacheSelection:
    """Cache that a command works on, and the origin of its URL."""

    cache: FrameCache
    option: str | None
    """Value of ``--cache``; None if it was not given."""

    @property
    def origin(self) -> str:
        """Origin of the cache's URL: the option, the environment variable or the default."""
        if self.option is not None:
            return "--cache"
        variables = ("FRAMECACHE_URL", "S3_BUCKET")
        return next((f"${name}" for name in variables if os.environ.get(name)), "the default")

    def command_line(self, *words: str) -> str:
        """Return a framecache command on the same cache, quoted for a shell."""
        given = self.option
        if given is not None and not given.isprintable():
            given = self.cache.url  # percent-encodes such bytes of a path
        option = ["--cache", given] if given is not None else []
        return shlex.join(["framecache", *words, *option])


def given_options(context: click.Context, *, leave_out: Collection[str] = ()) -> list[str]:
    """Return the options given on the command line, as words, without ``--cache``.

    Args:
        context: context of the command.
        leave_out: names of further parameters to leave out.
    """
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        is_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not is_given or name in {"choice", *leave_out}:
            continue
        if option.is_flag:
            words.append(option.opts[0])
            continue
        value = context.params[name]
        for one in value if option.multiple else (value,):
            words += (option.opts[0], str(one))
    return words


def root_options(function: Decorated) -> Decorated:
    """Add ``--cache``, ``--quiet`` and ``--debug`` to the root command."""
    return _cache_option(_root_cache)(_quiet_option(_debug_option(function)))


def cache_options(function: Decorated) -> Decorated:
    """Add ``--cache``, ``--quiet`` and ``--debug`` to a subcommand.

    The cache is passed as ``choice``. Its origin is printed unless ``--cache`` was given.
    """

    @wraps(function)
    def run(*positional: object, choice: CacheSelection, **named: object) -> object:
        _print_origin(choice)
        with (
            _add_cache_option_to_errors(choice),
            suggest_timelines(choice.cache, _timelines_in(named)),
        ):
            return function(*positional, choice=choice, **named)

    return _cache_option(_select_cache)(_quiet_option(_debug_option(cast("Decorated", run))))


@contextmanager
def _add_cache_option_to_errors(choice: CacheSelection) -> Iterator[None]:
    """Add this command's ``--cache`` to the commands named in errors of the library."""
    try:
        yield
    except FrameCacheError as error:
        option = choice.command_line().removeprefix("framecache")
        text = _COMMAND.sub(lambda command: f"{command[0]}{option}", str(error))
        if text == str(error):
            raise
        raise type(error)(text) from error


def _timelines_in(arguments: Mapping[str, object]) -> list[str]:
    several, one = arguments.get("timeline_ids"), arguments.get("timeline_id")
    named = [*several, one] if isinstance(several, tuple) else [one]
    return [name for name in named if isinstance(name, str)]


def _print_origin(choice: CacheSelection) -> None:
    if choice.option is None and not is_quiet():
        print_message(f"the cache is {choice.cache.url} (from {choice.origin})")


def timeline_argument(function: Decorated) -> Decorated:
    """Add an argument for one timeline, passed as ``timeline_id``."""
    return click.argument("timeline_id", metavar="TIMELINE", shell_complete=complete_timeline)(
        function
    )


def optional_timeline_argument(function: Decorated) -> Decorated:
    """Add an argument for one timeline that may be left out, passed as ``timeline_id``."""
    return click.argument(
        "timeline_id", metavar="[TIMELINE", required=False, shell_complete=complete_timeline
    )(function)


def timelines_argument(*, required: bool) -> Callable[[Decorated], Decorated]:
    """Add an argument for several timelines, passed as ``timeline_ids`` in the order given.

    Args:
        required: True if at least one must be given; otherwise none means all.
    """
    return click.argument(
        "timeline_ids",
        metavar="TIMELINE..." if required else "[TIMELINE]...",
        nargs=-1,
        required=required,
        callback=_deduplicate,
        shell_complete=complete_timeline,
    )


def _deduplicate(
    _: click.Context, __: click.Parameter, timeline_ids: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(timeline_ids))


def sampling_options(function: Decorated) -> Decorated:
    """Add ``--fps``, ``--every`` and ``--keyframes``."""
    for option in (
        click.option("--keyframes", is_flag=True, help="Extract keyframes only."),
        click.option("--every", type=int, metavar="N", help="Extract every N-th frame."),
        click.option(
            "--fps",
            metavar="RATE",
            help="Extract the frame on screen RATE times per second: 5, 0.5, 30000/1001.",
        ),
    ):
        function = option(function)
    return function


layout_option = click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    help="One blob per frame, one tar per segment of a chunk, or nothing: frames are decoded from "
    "the chunks when they are read.  [default: as cached, else objects]",
)
aspect_option = click.option(
    "--aspect",
    type=click.Choice(get_args(Aspect)),
    help="Keep pixels as in the video, or scale frames to square pixels.  [default: stored; for "
    "rebuild, as cached]",
)
max_side_option = click.option(
    "--max-side",
    type=int,
    metavar="PIXELS",
    help="Store frames scaled down to at most this width and height; 65500: no limit.  [default: "
    "no limit; for rebuild, as cached]",
)
chroma_option = click.option(
    "--chroma",
    type=click.Choice(get_args(Chroma)),
    help="Store one color sample for 2×2 pixels, or for each pixel, so that small text and thin "
    "colored lines stay sharp.  [default: 420; for rebuild, as cached]",
)


def _parse_sizes(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Return sizes that are separated by commas; ``none``: no size."""
    if text is None or text == "none":
        return None if text is None else ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of sizes, such as 640,224.", context, parameter
        ) from None


renditions_option = click.option(
    "--renditions",
    callback=_parse_sizes,
    metavar="PIXELS,…",
    help="Store smaller copies of each frame too, whose longer sides have these lengths, such as "
    "640,224; none: no copies.  [default: as cached, else none]",
)
workers_option = click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Number of threads that decode and encode.  [default: cores]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, for programs."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


def _cache_option(callback: Callable[..., object]) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--cache",
        "choice",
        metavar="URL",
        callback=callback,
        help="Location of the cache: a folder, s3://…, gs://… or az://….",
    )


def _set_quiet(context: click.Context, _: click.Parameter, value: object) -> None:
    if value:
        set_quiet(context)


_quiet_option = click.option(
    "--quiet",
    "-q",
    is_flag=True,
    # Evaluated before the cache is selected, which may print its origin.
    is_eager=True,
    expose_value=False,
    callback=_set_quiet,
    help="Print only results, warnings and errors.",
)
_debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show tracebacks of errors ($FRAMECACHE_DEBUG).",
)


def _root_cache(context: click.Context, _: click.Parameter, url: str | None) -> str | None:
    if url == "":
        raise click.UsageError("--cache must not be empty.", context)
    return url


def _select_cache(
    context: click.Context, parameter: click.Parameter, url: str | None
) -> CacheSelection:
    option = _root_cache(context, parameter, url)
    if option is None:
        option = context.find_root().params.get("choice")
    return CacheSelection(FrameCache(option), option)


def complete_timeline(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the timelines whose ids begin with `incomplete`; none if the store is too slow."""
    found: list[str] = []

    def look() -> None:
        try:
            choice = context.params.get("choice") or _select_cache(context, parameter, None)
            found.extend(choice.cache.timelines())
        except FrameCacheError:
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_COMPLETION_TIMEOUT_SECONDS)
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
