"""Main loop of the helper of a forked process, which performs the requests it receives."""

import itertools
import os
import pickle
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock, Thread, local
from typing import TYPE_CHECKING, Any, Final, TextIO

from framecache.errors import StoreWarning
from framecache.store import helper_protocol
from framecache.store.errors import is_panic, panic_error

if TYPE_CHECKING:
    from framecache.store.object_store import RemoteStore

_BATCH: Final = 1000

_stores: Final[dict[bytes, "RemoteStore"]] = {}
"""Opened stores by the pickled form in which requests name them."""
_stores_lock: Final = Lock()


@dataclass(frozen=True, slots=True)
class HelperResponse:
    """An answer of the helper."""

    value: object = None
    error: Exception | None = None
    is_last: bool = True
    warnings: tuple[str, ...] = ()
    """Strings of `StoreWarning`, which the other process issues."""


class _ThreadState(local):
    """State of a thread that answers requests."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def pop_warnings(self) -> tuple[str, ...]:
        taken = tuple(self.warnings)
        self.warnings.clear()
        return taken


_thread: Final = _ThreadState()


def serve(descriptor: int) -> None:
    """Perform requests until the process that sends them ends. Does not return.

    Args:
        descriptor: a Unix socket that receives the connections for requests.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _forward_warnings()
    with socket.socket(fileno=descriptor) as control:
        control.sendall(b"r")
        while True:
            _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not descriptors:
                # The other process has ended, so its running requests can be abandoned.
                os._exit(0)
            connection = socket.socket(fileno=descriptors[0])
            Thread(target=_handle_connection, args=(connection,), daemon=True).start()


def _forward_warnings() -> None:
    """Send warnings about stores with the answers, because the other process filters them."""
    show = warnings.showwarning

    def carry(  # the signature of warnings.showwarning
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, StoreWarning):
            _thread.warnings.append(str(message))
        else:
            show(message, category, filename, lineno, file, line)

    warnings.simplefilter("always", StoreWarning)
    warnings.showwarning = carry


def _handle_connection(connection: socket.socket) -> None:
    with connection, suppress(EOFError, OSError):
        while True:
            request, body = helper_protocol.receive(connection)
            try:
                answer, data = _handle_request(connection, request, body)
            except _ClientDisconnected:
                return
            except Exception as error:  # noqa: BLE001 - the other process raises it
                answer, data = HelperResponse(error=error), b""
            except BaseException as error:
                if not is_panic(error):
                    raise
                answer, data = (
                    HelperResponse(error=panic_error("the helper of this forked process")),
                    b"",
                )
            helper_protocol.send(connection, replace(answer, warnings=_thread.pop_warnings()), data)


def _handle_request(
    connection: socket.socket,
    request: Any,  # noqa: ANN401 -- by method
    body: bytes,
) -> tuple[HelperResponse, bytes]:
    """Perform a request and return its last answer and the bytes that go with it."""
    pickled, method, argument, options = request
    store = _get_store(pickled)
    match method:
        case "get" | "get_range":
            return HelperResponse(), getattr(store, method)(argument, **options)
        case "get_block":
            block = store.get_block(argument, **options)
            return HelperResponse(replace(block, data=b"")), block.data
        case "put" | "create":
            return HelperResponse(getattr(store, method)(argument, body)), b""
        case "put_stream":
            store.put_stream(argument, _receive_blocks(connection))
            return HelperResponse(), b""
        case "list":
            return _send_batches(connection, store.list(argument)), b""
        case _:
            return HelperResponse(getattr(store, method)(argument)), b""


class _ClientDisconnected(Exception):
    """The other process has abandoned a request."""


def _get_store(pickled: bytes) -> "RemoteStore":
    with _stores_lock:
        if pickled not in _stores:
            environment, store = pickle.loads(pickled)  # noqa: S301 - it comes from our own process
            os.environ.clear()
            os.environ.update(environment)
            _stores[pickled] = pickle.loads(store)  # noqa: S301 - same
        return _stores[pickled]


def _receive_blocks(connection: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            helper_protocol.send(connection, HelperResponse(is_last=False))
            is_block, block = helper_protocol.receive(connection)
        except (EOFError, OSError) as error:
            raise _ClientDisconnected from error
        if not is_block:
            return
        yield block


def _send_batches(connection: socket.socket, listed: Iterator[object]) -> HelperResponse:
    """Send all batches except the last, which is returned."""
    batch = list(itertools.islice(listed, _BATCH))
    while following := list(itertools.islice(listed, _BATCH)):
        try:
            carried = _thread.pop_warnings()
            helper_protocol.send(connection, HelperResponse(batch, is_last=False, warnings=carried))
        except OSError as error:
            raise _ClientDisconnected from error
        batch = following
    return HelperResponse(batch)
