"""A client's connection, the server's behind it, and what passes between them."""

import socket
import time
from collections import deque
from dataclasses import dataclass

from benchmarks.turnaround import framing
from benchmarks.turnaround.loop import At, Loop, Readable, Step, Task
from benchmarks.turnaround.pace import Line, Network, Turnarounds
from benchmarks.turnaround.streams import Ended, Stream

Address = tuple[str, int]


@dataclass(slots=True)
class _Exchange:
    """A request that was passed on, in whole or in part."""

    method: bytes
    ended_at: float | None = None


class Proxy:
    """Accepts connections, and opens one to the server for each."""

    def __init__(self, loop: Loop, server: Address, network: Network, *, port: int = 0) -> None:
        self._loop, self._server, self._network = loop, server, network
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._listener.setblocking(False)
        self.turnarounds = Turnarounds(network, seed=0)
        loop.start(self._accept())

    @property
    def port(self) -> int:
        """Port on which it listens."""
        return int(self._listener.getsockname()[1])

    def reseed(self, seed: int) -> None:
        """Restart the sequence of turnarounds."""
        self.turnarounds = Turnarounds(self._network, seed=seed)

    def _accept(self) -> Step:
        while True:
            yield Readable(self._listener.fileno())
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue  # the client has gone already
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            Connection(self._loop, self, client, server, Line(self._network.megabytes_per_second))


class Connection:
    """Requests one way, answers the other, each at its own pace."""

    def __init__(
        self, loop: Loop, proxy: Proxy, client: socket.socket, server: socket.socket, line: Line
    ) -> None:
        self._loop, self._proxy = loop, proxy
        self._sockets = [client, server, client.dup(), server.dup()]
        for one in self._sockets:
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asks, answers, hears, passes = (one.fileno() for one in self._sockets)
        self._upwards = Stream(asks, passes, Line(0))
        self._downwards = Stream(answers, hears, line)
        self._exchanges: deque[_Exchange] = deque()
        self._tasks: list[Task] = []
        self._tasks.append(loop.start(self._pass_requests(), at_end=self._no_more_requests))
        self._tasks.append(loop.start(self._pass_answers(), at_end=self.close))

    def close(self) -> None:
        """End both connections."""
        for task in self._tasks:
            task.cancel()
        for one in self._sockets:
            self._loop.forget(one.fileno())
            one.close()
        self._sockets.clear()
        self._upwards.close()
        self._downwards.close()

    def _no_more_requests(self) -> None:
        """Pass the client's end of input to the server, which answers its pending requests."""
        if self._sockets:
            try:
                self._sockets[1].shutdown(socket.SHUT_WR)
            except OSError:
                self.close()

    def _pass_requests(self) -> Step:
        while True:
            head = yield from self._upwards.head()
            request = framing.request(head)
            exchange = _Exchange(request.method)
            self._exchanges.append(exchange)
            yield from self._upwards.write(head)
            yield from self._upwards.body(request.length)
            exchange.ended_at = time.monotonic()

    def _pass_answers(self) -> Step:
        while True:
            head = yield from self._downwards.head()
            if not self._exchanges:
                raise Ended  # a server that speaks unasked is about to close
            exchange = self._exchanges[0]
            answer = framing.answer(head, method=exchange.method)
            if not answer.is_interim:
                self._exchanges.popleft()
                began = time.monotonic() if exchange.ended_at is None else exchange.ended_at
                yield At(began + self._proxy.turnarounds.next_seconds())
            yield from self._downwards.write(head)
            yield from self._downwards.body(answer.length)
