"""Middleware that checks every request before its route, and completes every response.

It checks, in this order: host, token, rate, length of the target, permission, origin, number of
concurrent requests, size of the body.
"""

import logging
import re
import secrets
import time
from contextlib import ExitStack, nullcontext
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framecache.server import logs
from framecache.server.auth import FULL_ACCESS, SESSION_COOKIE, UNAUTHENTICATED, Access, is_expired
from framecache.server.body_limits import SESSION_PATH, BodyLimits, buffer_body
from framecache.server.clients import Client, client_network
from framecache.server.concurrency_limit import ConcurrencyLimit
from framecache.server.connections import mark_authenticated, max_connections
from framecache.server.problem_details import (
    ProblemError,
    problem_response,
    problem_type_of,
    too_many_requests,
)
from framecache.server.rate_limit import RateLimiter
from framecache.server.state import Service
from framecache.server.work_limits import current_client

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
_METHODS: Final = _SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
_PUBLIC_PATHS: Final = re.compile(r"/|/assets/.*|/healthz|/favicon\.ico")
_HEALTH_PATH: Final = "/healthz"
_EVENTS_PATH: Final = "/api/v1/events"
_LISTING_PATHS: Final = {"/api/v1/timelines", "/api/v1/timeline-ids"}
_PAGE_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DATA_CSP: Final = "default-src 'none'; frame-ancestors 'none'"
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ADDRESS_PORT: Final = re.compile(r":[0-9]{1,5}$")
_MAX_TARGET_BYTES: Final = 8192
"""Maximum length of a path with its query; a run with the longest overlay names has fewer."""
_LOGGED_PATH_CHARACTERS: Final = 256
_log: Final = logging.getLogger(__name__)


