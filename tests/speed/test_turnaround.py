"""The proxy before the benchmark's S3 server changes when bytes come, and never which."""

import math
import random
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.turnaround.launch import running
from benchmarks.turnaround.pace import BURST_BYTES, Line, Network, Turnarounds

HOUR_MS = 3_600_000.0
DEADLINE_SECONDS = 20
SERVED = random.Random(1).randbytes(3_000_000)


class Handler(BaseHTTPRequestHandler):
    """Answers in every way that HTTP has to end a body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, way, size = self.path.split("/")
        body = SERVED[: int(size)]
        if way == "length":
            self.start(200, ("Content-Length", size))
            self.wfile.write(body)
        elif way == "chunked":
            self.start(200, ("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum"))
            for begin in range(0, len(body), 70_001):
                part = body[begin : begin + 70_001]
                self.wfile.write(b"%x;note=1\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\nX-Sum: 1\r\n\r\n")
        elif way == "empty":
            self.start(int(size))
        else:
            self.start(200, ("Connection", "close"))
            self.wfile.write(body)
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.start(200, ("Content-Length", "1000"))

    def do_PUT(self) -> None:
        """Echo."""
        if self.headers["Transfer-Encoding"] == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.start(200, ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def start(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as one:
        yield one


def said(address: str, *requests: bytes) -> bytes:
    """All that comes when these requests are sent at once, and the last ends the connection."""
    last = b"GET /to-the-end/5 HTTP/1.1\r\n\r\n"
    received = b""
    with connected(address) as one:
        sending = Thread(target=one.sendall, args=(b"".join([*requests, last]),))
        sending.start()
        while data := one.recv(1 << 20):
            received += data
        sending.join()
    return received


def get(way: str, size: int) -> bytes:
    return f"GET /{way}/{size} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


def put(size: int) -> bytes:
    return b"PUT /x HTTP/1.1\r\nCONTENT-length: %d\r\n\r\n%b" % (size, SERVED[:size])


def put_in_chunks(size: int) -> bytes:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, SERVED[:size])
    return b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([get("length", 0), get("length", 3_000_000)], id="lengths"),
        pytest.param([get("chunked", 0), get("chunked", 1_000_000)], id="chunks and trailers"),
        pytest.param([get("empty", 204), get("empty", 304)], id="statuses without a body"),
        pytest.param([b"HEAD /x HTTP/1.1\r\n\r\n", get("length", 10)], id="HEAD"),
        pytest.param([put(0), put(3_000_000), put(7)], id="uploads"),
        pytest.param([put_in_chunks(300_000), put(7)], id="uploads in chunks"),
        pytest.param([get("length", 40_000), put(90_000)] * 20, id="forty requests at once"),
    ],
)
@pytest.mark.parametrize("megabytes_per_second", [0.0, 80.0])
def test_proxy_forwards_every_byte(
    server: str, requests: list[bytes], megabytes_per_second: float
) -> None:
    network = Network(0.5, 0.4, megabytes_per_second)
    with running(server, network) as proxy:
        assert said(proxy.endpoint, *requests) == said(server, *requests)


def test_proxy_serves_hundreds_of_connections_at_once(server: str) -> None:
    with running(server, Network(1.0, 0.9, 80.0)) as proxy:
        heard: list[bytes] = []
        threads = [
            Thread(target=lambda: heard.append(said(proxy.endpoint, get("length", 150_000))))
            for _ in range(200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == [said(server, get("length", 150_000))] * 200


def test_response_arrives_no_sooner_than_its_turnaround(server: str) -> None:
    network = Network(15.0, 0.6)
    with running(server, network) as proxy, connected(proxy.endpoint) as one:
        proxy.reseed(5)
        took = []
        for _ in range(20):
            began = time.monotonic()
            one.sendall(b"HEAD /x HTTP/1.1\r\n\r\n")
            assert one.recv(4096)
            took.append(time.monotonic() - began)
    expected = Turnarounds(network, seed=5)
    assert all(seconds >= expected.next_seconds() for seconds in took)


def test_interim_response_is_not_delayed_and_final_response_is(server: str) -> None:
    with running(server, Network(HOUR_MS, 0.1)) as proxy, connected(proxy.endpoint) as one:
        one.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert one.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(b"abc")
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(1)


def test_proxy_survives_aborted_clients_and_servers(server: str) -> None:
    with running(server, Network(5.0, 0.1, 1.0)) as proxy:
        for _ in range(20):
            with connected(proxy.endpoint) as one:
                one.sendall(get("length", 3_000_000))
                one.recv(1)
            with connected(proxy.endpoint) as one:
                one.sendall(b"no HTTP at all\r\n\r\n")
        assert said(proxy.endpoint, get("length", 1000)) == said(server, get("length", 1000))


def test_turnarounds_are_log_normal_and_repeatable_by_seed() -> None:
    network = Network(30.0, 0.4)
    first, again, other = (Turnarounds(network, seed=seed) for seed in (1, 1, 2))
    samples = [first.next_seconds() for _ in range(20_000)]
    logarithms = [math.log(sample) for sample in samples]
    assert statistics.median(samples) == pytest.approx(0.030, rel=0.02)
    assert statistics.stdev(logarithms) == pytest.approx(0.4, rel=0.03)
    assert [again.next_seconds() for _ in range(20_000)] == samples
    assert other.next_seconds() != samples[0]


@given(
    size=st.integers(1, 5_000_000),
    pauses=st.lists(st.floats(0, 0.05), min_size=1, max_size=50),
    caught=st.lists(st.floats(0.05, 1), min_size=1, max_size=50),
)
def test_line_never_exceeds_its_rate(size: int, pauses: list[float], caught: list[float]) -> None:
    line, rate = Line(80.0), 80e6
    now, left, step = 100.0, size, 0
    line.begin(now)
    while left:
        granted = line.granted_bytes(now, left)
        if granted:
            sent = max(1, int(granted * caught[step % len(caught)]))
            line.sent(sent)
            left -= sent
            now += pauses[step % len(pauses)]
        else:
            now = max(now, line.ready_at(left))
        step += 1
        assert size - left <= rate * (now - 100.0) + 1


def test_idle_line_grants_at_most_one_burst() -> None:
    line = Line(80.0)
    line.begin(0.0)
    assert line.granted_bytes(60.0, 10**9) == pytest.approx(BURST_BYTES, abs=1)
    line.sent(BURST_BYTES)
    assert line.granted_bytes(60.0, 10**9) == 0
