"""Requests of a forked process, performed by a helper process that was not forked.

The helper is a new interpreter, so its obstore works. Each forked process that needs one has its
own helper, which ends when that process does. Each connection to the helper carries one request at
a time, so there are as many connections as concurrent requests.
"""

import atexit
import builtins
import itertools
import os
import pickle
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from framecache.errors import StoreUnavailable, StoreWarning
from framecache.store import helper_protocol
from framecache.store.base import BlobInfo, Block
from framecache.store.fork_guard import forked_store_error
from framecache.store.helper_server import HelperResponse

if TYPE_CHECKING:
    from framecache.store.object_store import RemoteStore

_HELPER_CODE: Final = (
    "import sys; descriptor, *sys.path = sys.argv[1:]; "
    "from framecache.store import helper_server; helper_server.serve(int(descriptor))"
)
_START_TIMEOUT_SECONDS: Final = 60.0
_SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
_BATCH: Final = 1000


class HelperProcessStore:
    """A bucket accessed through the helper, with the methods of `RemoteStore`."""

    def __init__(self, store: "RemoteStore") -> None:
        """Record the store and the environment. The helper is not started yet.

        Args:
            store: the store that the helper opens too.
        """
        self.url = store.url
        """See `Store.url`."""
        self._place = store.display_name
        self.options = store.options
        """See `Store.options`."""
        # The store reads the environment, which may have changed by the time the helper starts.
        self._pickled = pickle.dumps((dict(os.environ), pickle.dumps(store)))

    @property
    def display_name(self) -> str:
        """See `Store.place`."""
        return self._place

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        return self._call_for_bytes("get", key)

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._call_for_bytes("get_range", key, start=start, length=length)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self._call("put", key, body=data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        """See `Store.put_stream`."""
        remaining = iter(blocks)
        with self._request("put_stream", key) as request:
            # Each answer requests a block, except the last, which may come before all are sent.
            request.receive()
            while not request.is_finished:
                block = next(remaining, None)
                request.send(block is not None, block or b"")
                request.receive()

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`."""
        self._call("create", key, body=data)

    def head(self, key: str) -> BlobInfo:
        """See `Store.head`."""
        answer: BlobInfo = self._call("head", key)
        return answer

    def identify(self, key: str) -> BlobInfo:
        """See `RemoteStore.identify`."""
        answer: BlobInfo = self._call("identify", key)
        return answer

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `Store.list`."""
        with self._request("list", prefix) as request:
            while not request.is_finished:
                yield from request.receive()

    def list_folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.list_folders`."""
        answer: builtins.list[str] = self._call("list_folders", prefix)
        return answer

    def get_block(self, key: str, *, start: int, length: int) -> Block:
        """See `RemoteStore.get_block`."""
        with self._request("get_block", key, {"start": start, "length": length}) as request:
            block: Block = request.receive()
            return replace(block, data=request.body)

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        remaining = iter(keys)
        count = 0
        while batch := builtins.list(itertools.islice(remaining, _BATCH)):
            count += self._call("delete", batch)
        return count

    def remove_markers(self, prefix: str) -> None:
        """See `RemoteStore.remove_markers`."""
        self._call("remove_markers", prefix)

    def _call(self, method: str, argument: object, *, body: bytes = b"") -> Any:  # noqa: ANN401 - by method
        with self._request(method, argument, body=body) as request:
            return request.receive()

    def _call_for_bytes(self, method: str, key: str, **options: int) -> bytes:
        with self._request(method, key, options) as request:
            request.receive()
            return request.body

    @contextmanager
    def _request(
        self,
        method: str,
        argument: object,
        options: Mapping[str, int] | None = None,
        *,
        body: bytes = b"",
    ) -> Iterator["_HelperRequest"]:
        helper, connection = _connect(self._place)
        request = _HelperRequest(connection, self._place)
        try:
            request.send((self._pickled, method, argument, options or {}), body)
            yield request
        finally:
            # Answers to an unfinished request must not be read by another one.
            if request.is_finished:
                helper.idle.append(request.connection)
            else:
                helper.close(request.connection)


class _HelperRequest:
    """One request and its answers, in the order in which they arrive."""

    def __init__(self, connection: socket.socket, display_name: str) -> None:
        self.connection = connection
        self.is_finished = False
        self.body = b""
        """Bytes that came with the latest answer."""
        self._place = display_name

    def send(self, message: object, body: bytes) -> None:
        with self._translate_connection_errors():
            helper_protocol.send(self.connection, message, body)

    def receive(self) -> Any:  # noqa: ANN401 - as the method has it
        """Return the value of the next answer, or raise its error."""
        answer: HelperResponse
        with self._translate_connection_errors():
            answer, self.body = helper_protocol.receive(self.connection)
        self.is_finished = answer.is_last
        for text in answer.warnings:
            warnings.warn(text, StoreWarning, stacklevel=5)
        if answer.error is not None:
            raise answer.error
        return answer.value

    @contextmanager
    def _translate_connection_errors(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise _helper_ended_error(self._place) from error


class _HelperProcess:
    """This process's helper and the connections to it."""

    def __init__(self, display_name: str) -> None:
        """Start the helper.

        Raises:
            StoreUnavailable: it does not start, so ``display_name`` cannot be used.
        """
        self.idle: list[socket.socket] = []
        """Connections that no request uses."""
        self._connections: set[socket.socket] = set()
        self._control, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start_helper(theirs.fileno())
        except OSError as error:
            self._control.close()
            raise forked_store_error(display_name) from error
        if not self._is_ready():
            self._process.kill()
            self.shut_down()
            raise forked_store_error(display_name)

    def _is_ready(self) -> bool:
        self._control.settimeout(_START_TIMEOUT_SECONDS)
        try:
            return bool(self._control.recv(1))
        except OSError:
            return False
        finally:
            self._control.settimeout(None)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def connect(self) -> socket.socket:
        with suppress(IndexError):
            return self.idle.pop()
        ours, theirs = socket.socketpair()
        with theirs, ours:
            socket.send_fds(self._control, [b"c"], [theirs.fileno()])
            connection = socket.socket(fileno=ours.detach())
        connection.settimeout(None)  # the program may have set a default timeout
        self._connections.add(connection)
        return connection

    def close(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        connection.close()

    def shut_down(self) -> None:
        """Close the connections, so that the helper ends, and wait until it has."""
        self.disconnect()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SHUTDOWN_TIMEOUT_SECONDS)

    def disconnect(self) -> None:
        """Close the control socket and the idle connections."""
        self._control.close()
        for connection in self.idle:
            self.close(connection)

    def detach(self) -> None:
        """Close this process's copies of the sockets; the helper belongs to the parent process.

        Requests that were running at the fork fail here: only the parent may read their answers.
        """
        self._control.close()
        for connection in self._connections:
            connection.close()
        self._process.returncode = 0  # otherwise its destructor warns that it is still running


class _HelperState:
    helper: _HelperProcess | None = None
    lock = RLock()
    """Lock held while sockets are created, so that no fork can copy an unregistered socket.

    An open copy in the child would keep the helper waiting after its own process has ended.
    """


_state: Final = _HelperState()


def _connect(display_name: str) -> tuple[_HelperProcess, socket.socket]:
    """Return this process's helper, started if necessary, and an unused connection to it.

    Raises:
        StoreUnavailable: the helper is not available, so ``display_name`` cannot be used.
    """
    with _state.lock:
        if _state.helper is not None and not _state.helper.is_running:
            _state.helper.disconnect()
            _state.helper = None
        if _state.helper is None:
            _state.helper = _HelperProcess(display_name)
        try:
            return _state.helper, _state.helper.connect()
        except OSError as error:
            raise _helper_ended_error(display_name) from error


def _start_helper(descriptor: int) -> "subprocess.Popen[bytes]":
    # In a frozen application or a server that embeds Python, the executable is not an interpreter.
    if not sys.executable or getattr(sys, "frozen", False):
        raise FileNotFoundError("an interpreter")
    command = [sys.executable, "-c", _HELPER_CODE, str(descriptor), *sys.path]
    # A new session, so that Ctrl-C does not reach the helper: cleanup may still need it.
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        command, stdin=subprocess.DEVNULL, pass_fds=[descriptor], start_new_session=True
    )


def _shut_down_helper() -> None:
    if _state.helper is not None:
        _state.helper.shut_down()


def _helper_ended_error(display_name: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{display_name} cannot be used: the helper process of this forked process has ended. Try "
        'again, or start processes with the "spawn" method'
    )


def _before_fork() -> None:
    _state.lock.acquire()


def _after_fork_in_parent() -> None:
    _state.lock.release()


def _after_fork_in_child() -> None:
    """Leave the helper to the parent process; runs in the child after a fork."""
    _state.lock = RLock()
    if _state.helper is not None:
        _state.helper.detach()
        _state.helper = None


atexit.register(_shut_down_helper)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