class SecurityMiddleware:
    """Outermost middleware: security checks, limits, headers, access log and metrics."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        limits = service.settings.limits
        limits = limits.fit_to_connections(max_connections(limits.connections))
        self._app = app
        self._service = service
        self._settings = service.settings
        self._log_throttle = logs.Throttle()
        self._rate_limiter = RateLimiter(
            per_second=limits.requests_per_second, burst=2 * limits.requests_per_second
        )
        self._body_limits = BodyLimits(limits)
        self._requests = ConcurrencyLimit(
            limits.requests_at_once,
            "The service has too many requests.",
            max_per_client=limits.requests_of_one_client,
        )
        self._unauthenticated = ConcurrencyLimit(
            limits.unauthenticated_at_once,
            "Too many requests without a token.",
            max_per_client=limits.unauthenticated_of_one_client,
        )
        self._listings = ConcurrencyLimit(
            limits.listings_at_once,
            "Too many requests list timelines.",
            max_per_client=limits.listings_of_one_client,
        )
        self._streams = ConcurrencyLimit(
            limits.event_streams,
            "Too many clients listen to events.",
            max_per_client=limits.event_streams_of_one_client,
            retry_seconds=10,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to its route, or answer it here if it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        root = self._settings.root_path
        scope = {**scope, "root_path": root, "path": _prefixed_path(root, scope)}
        if exchange.is_head and _route_path(scope) != _EVENTS_PATH:  # its response has no end
            scope["method"] = "GET"
        try:
            self._check(scope, exchange)
            await self._dispatch(scope, receive, exchange)
        except ProblemError as refusal:
            answer = problem_response(
                refusal.status_code, refusal.code, refusal.detail, headers=refusal.headers
            )
            await answer(scope, receive, exchange.send)
        except ClientDisconnect:
            pass
        except Exception as error:  # no details of an unexpected error reach the client
            _log.exception("request failed", extra={"fields": {"request_id": exchange.id}})
            if exchange.status:
                raise
            kind = problem_type_of(error)
            answer = problem_response(kind.status, kind.code, kind.detail)
            await answer(scope, receive, exchange.send)
        finally:
            self._record(scope, exchange)

    def _check(self, scope: Scope, exchange: "_Exchange") -> None:
        headers = Headers(scope=scope)
        path = _route_path(scope)
        self._check_host(headers)
        access = self._authenticate(headers, exchange.address)
        exchange.token = access.token_name
        is_named = access not in {FULL_ACCESS, UNAUTHENTICATED}
        client = Client(access.token_name if is_named else None, client_network(exchange.address))
        if wait := self._rate_limiter.consume(client.name):
            raise too_many_requests(
                "Too many requests from this client: try again later.", seconds=wait
            )
        if (
            len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
            > _MAX_TARGET_BYTES
        ):
            raise ProblemError(
                414,
                "too_long",
                f"Path and query must have at most {_MAX_TARGET_BYTES} bytes together.",
            )
        if access == UNAUTHENTICATED and (
            "authorization" in headers or not _is_public(path, scope)
        ):
            challenge = {"WWW-Authenticate": 'Bearer realm="framecache"'}
            raise ProblemError(401, "unauthorized", "A token is required.", challenge)
        if scope["method"] not in _SAFE_METHODS:
            self._check_origin(headers)
            if path != SESSION_PATH:
                self._check_write(access)
        scope["framecache.access"] = access
        scope["framecache.client"] = client
        current_client.set(client.name)
        if access != UNAUTHENTICATED:
            mark_authenticated(scope)

    def _check_host(self, headers: Headers) -> None:
        """Check the Host header against the allowed names, to prevent DNS rebinding.

        A page of another name that resolves to this service must not pass for the service's own.
        """
        allowed = self._settings.allowed_hosts
        host = _ADDRESS_PORT.sub("", headers.get("host", "").lower())
        if allowed is not None and host not in allowed:
            raise ProblemError(
                421, "host_not_allowed", "The host name is not allowed: see --allow-host."
            )

    def _authenticate(self, headers: Headers, address: str) -> Access:
        """Return the access that a request's token or cookie grants.

        A wrong token is counted on every path, because any response may reveal that it is wrong.
        """
        tokens = self._settings.tokens
        if not tokens:
            return FULL_ACCESS
        given = headers.get("authorization")
        cookie = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE, "")
        if given is None and (not cookie or is_expired(cookie)):
            return UNAUTHENTICATED
        self._service.check_auth_failures(address)
        if given is None:
            found = tokens.authenticate_session(cookie)
        else:
            kind, _, token = given.partition(" ")
            found = tokens.authenticate(token.strip()) if kind.lower() == "bearer" else None
        if found is None:
            self._service.record_auth_failure(address)
        return found or UNAUTHENTICATED

    def _check_write(self, access: Access) -> None:
        if self._settings.read_only:
            raise ProblemError(403, "read_only", "This service is read-only.")
        if "write" not in access.scopes:
            raise ProblemError(403, "forbidden", "This token is read-only.")

    @staticmethod
    def _check_origin(headers: Headers) -> None:
        """Refuse a writing request that a page of another site sent (CSRF)."""
        origin = headers.get("origin")
        if origin is not None:
            is_own = _netloc(origin) == headers.get("host", "").lower()
        else:
            is_own = headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
        if not is_own:
            raise ProblemError(
                403, "cross_origin", "Cross-origin requests may not change anything."
            )

    async def _dispatch(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        path, client = _route_path(scope), scope["framecache.client"]
        if path == _HEALTH_PATH:  # no limits: it must answer when the service is at its limits, too
            await self._app(scope, receive, exchange.send)
        elif path == _EVENTS_PATH:
            with self._streams.slot(client):
                await self._app(scope, receive, exchange.send)
        elif scope["framecache.access"] == UNAUTHENTICATED:
            await self._dispatch_unauthenticated(scope, receive, exchange)
        else:
            listing = self._listings.slot(client) if path in _LISTING_PATHS else nullcontext()
            bounded = self._body_limits.limit_body(path, Headers(scope=scope), receive)
            with self._requests.slot(client), listing, bounded as body:
                await self._app(scope, body, exchange.send)

    async def _dispatch_unauthenticated(
        self, scope: Scope, receive: Receive, exchange: "_Exchange"
    ) -> None:
        """Answer an unauthenticated client, with a slot held only by the route.

        No slot is held while the client sends its body or reads the response. Otherwise slow
        clients could take all slots. Those phases are bounded by the limit on connections.
        """
        path = _route_path(scope)
        with (
            self._body_limits.limit_body(path, Headers(scope=scope), receive) as bounded,
            ExitStack() as place,
        ):
            body = await buffer_body(bounded) if path == SESSION_PATH else bounded
            place.enter_context(self._unauthenticated.slot(scope["framecache.client"]))

            async def send(message: Message) -> None:
                place.close()
                await exchange.send(message)

            await self._app(scope, body, send)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.start_time
        route = getattr(scope.get("route"), "path", "other")
        is_stream = _route_path(scope) == _EVENTS_PATH
        self._service.metrics.count_request(
            method=exchange.method if exchange.method in _METHODS else "other",
            route=route,
            status=exchange.status,
            seconds=None if is_stream else seconds,
            sent_bytes=exchange.sent_bytes,
        )
        fields = {
            "request_id": exchange.id,
            "client": exchange.address,
            "token": exchange.token,
            "method": _truncate(exchange.method),
            "path": _truncate(scope["path"]),
            "status": exchange.status,
            "sent_bytes": exchange.sent_bytes,
            "milliseconds": round(seconds * 1000, 1),
        }
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            # A client that ignores this status could fill the disk with log lines.
            kept_back = self._log_throttle.count_suppressed(
                (exchange.token, client_network(exchange.address))
            )
            if kept_back is None:
                return
            fields["repeated"] = kept_back
        logs.access_logger.info("request", extra={"fields": fields})


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = secrets.token_hex(8)
        self.start_time = time.perf_counter()
        self.address = scope["client"][0] if scope.get("client") else "unknown"
        self.token = FULL_ACCESS.token_name
        self.method = str(scope["method"])
        self.is_head = self.method == "HEAD"
        self.status = 0
        self.sent_bytes = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a message of the response; add the headers that every response has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            is_page = headers.get("content-type", "").startswith("text/html")
            headers["Content-Security-Policy"] = _PAGE_CSP if is_page else _DATA_CSP
            headers.setdefault("Cache-Control", "no-store")
            for name, value in _SECURITY_HEADERS.items():
                headers[name] = value
        elif message["type"] == "http.response.body":
            if self.is_head:
                message = {**message, "body": b""}
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


def _truncate(text: str) -> str:
    cut = text[:_LOGGED_PATH_CHARACTERS]
    return text if cut == text else f"{cut}…"


def _is_public(path: str, scope: Scope) -> bool:
    begins_or_ends_session = path == SESSION_PATH and scope["method"] != "GET"
    return begins_or_ends_session or _PUBLIC_PATHS.fullmatch(path) is not None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _prefixed_path(root: str, scope: Scope) -> str:
    """Return a request's path with the prefix of a proxy, even if the proxy removed it."""
    path = str(scope["path"])
    return path if path.startswith(f"{root}/") else root + path


def _route_path(scope: Scope) -> str:
    """Return the path below the prefix of a proxy."""
    return str(scope["path"]).removeprefix(scope["root_path"])
