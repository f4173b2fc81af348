"""Overhead and throughput of the proxy itself: ``python -m benchmarks.turnaround.ceiling``.

Before a server that answers from memory, with clients that throw away what they read.
"""

import multiprocessing
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

from benchmarks.turnaround.launch import running
from benchmarks.turnaround.pace import Network
from benchmarks.worker import TICKS_PER_SECOND, ticks

REQUEST = b"GET / HTTP/1.1\r\nHost: ceiling\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of the clients."""

    body_bytes: int
    connections: int
    total_bytes: int

    @property
    def answers_a_connection(self) -> int:
        return self.total_bytes // self.body_bytes // self.connections

    @property
    def answer(self) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.body_bytes + bytes(
            self.body_bytes
        )


def main() -> None:
    capped = Network(median_ms=30.0, sigma=0.4, megabytes_per_second=80.0)
    for name, network, load in (
        ("nothing held back, 150 kB", Network(), Load(150_000, 16, 2 * 10**9)),
        ("nothing held back, 1.5 MB", Network(), Load(1_500_000, 16, 2 * 10**9)),
        ("30 ms and 80 MB/s, 150 kB", capped, Load(150_000, 128, 10**9)),
        ("30 ms and 80 MB/s, 1.5 MB", capped, Load(1_500_000, 16, 10**9)),
    ):
        print(f"{name}, {load.connections} connections: {measured(network, load)}")


def measured(network: Network, load: Load) -> str:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = multiprocessing.get_context("fork").Process(
        target=serve, args=(listener, load.answer), daemon=True
    )
    server.start()
    try:
        with running(f"127.0.0.1:{listener.getsockname()[1]}", network) as proxy:
            port, process = urlsplit(proxy.endpoint).port, proxy.process.pid
            before, began = ticks(process), time.perf_counter()
            with ThreadPoolExecutor(load.connections) as pool:
                for _ in pool.map(lambda _: ask(port or 0, load), range(load.connections)):
                    pass
            seconds = time.perf_counter() - began
            cpu = (ticks(process) - before) / TICKS_PER_SECOND
    finally:
        server.terminate()
        server.join()
        listener.close()
    answers = load.answers_a_connection * load.connections
    return (
        f"{answers * load.body_bytes / seconds / 1e6:,.0f} MB/s, "
        f"{1e6 * cpu / answers:,.0f} µs of CPU an answer, {100 * cpu / seconds:.0f} % of a core"
    )


def serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        client, _ = listener.accept()
        Thread(target=answer_all, args=(client, answer), daemon=True).start()


def answer_all(client: socket.socket, answer: bytes) -> None:
    with client:
        while client.recv(4096):
            client.sendall(answer)


def ask(port: int, load: Load) -> None:
    buffer, size = bytearray(1 << 18), len(load.answer)
    with socket.create_connection(("127.0.0.1", port)) as one:
        for _ in range(load.answers_a_connection):
            one.sendall(REQUEST)
            left = size
            while left:
                left -= one.recv_into(buffer)


if __name__ == "__main__":
    main()
