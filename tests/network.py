"""A bad network: a proxy on loopback, before an S3 server, that does faults that a test injects."""

import os
import socket
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Final
from urllib.parse import urlsplit

_DEADLINE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """Response of the server."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """A request, and the response to it."""

    protocol_version = "HTTP/1.1"
    proxy: "Proxy"

    def exchange(self) -> None:
        self.close_connection = True
        self.proxy.fault_of(self.command, self.path)(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = exchange  # noqa: N815

    def forwarded(self, *, without: str = "") -> Answer:
        """Return the server's response to this request, without one header."""
        body = self.received()
        headers = {name: self.headers[name] for name in self.headers if name.lower() != without}
        with closing(HTTPConnection(self.proxy.server, timeout=_DEADLINE_SECONDS)) as connection:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def received(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def begin(self, answer: Answer) -> None:
        """Send everything but the body."""
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        # A response to HEAD states the length of the object and has no body.
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()

    def send(self, answer: Answer) -> None:
        self.begin(answer)
        self.wfile.write(answer.body)

    def refuse(self, status: int, code: str) -> None:
        """Respond with an S3 error; the server receives nothing."""
        self.received()
        body = f"<Error><Code>{code}</Code><Message>of the proxy</Message></Error>".encode()
        self.send(Answer(status, {"Content-Type": "application/xml"}, body))

    def reset(self) -> None:
        """Reset the connection, as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())

    def wait(self, seconds: float) -> bool:
        """Wait; return True if the test has ended."""
        return self.proxy.is_over.wait(seconds)

    def log_message(self, *_: object) -> None:
        pass


Fault = Callable[[Exchange], None]


def none(exchange: Exchange) -> None:
    exchange.send(exchange.forwarded())


def slow_down(exchange: Exchange) -> None:
    exchange.refuse(503, "SlowDown")


def conflict(exchange: Exchange) -> None:
    """Respond as S3 does when two conditional requests collide; it stored nothing of this one."""
    exchange.refuse(409, "ConditionalRequestConflict")


def not_implemented(exchange: Exchange) -> None:
    """Respond as a server without conditional requests; other requests work."""
    if "If-None-Match" in exchange.headers:
        exchange.refuse(501, "NotImplemented")
    else:
        none(exchange)


def invalid_argument(exchange: Exchange) -> None:
    """Respond as a server without conditional requests that treats them as errors."""
    if "If-None-Match" in exchange.headers:
        exchange.refuse(400, "InvalidArgument")
    else:
        none(exchange)


def not_implemented_delete(exchange: Exchange) -> None:
    """Respond as a server without DeleteObjects."""
    exchange.refuse(501, "NotImplemented")


def invalid_delete(exchange: Exchange) -> None:
    """Respond as a server that rejects the arguments of DeleteObjects."""
    exchange.refuse(400, "InvalidArgument")


def whole(exchange: Exchange) -> None:
    """Respond as a server that ignores Range."""
    exchange.send(exchange.forwarded(without="range"))


def without(header: str) -> "Fault":
    """Return the fault of a server whose responses lack a header."""

    def fault(exchange: Exchange) -> None:
        _send_with(exchange, lambda name, value: None if name == header else value)

    return fault


def weak_etag(exchange: Exchange) -> None:
    _send_with(exchange, lambda name, value: f"W/{value}" if name == "etag" else value)


def other_etag(exchange: Exchange) -> None:
    """Respond as a server that gives an object another ETag each time."""
    other = f'"{uuid.uuid4().hex}"'
    _send_with(exchange, lambda name, value: other if name == "etag" else value)


def bare_404(exchange: Exchange) -> None:
    """Respond as a server that does not say what is missing."""
    answer = exchange.forwarded()
    exchange.send(replace(answer, body=b"") if answer.status == 404 else answer)


def other_404(exchange: Exchange) -> None:
    """Respond as a server with another error code for a missing key."""
    answer = exchange.forwarded()
    exchange.send(replace(answer, body=answer.body.replace(b"NoSuchKey", b"NoSuchObject")))


def conflict_409(exchange: Exchange) -> None:
    """Respond with 409 as some servers do when S3 responds with 412."""
    answer = exchange.forwarded()
    body = answer.body.replace(b"PreconditionFailed", b"ConditionalRequestConflict")
    exchange.send(Answer(409, answer.headers, body) if answer.status == 412 else answer)


def conflict_304(exchange: Exchange) -> None:
    """Respond with 304 as some servers do when S3 responds with 412."""
    answer = exchange.forwarded()
    exchange.send(Answer(304, {}, b"") if answer.status == 412 else answer)


def _send_with(exchange: Exchange, change: Callable[[str, str], str | None]) -> None:
    """Forward a response with some of its headers changed; None removes a header."""
    answer = exchange.forwarded()
    changed = {name: change(name.lower(), value) for name, value in answer.headers.items()}
    headers = {name: value for name, value in changed.items() if value is not None}
    exchange.send(replace(answer, headers=headers))


def unconditional(exchange: Exchange) -> None:
    """Execute the request as a server that ignores If-None-Match."""
    exchange.send(exchange.forwarded(without="if-none-match"))


def reset_before(exchange: Exchange) -> None:
    exchange.received()
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    """Execute the request on the server, but lose its response."""
    exchange.forwarded()
    exchange.reset()


def truncated(exchange: Exchange) -> None:
    """Send half of the body, then close the connection properly."""
    answer = exchange.forwarded()
    exchange.begin(answer)
    exchange.wfile.write(answer.body[: len(answer.body) // 2])


def flipped(exchange: Exchange) -> None:
    """Flip one bit in the middle of the body."""
    answer = exchange.forwarded()
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 0x10
    exchange.send(Answer(answer.status, answer.headers, bytes(body)))


def silent(exchange: Exchange) -> None:
    exchange.received()
    exchange.wait(_DEADLINE_SECONDS)


def silent_after_half(exchange: Exchange) -> None:
    truncated(exchange)
    exchange.wait(_DEADLINE_SECONDS)


def deaf(exchange: Exchange) -> None:
    """Stop reading in the middle of the request."""
    exchange.wait(_DEADLINE_SECONDS)


def trickling(exchange: Exchange) -> None:
    """Send a byte at a time, without a long pause and without an end."""
    answer = exchange.forwarded()
    exchange.begin(answer)
    for position in range(len(answer.body)):
        exchange.wfile.write(answer.body[position : position + 1])
        if exchange.wait(0.05):
            return


@dataclass
class Proxy:
    """Proxy that forwards requests, and injects faults into those that a test names."""

    server: str
    """Host and port of the server that requests are forwarded to."""
    endpoint: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request so far."""
    is_over: Event = field(default_factory=Event)
    _faults: list[tuple[str, str, Fault]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def inject(self, fault: Fault, *, times: int, method: str = "", within: str = "") -> None:
        """Inject a fault into the next requests of a method (or any) whose path has a string."""
        with self._lock:
            self._faults += [(method, within, fault)] * times

    def always(self, fault: Fault, *, method: str = "", within: str = "") -> None:
        self.inject(fault, times=10_000, method=method, within=within)

    @property
    def is_done(self) -> bool:
        """Return True if all faults were injected."""
        return not self._faults

    def fault_of(self, method: str, path: str) -> Fault:
        with self._lock:
            self.requests.append((method, path))
            for number, (wanted, within, fault) in enumerate(self._faults):
                if wanted in {"", method} and within in path:
                    del self._faults[number]
                    return fault
        return none


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: tests make clients give up."""


@contextmanager
def running_proxy(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy in front of an endpoint until the block ends."""
    proxy = Proxy(urlsplit(endpoint).netloc)
    handler = type("BoundExchange", (Exchange,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.is_over.set()
            server.shutdown()
            thread.join()
