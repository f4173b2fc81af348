"""Access tokens, and the session cookie that stands for one in a browser."""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from itsdangerous import Signer

from framecache.errors import InvalidValue

Scope = Literal["read", "write"]

SESSION_COOKIE: Final = "framecache_session"
SESSION_SECONDS: Final = 12 * 3600
_TOKEN_PATTERN: Final = re.compile(r"[\x21-\x7e]{16,512}")
_SESSION_PATTERN: Final = re.compile(
    r"([0-9]{1,12})\.([0-9a-f]{16})\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII
)
"""Expiry, name of the token, and signature; base64 would allow four last characters for one."""
ALL_SCOPES: Final[tuple[Scope, ...]] = ("read", "write")


@dataclass(frozen=True, slots=True)
class Access:
    """Name and scopes of a valid token."""

    token_name: str
    """Name of the token, which does not reveal it."""
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    scopes: tuple[Scope, ...]

    @property
    def name(self) -> str:
        return hashlib.sha256(b"name" + self.digest).hexdigest()[:16]

    @property
    def signer(self) -> Signer:
        """Signer of session cookies; it compares signatures in constant time."""
        return Signer(
            self.digest, salt=b"session", key_derivation="hmac", digest_method=hashlib.sha256
        )


class Tokens:
    """Tokens of a service, compared in a time that does not depend on which of them matches."""

    def __init__(self, *, write: Iterable[str] = (), read: Iterable[str] = ()) -> None:
        """Store digests of the tokens that may read and write, and of those that may only read.

        Raises:
            InvalidValue: a token is not 16 to 512 printable ASCII characters without spaces, or is
                in both groups.
        """
        writing, reading = (frozenset(map(_digest, tokens)) for tokens in (write, read))
        if writing & reading:
            raise InvalidValue(
                "the same token is given for read and write and for read only: create another"
            )
        self._tokens = tuple(
            [_Token(digest, ALL_SCOPES) for digest in writing]
            + [_Token(digest, ("read",)) for digest in reading]
        )

    def __bool__(self) -> bool:
        """Return whether a token is required."""
        return bool(self._tokens)

    def authenticate(self, token: str) -> Access | None:
        """Return the access that a token grants; None if there is no such token."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for one in self._tokens:
            if hmac.compare_digest(one.digest, given):
                found = one
        return Access(found.name, found.scopes) if found else None

    def create_session(self, token: str) -> str | None:
        """Return a cookie value that stands for a token for 12 hours; None for an unknown token.

        Every service that has the token accepts the cookie, until the token is removed.
        """
        access = self.authenticate(token)
        if access is None:
            return None
        expires = int(time.time()) + SESSION_SECONDS
        holder = next(one for one in self._tokens if one.name == access.token_name)
        return holder.signer.sign(f"{expires}.{holder.name}").decode()

    def authenticate_session(self, value: str) -> Access | None:
        """Return the access that a cookie grants; None if it is forged or has expired."""
        match = _SESSION_PATTERN.fullmatch(value)
        if match is None or is_expired(value):
            return None
        for one in self._tokens:
            if one.name == match[2] and one.signer.validate(value):
                return Access(one.name, one.scopes)
        return None


def is_expired(cookie: str) -> bool:
    """Return whether a cookie states that it has expired, so that no token need be compared."""
    match = _SESSION_PATTERN.fullmatch(cookie)
    return match is not None and int(match[1]) < time.time()


def _digest(token: str) -> bytes:
    if not _TOKEN_PATTERN.fullmatch(token):
        raise InvalidValue(
            "a token must be 16 to 512 printable ASCII characters without spaces; to make "
            "one: openssl rand -hex 32"
        )
    return hashlib.sha256(token.encode()).digest()
