"""How a command fails, or warns: one line on stderr, and an exit code that names what to do."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Final

import click

from framecache import errors
from framecache.cli.show import printable

_OTHER: Final = 1
_USAGE: Final = 2
_INTERRUPTED: Final = 130
_NO_READER: Final = 141

# The first that fits counts, so a child stands before its parent where their codes differ.
_CODES: Final[tuple[tuple[type[errors.FrameCacheError], int], ...]] = (
    (errors.InvalidId, _USAGE),
    (errors.InvalidValue, _USAGE),
    (errors.NotCached, 3),
    (errors.SettingsConflict, 4),
    (errors.BadChunk, 5),
    (errors.StoreDenied, 6),
    (errors.StoreUnavailable, 7),
    (errors.CorruptFrame, 8),
    (errors.Cleared, 9),
)


class Declined(Exception):
    """The user was asked, and said no."""


class Refused(Exception):
    """The command line is well-formed, and doing what it says could do harm."""


def report(error: BaseException, *, arguments: Sequence[str]) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    is_debugging = _is_debugging(arguments)
    if isinstance(error, BrokenPipeError):
        _forget_output()
        return _NO_READER
    if is_debugging:
        traceback.print_exception(error)
    line, code = _explain(error, is_debugging=is_debugging)
    click.echo(f"framecache: {printable(line)}", err=True)
    if isinstance(error, OSError):
        _forget_output()
    if code == _INTERRUPTED:
        _let_interrupts_kill()
    return code


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Say on stderr what Python warns of; takes the place of `warnings.showwarning`."""
    click.echo(f"framecache: warning: {printable(str(message))}", err=True)


def code_of(error: errors.FrameCacheError) -> int:
    """The exit code of an error framecache raised on purpose."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), _OTHER)


def _explain(error: BaseException, *, is_debugging: bool) -> tuple[str, int]:
    match error:
        case errors.FrameCacheError():
            return str(error), code_of(error)
        case click.UsageError():
            return _usage(error), _USAGE
        case click.ClickException():
            return error.format_message(), error.exit_code
        case Refused():
            return str(error), _USAGE
        case KeyboardInterrupt() | click.Abort():
            return str(error) or "interrupted", _INTERRUPTED
    return _explain_other(error, is_debugging=is_debugging), _OTHER


def _explain_other(error: BaseException, *, is_debugging: bool) -> str:
    match error:
        case Declined():
            return str(error)
        case OSError(strerror=str(reason), filename=None):
            return f"cannot write the output: {reason}"
        case OSError(strerror=str(reason)):
            return f"{os.fsdecode(error.filename)}: {reason}"
    hint = "" if is_debugging else " (--debug shows where)"
    return f"unexpected {type(error).__name__}: {error}{hint}"


def _usage(error: click.UsageError) -> str:
    """Click's message in one line, and where the help is."""
    message = " ".join(error.format_message().split())
    name = error.ctx.command_path if error.ctx else "framecache"
    return f"{message} Try: {name} --help"


def _is_debugging(arguments: Sequence[str]) -> bool:
    # Not asked of click, so that a failure of parsing can be shown too.
    return "--debug" in arguments or os.environ.get("FRAMECACHE_DEBUG", "0") not in {"", "0"}


def _forget_output() -> None:
    """Keep Python from writing at exit what stdout has already refused."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _let_interrupts_kill() -> None:
    """Threads may still be finishing a frame: another Ctrl-C then ends the program at once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
