"""What whoever runs a service decides."""

import os
from dataclasses import dataclass, field
from typing import Final

from framecache.http.tokens import Tokens

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one service may be asked for at a time."""

    requests_per_second: float = 200.0
    """Of one client, lasting; twice as many at once."""
    refusals_per_minute: float = 30.0
    """Wrong tokens from one address; after that all its requests have to wait."""
    requests_at_once: int = 256
    strangers_at_once: int = 32
    """Requests without a token, where one is needed: they take no place of the others'."""
    threads: int = field(default_factory=lambda: 48 + _cores())
    """That wait for the store and decode; other requests wait for one of them.

    More than may be held by all that follows together.
    """
    decodes_at_once: int = field(default_factory=_cores)
    """Pictures, those on sheets included."""
    decodes_waiting: int = 8
    """Requests for thumbnails."""
    sheets_at_once: int = 2
    sheets_waiting: int = 4
    compares_at_once: int = 1
    compares_waiting: int = 1
    looks_at_once: int = 20
    """Requests that have the store tell what there is of a timeline, or wait for one that does."""
    refreshes_at_once: int = 10
    """Those of them that do it although the timeline is known."""
    pages_at_once: int = 4
    """Of frames with their pictures."""
    pages_waiting: int = 4
    event_streams: int = 64
    body_bytes: int = 32 * 2**20
    """Of any body but that of an upload; one that begins a session has 4 KiB."""
    bodies_bytes: int = 256 * 2**20
    """Of the bodies of all requests together, uploads left out."""
    body_seconds: float = 60.0
    """How long a body may take to come, but that of an upload; one that begins a session has 5."""
    upload_bytes: int = 20 * 10**9
    uploads_at_once: int = 4
    upload_pause_seconds: float = 30.0
    """How long an upload may bring nothing."""
    tasks_at_once: int = 2
    tasks_waiting: int = 100
    timelines_known: int = 64
    """Whose indexes are held in memory."""
    frames_known: int = 4_000_000
    """Rows of all those indexes together, unless one alone has more."""
    known_for_seconds: float = 1.0
    """How long it is not asked whether a timeline has changed."""
    known_for_looks: float = 10.0
    """Nor for so many times what asking took the last time, where that is longer."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How a service behaves; the defaults are those of one on loopback, for one person."""

    read_only: bool = False
    tokens: Tokens = field(default_factory=Tokens)
    """Who may do what; none: everyone who can reach it may do everything."""
    allowed_chunks: tuple[str, ...] = ()
    """Folders and URL prefixes under which chunks may be named, normalised."""
    allowed_hosts: tuple[str, ...] | None = LOOPBACK_NAMES
    """What a request's Host may be, whatever its port; None: anything."""
    root_path: str = ""
    """The path prefix that a proxy puts before all of it."""
    limits: Limits = field(default_factory=Limits)
