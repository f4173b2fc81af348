"""What every request passes before a route sees it, and every answer on its way out.

In this order: Host, who asks, how often, what for, from which page, how much at once, how large.
"""

import logging
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framecache.http import logs
from framecache.http.bodies import SESSION, Bodies
from framecache.http.problems import Refusal, kind_of, problem, too_many
from framecache.http.rates import Rate
from framecache.http.state import Service
from framecache.http.tokens import COOKIE, EVERYONE, NOBODY, Access, is_over

_SAFE: Final = {"GET", "HEAD", "OPTIONS"}
_METHODS: Final = _SAFE | {"POST", "PUT", "PATCH", "DELETE"}
_PUBLIC: Final = re.compile(r"/|/assets/.*|/healthz|/favicon\.ico")
_HEALTH: Final = "/healthz"
_EVENTS: Final = "/api/events"
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ADDRESS_PORT: Final = re.compile(r":[0-9]{1,5}$")
_log: Final = logging.getLogger(__name__)


class Guard:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        limits = service.settings.limits
        self._app = app
        self._service = service
        self._settings = service.settings
        self._rate = Rate(
            per_second=limits.requests_per_second, burst=2 * limits.requests_per_second
        )
        self._bodies = Bodies(limits)
        self._requests = _Places(limits.requests_at_once, "The service has too many requests.")
        self._strangers = _Places(limits.strangers_at_once, "Too many ask without a token.")
        self._streams = _Places(
            limits.event_streams, "Too many listen to events.", retry_seconds=10
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer in place of the routes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        root = self._settings.root_path
        scope = {**scope, "root_path": root, "path": _below(root, scope)}
        if exchange.is_head and _route_path(scope) != _EVENTS:  # whose answer has no end
            scope["method"] = "GET"
        try:
            self._check(scope, exchange)
            await self._passed_on(scope, receive, exchange)
        except Refusal as refusal:
            answer = problem(
                refusal.status_code, refusal.code, refusal.detail, headers=refusal.headers
            )
            await answer(scope, receive, exchange.send)
        except Exception as error:  # whatever it is, the client gets a problem and no more
            _log.exception("request failed", extra={"fields": {"request_id": exchange.id}})
            if exchange.status:
                raise
            kind = kind_of(error)
            answer = problem(kind.status, kind.code, kind.detail)
            await answer(scope, receive, exchange.send)
        finally:
            self._note(scope, exchange)

    def _check(self, scope: Scope, exchange: "_Exchange") -> None:
        headers = Headers(scope=scope)
        path = _route_path(scope)
        self._check_host(headers)
        access = self._access(headers, exchange.address)
        exchange.client = access.client
        is_named = access not in {EVERYONE, NOBODY}
        if wait := self._rate.take(access.client if is_named else exchange.address):
            raise too_many("This client asks too often: try again later.", seconds=wait)
        if access == NOBODY and ("authorization" in headers or not _is_public(path, scope)):
            challenge = {"WWW-Authenticate": 'Bearer realm="framecache"'}
            raise Refusal(401, "no_access", "A token is needed.", challenge)
        if scope["method"] not in _SAFE:
            self._check_origin(headers)
            if path != SESSION:
                self._check_write(access)
        scope["framecache.access"] = access

    def _check_host(self, headers: Headers) -> None:
        """A page whose name was made to lead here must not act as if it came from here."""
        allowed = self._settings.allowed_hosts
        host = _ADDRESS_PORT.sub("", headers.get("host", "").lower())
        if allowed is not None and host not in allowed:
            raise Refusal(
                421, "wrong_host", "This service is not known by that name: see --allow-host."
            )

    def _access(self, headers: Headers, address: str) -> Access:
        """Who asks. A wrong token counts on every path: any answer may tell that it is wrong."""
        tokens = self._settings.tokens
        if not tokens:
            return EVERYONE
        given = headers.get("authorization")
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if given is None and (not cookie or is_over(cookie)):
            return NOBODY
        self._service.check_guesses(address)
        if given is None:
            found = tokens.session_access(cookie)
        else:
            kind, _, token = given.partition(" ")
            found = tokens.access(token.strip()) if kind.lower() == "bearer" else None
        if found is None:
            self._service.note_refusal(address)
        return found or NOBODY

    def _check_write(self, access: Access) -> None:
        if self._settings.read_only:
            raise Refusal(403, "read_only", "This service only reads.")
        if "write" not in access.scopes:
            raise Refusal(403, "no_write", "This token may only read.")

    @staticmethod
    def _check_origin(headers: Headers) -> None:
        """A page of another site can send requests, and must not change anything by them."""
        origin = headers.get("origin")
        if origin is not None:
            is_own = _netloc(origin) == headers.get("host", "").lower()
        else:
            is_own = headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
        if not is_own:
            raise Refusal(403, "other_origin", "Pages of other sites may not change anything here.")

    async def _passed_on(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        path = _route_path(scope)
        if path == _HEALTH:  # which has to tell that the service is alive when it is full, too
            await self._app(scope, receive, exchange.send)
        elif path == _EVENTS:
            with self._streams.one():
                await self._app(scope, receive, exchange.send)
        else:
            is_stranger = scope["framecache.access"] == NOBODY
            places = self._strangers if is_stranger else self._requests
            with places.one(), self._bodies.of(path, Headers(scope=scope), receive) as bounded:
                await self._app(scope, bounded, exchange.send)

    def _note(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.began
        route = getattr(scope.get("route"), "path", "other")
        is_stream = _route_path(scope) == _EVENTS
        self._service.metrics.answered(
            method=exchange.method if exchange.method in _METHODS else "other",
            route=route,
            status=exchange.status,
            seconds=None if is_stream else seconds,
            sent_bytes=exchange.sent_bytes,
        )
        logs.access.info(
            "request",
            extra={
                "fields": {
                    "request_id": exchange.id,
                    "client": exchange.address,
                    "token": exchange.client,
                    "method": exchange.method,
                    "path": scope["path"],
                    "status": exchange.status,
                    "sent_bytes": exchange.sent_bytes,
                    "milliseconds": round(seconds * 1000, 1),
                }
            },
        )


class _Places:
    """So many at once, and not one more."""

    def __init__(self, most: int, when_full: str, *, retry_seconds: float = 1) -> None:
        self._free = most
        self._when_full = when_full
        self._retry_seconds = retry_seconds

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for a while, or refuse."""
        if not self._free:
            raise too_many(self._when_full, seconds=self._retry_seconds)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class _Exchange:
    """One request, and what was answered."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = secrets.token_hex(8)
        self.began = time.perf_counter()
        self.address = scope["client"][0] if scope.get("client") else "unknown"
        self.client = EVERYONE.client
        self.method = str(scope["method"])
        self.is_head = self.method == "HEAD"
        self.status = 0
        self.sent_bytes = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            is_page = headers.get("content-type", "").startswith("text/html")
            headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _DATA_POLICY
            headers.setdefault("Cache-Control", "no-store")
            for name, value in _HEADERS.items():
                headers[name] = value
        elif message["type"] == "http.response.body":
            if self.is_head:
                message = {**message, "body": b""}
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


def _is_public(path: str, scope: Scope) -> bool:
    begins_or_ends_session = path == SESSION and scope["method"] != "GET"
    return begins_or_ends_session or _PUBLIC.fullmatch(path) is not None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _below(root: str, scope: Scope) -> str:
    """A request's path with the prefix of a proxy, whether or not the proxy has taken it off."""
    path = str(scope["path"])
    return path if path.startswith(f"{root}/") else root + path


def _route_path(scope: Scope) -> str:
    """The path below the prefix of a proxy."""
    return str(scope["path"]).removeprefix(scope["root_path"])
