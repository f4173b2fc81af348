"""A bad network: a proxy on loopback, before an S3 server, that does harm where a test says so."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Final
from urllib.parse import urlsplit

_DEADLINE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, and what comes of it."""

    protocol_version = "HTTP/1.1"
    proxy: "Proxy"

    def exchange(self) -> None:
        self.close_connection = True
        self.proxy.fault_of(self.command, self.path)(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = exchange  # noqa: N815

    def forwarded(self, *, without: str = "") -> Answer:
        """The server's answer to this request, less one header."""
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
        # The length of what a HEAD asks about is not that of its body.
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()

    def send(self, answer: Answer) -> None:
        self.begin(answer)
        self.wfile.write(answer.body)

    def refuse(self, status: int, code: str) -> None:
        """Answer with an error of S3; nothing reaches the server."""
        self.received()
        body = f"<Error><Code>{code}</Code><Message>of the proxy</Message></Error>".encode()
        self.send(Answer(status, {"Content-Type": "application/xml"}, body))

    def reset(self) -> None:
        """End the connection as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())

    def wait(self, seconds: float) -> bool:
        """Whether the test is over."""
        return self.proxy.is_over.wait(seconds)

    def log_message(self, *_: object) -> None:
        pass


Fault = Callable[[Exchange], None]


def none(exchange: Exchange) -> None:
    exchange.send(exchange.forwarded())


def slow_down(exchange: Exchange) -> None:
    exchange.refuse(503, "SlowDown")


def conflict(exchange: Exchange) -> None:
    """What S3 says when two conditional requests meet; it stored nothing of this one."""
    exchange.refuse(409, "ConditionalRequestConflict")


def not_implemented(exchange: Exchange) -> None:
    """What a server says that knows no conditional requests; others work."""
    if "If-None-Match" in exchange.headers:
        exchange.refuse(501, "NotImplemented")
    else:
        none(exchange)


def unconditional(exchange: Exchange) -> None:
    """A server that passes over If-None-Match."""
    exchange.send(exchange.forwarded(without="if-none-match"))


def reset_before(exchange: Exchange) -> None:
    exchange.received()
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    """The server did what it was asked for; nobody hears of it."""
    exchange.forwarded()
    exchange.reset()


def truncated(exchange: Exchange) -> None:
    """Half of the body comes, then the connection ends in good order."""
    answer = exchange.forwarded()
    exchange.begin(answer)
    exchange.wfile.write(answer.body[: len(answer.body) // 2])


def flipped(exchange: Exchange) -> None:
    """One bit in the middle of the body is another."""
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
    """Not even the request is read to its end."""
    exchange.wait(_DEADLINE_SECONDS)


def trickling(exchange: Exchange) -> None:
    """A byte now and then: never silent for long, and never done."""
    answer = exchange.forwarded()
    exchange.begin(answer)
    for position in range(len(answer.body)):
        exchange.wfile.write(answer.body[position : position + 1])
        if exchange.wait(0.05):
            return


@dataclass
class Proxy:
    """Passes requests on, and does harm to those a test named."""

    server: str
    """Host and port of the server behind."""
    endpoint: str = ""
    met: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request so far."""
    is_over: Event = field(default_factory=Event)
    _harm: list[tuple[str, str, Fault]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def harm(self, fault: Fault, *, times: int, method: str = "", within: str = "") -> None:
        """Do harm to the next requests of a method (or any) whose path has a text in it."""
        with self._lock:
            self._harm += [(method, within, fault)] * times

    def always(self, fault: Fault, *, method: str = "", within: str = "") -> None:
        self.harm(fault, times=10_000, method=method, within=within)

    @property
    def is_done(self) -> bool:
        """Whether all the harm was done."""
        return not self._harm

    def fault_of(self, method: str, path: str) -> Fault:
        with self._lock:
            self.met.append((method, path))
            for number, (wanted, within, fault) in enumerate(self._harm):
                if wanted in {"", method} and within in path:
                    del self._harm[number]
                    return fault
        return none


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is what the tests are about."""


@contextmanager
def running_proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before an endpoint, until the block ends."""
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
