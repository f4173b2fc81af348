"""Who may read and write: tokens, and the cookie that stands for one in a browser."""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from framecache.errors import InvalidValue

Scope = Literal["read", "write"]

COOKIE: Final = "framecache_session"
SESSION_SECONDS: Final = 12 * 3600
_TOKEN: Final = re.compile(r"[\x21-\x7e]{16,512}")
_SESSION: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{16})\.([0-9a-f]{64})")
_EVERYTHING: Final[tuple[Scope, ...]] = ("read", "write")


@dataclass(frozen=True, slots=True)
class Access:
    """What one request may do."""

    client: str
    """Names the token without giving it away; ``anonymous`` where none is needed."""
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    scopes: tuple[Scope, ...]

    @property
    def name(self) -> str:
        return hashlib.sha256(b"name" + self.digest).hexdigest()[:16]


class Tokens:
    """The tokens of a service. Comparing takes as long whichever of them is right, or none."""

    def __init__(self, *, write: Iterable[str] = (), read: Iterable[str] = ()) -> None:
        """Take tokens that may read and write, and tokens that may only read.

        Raises:
            InvalidValue: one is shorter than 16 characters, has other than printable ASCII, or is
                among both.
        """
        writing, reading = (frozenset(map(_digest, tokens)) for tokens in (write, read))
        if writing & reading:
            raise InvalidValue(
                "one token is given both to read and write and to read only: make another"
            )
        self._tokens = tuple(
            [_Token(digest, _EVERYTHING) for digest in writing]
            + [_Token(digest, ("read",)) for digest in reading]
        )

    def __bool__(self) -> bool:
        """Whether a token is needed at all."""
        return bool(self._tokens)

    def access(self, token: str) -> Access | None:
        """What the bearer of a token may do; None when there is no such token."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for one in self._tokens:
            if hmac.compare_digest(one.digest, given):
                found = one
        return Access(found.name, found.scopes) if found else None

    def session(self, token: str) -> str | None:
        """A cookie's value that stands for a token, for 12 hours; None when there is no such one.

        Every service that has the token accepts it, and none once the token is taken away.
        """
        access = self.access(token)
        if access is None:
            return None
        expires = int(time.time()) + SESSION_SECONDS
        holder = next(one for one in self._tokens if one.name == access.client)
        return f"{expires}.{holder.name}.{_seal(holder, expires)}"

    def session_access(self, value: str) -> Access | None:
        """What the bearer of a cookie may do; None when it is made up, or its time is over."""
        match = _SESSION.fullmatch(value)
        if match is None or is_over(value):
            return None
        for one in self._tokens:
            if one.name == match[2] and hmac.compare_digest(_seal(one, int(match[1])), match[3]):
                return Access(one.name, one.scopes)
        return None


def is_over(cookie: str) -> bool:
    """Whether a cookie itself says that its time is over: then it is compared with no token."""
    match = _SESSION.fullmatch(cookie)
    return match is not None and int(match[1]) < time.time()


EVERYONE: Final = Access("anonymous", _EVERYTHING)
"""Whoever asks, where no token is needed."""
NOBODY: Final = Access("anonymous", ())
"""Whoever asks without a token, where one is needed."""


def _digest(token: str) -> bytes:
    if not _TOKEN.fullmatch(token):
        raise InvalidValue(
            "a token is 16 to 512 printable ASCII characters without spaces; to make one: "
            "openssl rand -hex 32"
        )
    return hashlib.sha256(token.encode()).digest()


def _seal(token: _Token, expires: int) -> str:
    text = f"session {expires} {token.name}".encode()
    return hmac.new(token.digest, text, hashlib.sha256).hexdigest()
