"""Middleware that checks every request before its route, and completes every response.

It checks, in this order: host, token, rate, length of the target, permission, origin, number of
concurrent requests, size of the body.
"""

import logging
import re
import secrets
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.authentication import AuthCredentials, AuthenticationBackend
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framecache.server import logs
from framecache.server.auth import ALL_SCOPES, SESSION_COOKIE, is_expired
from framecache.server.body_limits import SESSION_PATH, BodyLimits, buffer_body
from framecache.server.client_limits import Client, ConcurrencyLimit, RateLimiter, client_network
from framecache.server.connections import AUTHENTICATED_KEY, max_connections
from framecache.server.problem_details import (
    ProblemError,
    problem_response,
    problem_type_of,
    too_many_requests,
)
from framecache.server.state import Service
from framecache.server.work_limits import current_client

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
_BODY_HEADERS: Final = {"content-length", "transfer-encoding"}
_METHODS: Final = _SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
_PUBLIC_PATHS: Final = re.compile(r"/|/assets/.*|/healthz|/favicon\.ico")
_HEALTH_PATH: Final = "/healthz"
_EVENTS_PATH: Final = "/api/v1/events"
_LISTING_PATHS: Final = {"/api/v1/timelines", "/api/v1/timeline-ids"}
_PATH_KEY: Final = "framecache.path"
"""Key of a scope: the path below the prefix of a proxy."""
_PAGE_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DATA_CSP: Final = "default-src 'none'; frame-ancestors 'none'"
_SECURITY_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_ADDRESS_PORT: Final = re.compile(r":[0-9]{1,5}$")
_MAX_TARGET_BYTES: Final = 8192
"""Maximum length of a path with its query; a run with the longest overlay names has fewer."""
_LOGGED_PATH_CHARACTERS: Final = 256
_new_request_id: Final = partial(secrets.token_hex, 8)
_log: Final = logging.getLogger(__name__)


def add_middleware(app: FastAPI, service: Service) -> None:
    """Add the middleware of a service; a request passes what was added last first."""
    app.add_middleware(AdmissionMiddleware, service=service)
    app.add_middleware(AuthenticationMiddleware, backend=TokenBackend(service))
    if service.settings.allowed_hosts is not None:
        app.add_middleware(HostMiddleware, allowed_hosts=service.settings.allowed_hosts)
    app.add_middleware(ResponseMiddleware, service=service)
    app.add_middleware(
        CorrelationIdMiddleware,
        generator=_new_request_id,
        validator=None,
        transformer=_replace_request_id,
        update_request_header=False,
    )


class ResponseMiddleware:
    """Completion of every response: problem details, headers, access log and metrics."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._root_path = service.settings.root_path
        self._metrics = service.metrics
        self._log_throttle = logs.Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer it here if it is refused or fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        root, path = self._root_path, str(scope["path"])
        is_prefixed = path.startswith(f"{root}/")  # the proxy may have removed its prefix
        scope = {**scope, "root_path": root, "path": path if is_prefixed else root + path}
        scope[_PATH_KEY] = path.removeprefix(root) if is_prefixed else path
        if exchange.is_head and scope[_PATH_KEY] != _EVENTS_PATH:  # its response has no end
            scope["method"] = "GET"
        try:
            await self._app(scope, receive, exchange.send)
        except ProblemError as refusal:
            answer = problem_response(
                refusal.status_code, refusal.code, refusal.detail, headers=refusal.headers
            )
            await answer(scope, receive, exchange.send)
        except ClientDisconnect:
            pass
        except Exception as error:  # no details of an unexpected error reach the client
            _log.exception("request failed")
            if exchange.status:
                raise
            kind = problem_type_of(error)
            answer = problem_response(kind.status, kind.code, kind.detail)
            await answer(scope, receive, exchange.send)
        finally:
            self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.start_time
        is_known = exchange.method in _METHODS
        method = exchange.method if is_known else "other"
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(method, route, str(exchange.status)).inc()
        self._metrics.sent_bytes.labels(route).inc(exchange.sent_bytes)
        if scope[_PATH_KEY] != _EVENTS_PATH:
            self._metrics.seconds.labels(route).observe(seconds)
        client = scope.get("user")
        token = "anonymous" if client is None else client.display_name
        fields = {
            "request_id": correlation_id.get(),
            "client": exchange.address,
            "token": token,
            "method": exchange.method if is_known else _truncate(exchange.method),
            "path": _truncate(scope["path"]),
            "status": exchange.status,
            "sent_bytes": exchange.sent_bytes,
            "milliseconds": round(seconds * 1000, 1),
        }
        if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
            # A client that ignores this status could fill the disk with log lines.
            kept_back = self._log_throttle.count_suppressed(
                (token, client_network(exchange.address))
            )
            if kept_back is None:
                return
            fields["repeated"] = kept_back
        logs.access_logger.info("request", extra={"fields": fields})


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.start_time = time.perf_counter()
        self.address = scope["client"][0] if scope.get("client") else "unknown"
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
            is_page = headers.get("content-type", "").startswith("text/html")
            headers["Content-Security-Policy"] = _PAGE_CSP if is_page else _DATA_CSP
            headers.setdefault("Cache-Control", "no-store")
            headers.raw.extend(_SECURITY_HEADERS)
        elif message["type"] == "http.response.body":
            if self.is_head:
                message = {**message, "body": b""}
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


class HostMiddleware:
    """Check of the Host header against the allowed names, to prevent DNS rebinding.

    A page of another name that resolves to this service must not pass for the service's own.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on.

        Raises:
            ProblemError: the name of the host is not allowed.
        """
        if scope["type"] == "http":
            host = _ADDRESS_PORT.sub("", Headers(scope=scope).get("host", "").lower())
            if host not in self._allowed_hosts:
                raise ProblemError(
                    421, "host_not_allowed", "The host name is not allowed: see --allow-host."
                )
        return self._app(scope, receive, send)


class TokenBackend(AuthenticationBackend):
    """Authentication of a request by its token or cookie.

    A wrong token is counted on every path, because any response may reveal that it is wrong.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tokens = service.settings.tokens
        self._is_open = not self._tokens

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Client]:
        """Return the scopes and the client of a request; no scopes without a valid token.

        Raises:
            ProblemError: there were too many wrong tokens from the client's address.
        """
        address = conn.client.host if conn.client else "unknown"
        network = client_network(address)
        if self._is_open:
            return AuthCredentials(ALL_SCOPES), Client(None, network)
        unauthenticated = AuthCredentials(), Client(None, network, is_authenticated=False)
        given = conn.headers.get("authorization")
        cookie = conn.cookies.get(SESSION_COOKIE, "")
        if given is None and (not cookie or is_expired(cookie)):
            return unauthenticated
        self._service.check_auth_failures(address)
        if given is None:
            found = self._tokens.authenticate_session(cookie)
        else:
            kind, _, token = given.partition(" ")
            found = self._tokens.authenticate(token.strip()) if kind.lower() == "bearer" else None
        if found is None:
            self._service.record_auth_failure(address)
            return unauthenticated
        return AuthCredentials(found.scopes), Client(found.token_name, network)


