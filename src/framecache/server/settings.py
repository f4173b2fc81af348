"""Settings and limits of a service."""

import os
from dataclasses import dataclass, field, replace
from typing import Final, Self

from framecache.server.auth import Tokens

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one service.

    Names that end in `_at_once` are maxima of concurrent requests, those in `_waiting` are
    lengths of queues, and those in `_of_one_client` are maxima of concurrent requests of one
    client.
    """

    requests_per_second: float = 200.0
    """Sustained rate of one client; a burst may have twice as many requests."""
    auth_failures_per_minute: float = 30.0
    """Wrong tokens accepted from one address; beyond that, its requests with tokens must wait."""
    connections: int = 1024
    """Open connections; fewer if the process may open fewer files, a quarter of which is kept."""
    header_seconds: float = 10.0
    """Time from the connection until the request line and the headers have arrived."""
    read_seconds: float = 30.0
    """Time in which a client must read 32 KiB of a pending response, or all of it."""
    requests_at_once: int = 256
    requests_of_one_client: int = 128
    """A client is one token at one address, or one address if there are no tokens.

    One token gets at most half of all slots, from all its addresses together; one address at most
    three quarters, with all its tokens together.
    """
    unauthenticated_at_once: int = 32
    unauthenticated_of_one_client: int = 16
    """Requests without a required token, until their responses begin.

    They take no slots from other requests.
    """
    threads: int = field(default_factory=lambda: 64 + _cpu_count())
    """Threads that wait for the store and decode; requests wait for a free one.

    There are more than the kinds of work below can occupy together.
    """
    decodes_at_once: int = field(default_factory=_cpu_count)
    """Pictures decoded, including those on sprite sheets."""
    decodes_waiting: int = 8
    """Waiting requests for thumbnails."""
    sheets_at_once: int = 2
    sheets_waiting: int = 4
    comparisons_at_once: int = 1
    comparisons_waiting: int = 3
    loads_at_once: int = 32
    """Requests that load the state of a timeline from the store, or wait for one that does."""
    loads_of_one_client: int = 16
    refreshes_at_once: int = 10
    """Requests among these that do it although the timeline is in the cache."""
    refreshes_of_one_client: int = 5
    pages_at_once: int = 4
    """Pages of frames with their pictures."""
    pages_waiting: int = 4
    listings_at_once: int = 8
    """Requests for pages of the list of timelines."""
    listings_of_one_client: int = 4
    event_streams: int = 64
    event_streams_of_one_client: int = 16
    body_bytes: int = 32 * 2**20
    """Size of a body, except of an upload; a body that begins a session has at most 4 KiB."""
    total_body_bytes: int = 256 * 2**20
    """Size of the bodies of all requests together, without uploads."""
    body_seconds: float = 60.0
    """Time for a body to arrive, except of an upload; one that begins a session has at most 5."""
    upload_bytes: int = 20 * 10**9
    uploads_at_once: int = 8
    uploads_of_one_client: int = 4
    upload_pause_seconds: float = 30.0
    """Time without data after which an upload is aborted."""
    tasks_at_once: int = 2
    tasks_waiting: int = 100
    max_cached_timelines: int = 64
    """Timelines whose indexes are held in memory."""
    max_cached_frames: int = 4_000_000
    """Rows of all held indexes together; one index may have more by itself."""
    cache_ttl_seconds: float = 1.0
    """Minimum time for which the cached state of a timeline is used without asking the store."""
    cache_ttl_load_factor: float = 10.0
    """The same time as a multiple of how long loading took; the longer of both times is used."""

    def fit_to_connections(self, connections: int) -> Self:
        """Return the limits reduced to fit a maximum number of connections.

        Requests and event streams in progress use at most three quarters of the connections.
        """
        requests = _clamp(self.requests_at_once, connections // 2)
        streams = _clamp(self.event_streams, connections // 4)
        return replace(
            self,
            requests_at_once=requests,
            requests_of_one_client=_clamp(self.requests_of_one_client, requests // 2),
            event_streams=streams,
            event_streams_of_one_client=_clamp(self.event_streams_of_one_client, streams // 2),
        )


def _clamp(wanted: int, most: int) -> int:
    return min(wanted, max(1, most))


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of a service; the defaults suit one person on a loopback address."""

    read_only: bool = False
    tokens: Tokens = field(default_factory=Tokens)
    """Tokens and their scopes; without tokens, every client may do everything."""
    allowed_chunks: tuple[str, ...] = ()
    """Normalized folders and URL prefixes under which chunks may lie."""
    allowed_hosts: tuple[str, ...] | None = LOOPBACK_NAMES
    """Allowed values of the Host header, without the port; None allows any."""
    root_path: str = ""
    """Path prefix under which a proxy publishes the service."""
    limits: Limits = field(default_factory=Limits)
