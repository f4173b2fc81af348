"""Boundaries of HTTP/1.1 messages (RFC 9112, section 6)."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

LONGEST_HEAD_BYTES: Final = 256 * 1024

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r]*\bchunked[ \t]*\r\n", re.IGNORECASE)
_NO_BODY: Final = frozenset({204, 304})


class Body(Enum):
    """Bodies whose length the head does not tell."""

    CHUNKED = "chunked"
    """In chunks, each with its length before it."""
    TO_THE_END = "to the end"
    """Until the connection ends."""


Length = int | Body


class BadMessage(OSError):
    """Received data is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Request:
    """Contents of a request's head."""

    method: bytes
    length: Length


@dataclass(frozen=True, slots=True)
class Answer:
    """Contents of a response's head."""

    status: int
    length: Length

    @property
    def is_interim(self) -> bool:
        """True if another response to the same request follows."""
        return 100 <= self.status < 200 and self.status != 101


def request(head: bytes) -> Request:
    """Read a request's head, up to and with its empty line."""
    method, _, _ = head.partition(b" ")
    return Request(method, _length(head, otherwise=0))


def answer(head: bytes, *, method: bytes) -> Answer:
    """Read the head of the answer to a request of that method."""
    try:
        status = int(head.split(b" ", 2)[1][:3])
    except (IndexError, ValueError) as error:
        raise BadMessage(f"no status in {head[:40]!r}") from error
    if method == b"HEAD" or status in _NO_BODY or 100 <= status < 200:
        return Answer(status, 0)
    return Answer(status, _length(head, otherwise=Body.TO_THE_END))


def chunk_size(line: bytes) -> int:
    """Return the bytes that follow a chunk's first line."""
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise BadMessage(f"no chunk size: {line[:40]!r}") from error


def _length(head: bytes, *, otherwise: Length) -> Length:
    if _CHUNKED.search(head):
        return Body.CHUNKED
    found = _LENGTH.search(head)
    return int(found[1]) if found else otherwise
