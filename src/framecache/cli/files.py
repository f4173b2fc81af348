"""Atomic writes of files, and reports of how many were written before a failure."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.output import format_count
from framecache.errors import FrameCacheError


@dataclass(slots=True)
class WriteCounter:
    """Counter of the files that a command has written."""

    number: int = 0


@contextmanager
def report_partial_output(folder: Path, *, retry_command: str) -> Iterator[WriteCounter]:
    """Add to an error inside the block how many files were written, and how to write all.

    Args:
        folder: folder of the files.
        retry_command: command that writes all files.
    """
    written = WriteCounter()
    try:
        with add_interrupt_outcome(
            f"the files written so far were kept; to write all: {retry_command}"
        ):
            yield written
    except (FrameCacheError, OSError) as error:
        if not written.number:
            raise
        count = format_count(written.number, "file")
        left = f"{count} left in {folder}; to write all: {retry_command}"
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}; {left}"
            raise OSError(error.errno, reason, error.filename) from error
        raise type(error)(f"{error}. {left}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically; replace an existing one.

    Raises:
        OSError: the file cannot be written; the error has its name, not the temporary one.
    """
    if path.exists() and not path.is_file():
        # A rename would replace a pipe or a device by a file.
        path.write_bytes(data)
        return
    with replace_atomically(path) as draft:
        draft.write_bytes(data)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; at the end, rename it to `path`.

    The temporary file is removed after an error, and when SIGTERM ends the process.

    Raises:
        OSError: the file cannot be written; the error has its name, not the temporary one.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with _remove_on_sigterm(draft):
            yield draft
        draft.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def unwind_on_sigterm() -> Iterator[None]:
    """Leave the block if SIGTERM ends the process, so that the block removes what is temporary."""
    if not _is_sigterm_free():
        yield
        return
    try:
        signal.signal(signal.SIGTERM, _raise_terminated)
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Terminated(BaseException):
    """Raised by SIGTERM."""


def _raise_terminated(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # another one could disturb the removal
    raise _Terminated


def _is_sigterm_free() -> bool:
    """Return True if this thread may handle SIGTERM, and no one else does."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@contextmanager
def _remove_on_sigterm(draft: Path) -> Iterator[None]:
    """Remove a file if SIGTERM ends the process in the block; Python does no cleanup by itself."""
    if not _is_sigterm_free():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