class AdmissionMiddleware:
    """Admission of requests: rate, length, permission, origin, and limits on what they hold."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        limits = service.settings.limits
        limits = limits.fit_to_connections(max_connections(limits.connections))
        self._app = app
        self._is_read_only = service.settings.read_only
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
        """Pass a request on to its route.

        Raises:
            ProblemError: the request is refused.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers, client = scope[_PATH_KEY], Headers(scope=scope), scope["user"]
        identity = client.identity
        self._check(scope, path, headers, identity)
        current_client.set(identity)
        if client.is_authenticated:
            scope.setdefault("state", {})[AUTHENTICATED_KEY] = True
        with ExitStack() as held:
            if path == _EVENTS_PATH:
                held.enter_context(self._streams.slot(client))
            elif path != _HEALTH_PATH:  # it must answer when the service is at its limits, too
                if not client.is_authenticated:
                    await self._dispatch_unauthenticated(scope, receive, send)
                    return
                held.enter_context(self._requests.slot(client))
                if path in _LISTING_PATHS:
                    held.enter_context(self._listings.slot(client))
                # No route reads a body that a safe method does not announce.
                if scope["method"] not in _SAFE_METHODS or not _BODY_HEADERS.isdisjoint(headers):
                    receive = held.enter_context(
                        self._body_limits.limit_body(path, headers, receive)
                    )
            await self._app(scope, receive, send)

    def _check(self, scope: Scope, path: str, headers: Headers, identity: str) -> None:
        if wait := self._rate_limiter.consume(identity):
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
        if not scope["user"].is_authenticated and (
            "authorization" in headers or not _is_public(path, scope)
        ):
            challenge = {"WWW-Authenticate": 'Bearer realm="framecache"'}
            raise ProblemError(401, "unauthorized", "A token is required.", challenge)
        if scope["method"] not in _SAFE_METHODS:
            self._check_origin(headers)
            if path != SESSION_PATH:
                self._check_write(scope["auth"])

    def _check_write(self, credentials: AuthCredentials) -> None:
        if self._is_read_only:
            raise ProblemError(403, "read_only", "This service is read-only.")
        if "write" not in credentials.scopes:
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

    async def _dispatch_unauthenticated(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an unauthenticated client, with a slot held only by the route.

        No slot is held while the client sends its body or reads the response. Otherwise slow
        clients could take all slots. Those phases are bounded by the limit on connections.
        """
        path = scope[_PATH_KEY]
        with (
            self._body_limits.limit_body(path, Headers(scope=scope), receive) as bounded,
            ExitStack() as place,
        ):
            body = await buffer_body(bounded) if path == SESSION_PATH else bounded
            place.enter_context(self._unauthenticated.slot(scope["user"]))

            async def send_without_slot(message: Message) -> None:
                place.close()
                await send(message)

            await self._app(scope, body, send_without_slot)


def _truncate(text: str) -> str:
    cut = text[:_LOGGED_PATH_CHARACTERS]
    return text if cut == text else f"{cut}…"


def _replace_request_id(_: str) -> str:
    """Return another id than the client's, which could make its log lines pass for others."""
    return _new_request_id()


def _is_public(path: str, scope: Scope) -> bool:
    begins_or_ends_session = path == SESSION_PATH and scope["method"] != "GET"
    return begins_or_ends_session or _PUBLIC_PATHS.fullmatch(path) is not None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
