"""Limits on the connections of one server: their number, and the time they wait for a client.

uvicorn limits neither. Clients that connect and send no request, or read no response, would hold
file descriptors until the service can accept no connection. So the number of connections has a
limit below the process's limit of file descriptors. At the limit, a new connection replaces others
that wait for their clients; a request in progress is never dropped.
"""

import asyncio
import heapq
import logging
import resource
import socket
from collections import Counter
from typing import ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from framecache.server.client_limits import client_network
from framecache.server.settings import Limits

ACCEPT_BATCH_SIZE: Final = 16
"""Number of connections accepted in one turn of the event loop.

asyncio reports them a few turns later, and closes the connections they replace after that.
"""
_MIN_RESERVE: Final = 64 + 4 * ACCEPT_BATCH_SIZE
"""Minimum of file descriptors reserved for these, and for the service's own files and sockets."""
_RESERVE_DIVISOR: Final = 4
"""One in this many file descriptors is reserved, if that is more."""
_EVICTION_DIVISOR: Final = 32
"""One in this many connections is closed at a time when the limit is reached."""
_MIN_READ_BYTES: Final = 32 * 2**10
"""Bytes of a response that a client must read within `read_seconds`; all if less is left."""
AUTHENTICATED_KEY: Final = "framecache.is_authenticated"
"""Key of a request's ``state`` that marks its connection; others are closed before it."""
_log: Final = logging.getLogger(__name__)


class ConnectionRegistry:
    """Open connections of one server; use only on its event loop."""

    def __init__(self, limits: Limits) -> None:
        """Set the limits from those of the service and the current one of the process."""
        self.max_connections = max_connections(limits.connections)
        self.header_seconds = limits.header_seconds
        self.read_seconds = limits.read_seconds
        self._open: set[HttpConnection] = set()
        self._per_network: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: "HttpConnection") -> None:
        """Add a new connection; at the limit, close some that wait for their clients.

        If none of them waits, the new connection is closed.
        """
        if len(self._open) >= self.max_connections and not self._evict_idle():
            _log.warning("connection refused: all connections are busy")
            connection.abort()
            return
        self._open.add(connection)
        self._per_network[connection.network] += 1

    def _evict_idle(self) -> bool:
        """Close connections that wait for their clients; return True if there were any.

        Several are closed at a time, because choosing them scans all connections.
        """
        waiting = (one for one in self._open if not one.is_busy)
        closed = heapq.nsmallest(
            max(1, self.max_connections // _EVICTION_DIVISOR), waiting, key=self._eviction_key
        )
        for one in closed:
            self.remove(one)
            one.abort()
        if closed:
            _log.warning("too many connections: closing the longest idle ones")
        return bool(closed)

    def remove(self, connection: "HttpConnection") -> None:
        """Remove a connection; it may have been removed before."""
        if connection in self._open:
            self._open.remove(connection)
            self._per_network[connection.network] -= 1
            if not self._per_network[connection.network]:
                del self._per_network[connection.network]

    def _eviction_key(self, connection: "HttpConnection") -> tuple[bool, int, float]:
        """Return a sort key; the connection with the lowest is closed first.

        Unauthenticated connections come first, then those of the subscriber with the most
        connections, then those idle for longest.
        """
        return (
            connection.is_authenticated,
            -self._per_network[connection.network],
            connection.idle_since,
        )


class HttpConnection(H11Protocol):
    """HTTP/1.1 connection that is closed if its client is slower than the limits allow."""

    registry: ClassVar[ConnectionRegistry]
    network: str
    """Address of an IPv4 client, or the network of an IPv6 subscriber."""
    idle_since: float
    """Time at which the connection was made or its last request was answered."""
    _header_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    @property
    def is_authenticated(self) -> bool:
        """True if the latest request had a valid token or needed none."""
        exchange = self._latest_exchange
        return exchange is not None and AUTHENTICATED_KEY in exchange.scope["state"]

    @property
    def is_busy(self) -> bool:
        """True if the connection waits for this service, not for its client."""
        exchange = self._latest_exchange
        if exchange is None or exchange.response_complete or self.flow.write_paused:
            return False
        return self.is_authenticated or not exchange.more_body

    @property
    def _is_responding(self) -> bool:
        exchange = self._latest_exchange
        return exchange is not None and not exchange.response_complete

    @property
    def _latest_exchange(self) -> RequestResponseCycle | None:
        return self.cycle  # which uvicorn leaves None until the first request

    def abort(self) -> None:
        """Close the connection at once and drop unsent data."""
        self._stop_timers()
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        # asyncio does this only for sockets made with an explicit protocol number. Without it the
        # body of a response waits until the client acknowledges the head, which takes 40 ms.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.network = client_network(self.client[0] if self.client else "")
        self.idle_since = self.loop.time()
        self._start_header_timer()
        self.registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.registry.remove(self)
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self._is_responding:
            self._stop_header_timer()
            if not self.flow.write_paused:
                self._stop_read_timer()
        else:  # the first bytes of the next request, or of a body that is no longer read
            self._start_header_timer()

    def shutdown(self) -> None:
        """Close the connection after its response; at once if the request is still arriving.

        Otherwise the client of an upload could delay the shutdown for as long as it likes.
        """
        exchange = self._latest_exchange
        if exchange is not None and self._is_responding and exchange.more_body:
            self.abort()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if not self._is_responding and self.conn.trailing_data[0]:
            self._start_header_timer()
        self._start_read_timer()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._start_read_timer()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._stop_read_timer()
        if not self._is_responding:
            self._start_read_timer()

    def _start_header_timer(self) -> None:
        """Start the timer for the next request, unless it is running."""
        if self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.registry.header_seconds, self.abort)

    def _start_read_timer(self) -> None:
        """Start to measure how fast the client reads the rest of the response."""
        if (left_bytes := self.transport.get_write_buffer_size()) and self._read_timer is None:
            self._read_timer = self.loop.call_later(
                self.registry.read_seconds, self._check_read_progress, left_bytes
            )

    def _check_read_progress(self, left_bytes: int) -> None:
        self._read_timer = None
        read_bytes = left_bytes - self.transport.get_write_buffer_size()
        if read_bytes < min(left_bytes, _MIN_READ_BYTES):
            self.abort()
        else:
            self._start_read_timer()

    def _stop_timers(self) -> None:
        self._stop_header_timer()
        self._stop_read_timer()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None


def protocol_class(limits: Limits) -> type[HttpConnection]:
    """Return the protocol class of one server, for `uvicorn.Config`."""
    return type("HttpConnection", (HttpConnection,), {"registry": ConnectionRegistry(limits)})


def max_connections(requested: int) -> int:
    """Return `requested`, or less if this process has too few file descriptors."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return requested
    reserve = max(_MIN_RESERVE, descriptors // _RESERVE_DIVISOR)
    return max(1, min(requested, descriptors - reserve))
