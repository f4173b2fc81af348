"""Clients that connect and then send or read slowly, or not at all, block no other client."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from served import READ, WRITE, Service, serving, until

from framecache import Frame, FrameCache
from framecache.server import Limits, ServiceSettings, Tokens
from framecache.server.connections import ConnectionRegistry, HttpConnection

BEARER = {"Authorization": f"Bearer {READ}"}
HALF_A_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
LARGE_SIDE = 2000


@pytest.fixture
def cache(local_url: str) -> FrameCache:
    """A cache with one picture of some megabytes, more than the kernel buffers for a client."""
    noise = np.random.default_rng(0).integers(0, 256, (LARGE_SIDE, LARGE_SIDE, 3), np.uint8)
    cache = FrameCache(local_url)
    cache.timeline("t").write([Frame(0, 0, 0.0, noise)])
    return cache


@contextmanager
def guarded(cache: FrameCache, limits: Limits) -> Iterator[Service]:
    with serving(cache, ServiceSettings(tokens=Tokens(read=[READ]), limits=limits)) as service:
        yield service


def connected(service: Service, sent: bytes = b"", *, window: int | None = None) -> socket.socket:
    """Open a connection, send some bytes and nothing more, and leave reading to the test."""
    parts = urlsplit(service.url)
    connection = socket.socket()
    if window is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(60)
    connection.connect((parts.hostname, parts.port))
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait for the service to end a connection; return True if it does."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    return True


def test_accepted_connection_sets_tcp_nodelay(
    cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def note(connections: ConnectionRegistry, new: HttpConnection) -> None:
        accepted: socket.socket = new.transport.get_extra_info("socket")
        made.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        add(connections, new)

    add = ConnectionRegistry.add
    monkeypatch.setattr(ConnectionRegistry, "add", note)
    with serving(cache) as service:
        assert service.get("api/v1/timelines").status_code == 200
    assert made
    assert all(made)


@pytest.mark.parametrize("sent", [b"", b"GET", HALF_A_REQUEST])
def test_incomplete_request_times_out(cache: FrameCache, sent: bytes) -> None:
    with guarded(cache, Limits(header_seconds=0.05)) as service, connected(service, sent) as slow:
        assert slow.recv(1) == b""


@pytest.mark.parametrize(("first", "then"), [(b"\r\n", b"GET"), (b"\r\nGET", b"")])
def test_incomplete_second_request_times_out(cache: FrameCache, first: bytes, then: bytes) -> None:
    with (
        guarded(cache, Limits(header_seconds=2.0)) as service,
        connected(service, HALF_A_REQUEST + first) as slow,
    ):
        slow.settimeout(20)  # less than the timeout of an idle connection
        assert slow.recv(12) == b"HTTP/1.1 200"
        slow.sendall(then)
        assert is_closed(slow)


def test_unread_body_of_refused_request_closes_connection(cache: FrameCache) -> None:
    refused = HALF_A_REQUEST.replace(b"GET / ", b"POST /api/v1/timelines/t/clear ")
    with (
        guarded(cache, Limits(header_seconds=2.0)) as service,
        connected(service, refused + b"Content-Length: 9\r\n\r\n") as slow,
    ):
        slow.settimeout(20)
        assert slow.recv(12) == b"HTTP/1.1 401"
        slow.sendall(b"a")
        assert is_closed(slow)


def test_response_that_client_does_not_read_times_out(cache: FrameCache) -> None:
    request = HALF_A_REQUEST.replace(b"/", b"/api/v1/timelines/t/frames/0.jpg", 1)
    request += f"Authorization: Bearer {READ}\r\n\r\n".encode()
    with (
        guarded(cache, Limits(read_seconds=0.2)) as service,
        connected(service, request, window=4096) as slow,
    ):
        assert slow.recv(12) == b"HTTP/1.1 200"
        until(lambda: open_connections(service) == 1)  # the connection of this request


def test_half_open_connections_do_not_block_authenticated_client(cache: FrameCache) -> None:
    with guarded(cache, Limits(connections=4)) as service, ExitStack() as slow:
        for _ in range(20):
            slow.enter_context(connected(service, HALF_A_REQUEST))
        with httpx.Client(base_url=service.url, headers=BEARER) as other:
            assert other.get("api/v1/timelines").status_code == 200
        assert open_connections(service) <= 4


def test_stalled_unauthenticated_bodies_do_not_block_authenticated_client(
    cache: FrameCache,
) -> None:
    begun = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
    with guarded(cache, Limits(connections=4)) as service, ExitStack() as slow:
        for _ in range(20):
            slow.enter_context(connected(service, begun))
        assert service.get("api/v1/timelines", headers=BEARER).status_code == 200


def test_connections_with_active_request_are_never_dropped(cache: FrameCache) -> None:
    stream = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {READ}\r\n\r\n"
    )
    with guarded(cache, Limits(connections=4)) as service, ExitStack() as held:
        listening = held.enter_context(connected(service, stream.encode()))
        assert listening.recv(12) == b"HTTP/1.1 200"
        for _ in range(20):
            held.enter_context(connected(service, HALF_A_REQUEST))
        assert service.get("healthz").status_code == 200
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            is_closed(listening)


def test_idle_connection_of_a_client_with_a_token_outlives_unauthenticated_ones(
    cache: FrameCache,
) -> None:
    request = HALF_A_REQUEST + f"Authorization: Bearer {READ}\r\n\r\n".encode()
    with guarded(cache, Limits(connections=4)) as service, ExitStack() as held:
        idle = held.enter_context(connected(service, request))
        assert idle.recv(12) == b"HTTP/1.1 200"
        for _ in range(20):
            held.enter_context(connected(service, HALF_A_REQUEST))
        assert service.get("healthz").status_code == 200
        idle.setblocking(False)
        with pytest.raises(BlockingIOError):
            is_closed(idle)


def test_stalled_bodies_of_one_token_leave_connections_for_others(
    cache: FrameCache,
) -> None:
    put = "PUT /api/v1/timelines/t/overlays/j/s/0/a.png HTTP/1.1\r\nHost: localhost\r\n"
    begun = f"{put}Authorization: Bearer {WRITE}\r\nContent-Length: 99\r\n\r\na".encode()
    tokens = Tokens(read=[READ], write=[WRITE])
    settings = ServiceSettings(tokens=tokens, limits=Limits(connections=16))
    with serving(cache, settings) as service, ExitStack() as slow:
        for _ in range(32):
            slow.enter_context(connected(service, begun))
        assert service.get("api/v1/timelines", headers=BEARER).status_code == 200


def open_connections(service: Service) -> int:
    text = service.get("metrics", headers=BEARER).text
    return next(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("framecache_open_connections ")
    )


@pytest.mark.parametrize(("descriptors", "most"), [(256, 128), (1024, 768), (65536, 1024)])
def test_connection_limit_stays_below_open_file_limit(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert ConnectionRegistry(Limits()).max_connections == most
