"""Errors and warnings of commands: one line on stderr, and an exit code per kind of error."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final

import click

from framecache import errors
from framecache.cli import interrupts
from framecache.cli.output import print_message

_OTHER: Final = 1
_USAGE: Final = 2
_BROKEN_PIPE: Final = 141

# The first match wins, so a subclass stands before its base class where their codes differ.
_CODES: Final[tuple[tuple[type[errors.FrameCacheError], int], ...]] = (
    (errors.InvalidId, _USAGE),
    (errors.InvalidValue, _USAGE),
    (errors.NotCached, 3),
    (errors.SettingsConflict, 4),
    (errors.UnreadableChunk, 5),
    (errors.StorePermissionDenied, 6),
    (errors.StoreUnavailable, 7),
    (errors.ClusterUnavailable, 7),
    (errors.CorruptFrame, 8),
    (errors.TimelineCleared, 9),
)


class Declined(Exception):
    """Raised when the user answered no to a question."""


class Refused(Exception):
    """Raised when a valid command line could do harm, and so is not executed."""


def report_error(error: BaseException, *, arguments: Sequence[str]) -> int:
    """Print an error to stderr, and return the exit code."""
    is_debugging = _is_debugging(arguments)
    if interrupts.is_interrupted() and not isinstance(error, KeyboardInterrupt):
        # The error is a result of the interruption: a library converted the exception, or missed
        # the result of what was interrupted.
        error = KeyboardInterrupt()
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return _BROKEN_PIPE
    if is_debugging:
        traceback.print_exception(error)
    line, code = _describe_error(error, is_debugging=is_debugging)
    if code == interrupts.EXIT_CODE:
        interrupts.acquire_reporting()
    print_message(line)
    if isinstance(error, OSError):
        _discard_output()
    return code


def make_warning_printer() -> Callable[..., None]:
    """Return a function for `warnings.showwarning` that prints each message once to stderr."""
    told: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in told:
            told.add(str(message))
            print_message(f"warning: {message}")

    return show


def exit_code_of(error: errors.FrameCacheError) -> int:
    """Return the exit code of an error of framecache."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), _OTHER)


def _describe_error(error: BaseException, *, is_debugging: bool) -> tuple[str, int]:
    match error:
        case errors.FrameCacheError():
            return str(error), exit_code_of(error)
        case click.UsageError():
            return _format_usage_error(error), _USAGE
        case click.ClickException():
            return error.format_message(), error.exit_code
        case Refused():
            return str(error), _USAGE
        case KeyboardInterrupt() | click.Abort():
            return str(error) or "interrupted", interrupts.EXIT_CODE
    return _describe_other(error, is_debugging=is_debugging), _OTHER


def _describe_other(error: BaseException, *, is_debugging: bool) -> str:
    match error:
        case Declined():
            return str(error)
        case OSError(strerror=str(reason), filename=None):
            return f"cannot write the output: {reason}"
        case OSError(strerror=str(reason)):
            return f"{os.fsdecode(error.filename)}: {reason}"
    hint = "" if is_debugging else " (--debug shows where)"
    return f"unexpected {type(error).__name__}: {error}{hint}"


def _format_usage_error(error: click.UsageError) -> str:
    """Return Click's message in one line, with the command that shows the help."""
    message = " ".join(error.format_message().split())
    name = error.ctx.command_path if error.ctx else "framecache"
    return f"{message} Try: {name} --help"


def _is_debugging(arguments: Sequence[str]) -> bool:
    # Read without Click, so that it works for errors in parsing, too.
    return "--debug" in arguments or os.environ.get("FRAMECACHE_DEBUG", "0") not in {"", "0"}


def _discard_output() -> None:
    """Prevent Python from writing at exit the output that stdout has already rejected."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
