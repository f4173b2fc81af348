"""Permissions by client and origin, rate limits, and limits on concurrent requests."""

import http.client
import io
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from served import READ, WRITE, Service, over, problem_of, serving, until

from framecache import Frame, FrameCache, InvalidValue, StoreUnavailable
from framecache.server import Limits, ServiceSettings, Tokens, logs
from framecache.server.client_limits import (
    Client,
    ConcurrencyLimit,
    RateLimiter,
    client_network,
)
from framecache.server.problem_details import ProblemError
from framecache.testing import Action, HookedStore

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "api/v1/timelines/t/extract", {"json": {"chunks": ["upload:a"]}}),
    ("PUT", "api/v1/timelines/t/uploads/a", {"content": b"a"}),
    ("POST", "api/v1/timelines/t/rebuild", {}),
    ("POST", "api/v1/timelines/t/clear", {}),
    ("POST", "api/v1/timelines/t/verify", {}),
    ("DELETE", "api/v1/timelines/t", {}),
    ("PUT", "api/v1/timelines/t/overlays/j/s/0", {"json": {"a": ""}}),
    ("DELETE", "api/v1/timelines/t/overlays/j/s/0", {}),
    ("PUT", "api/v1/timelines/t/overlays/j/s/0/a.png", {"content": b"a"}),
    ("DELETE", "api/v1/timelines/t/overlays/j/s/0/a.png", {}),
    ("DELETE", "api/v1/timelines/t/overlays/j/s", {}),
    ("DELETE", "api/v1/tasks/20260101T000000000000-0123456789abcdef", {}),
]
READS = [
    "api/v1/timelines",
    "api/v1/timelines/t",
    "api/v1/timelines/t/frames/0.jpg",
    "api/v1/tasks",
    "metrics",
]
OTHER = "another-token-that-may-write"
TOKENS = Tokens(write=[WRITE], read=[READ])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def cache(local_url: str) -> FrameCache:
    cache = FrameCache(local_url)
    cache.timeline("t").write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    return cache


@pytest.fixture
def open_service(cache: FrameCache) -> Iterator[Service]:
    with serving(cache) as service:
        yield service


@pytest.fixture
def guarded(cache: FrameCache) -> Iterator[Service]:
    with serving(cache, ServiceSettings(tokens=TOKENS)) as service:
        yield service


@pytest.mark.parametrize("path", READS)
def test_read_without_token_is_unauthorized(guarded: Service, path: str) -> None:
    answer = guarded.get(path)
    assert problem_of(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("token", [READ, WRITE])
def test_read_token_and_write_token_both_read(guarded: Service, path: str, token: str) -> None:
    assert guarded.get(path, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(("method", "path", "given"), WRITES)
def test_write_without_write_token_is_refused(
    guarded: Service, method: str, path: str, given: dict[str, Any]
) -> None:
    assert problem_of(guarded.client.request(method, path, **given)) == (401, "unauthorized")
    answer = guarded.client.request(method, path, headers=bearer(READ), **given)
    assert problem_of(answer) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path", "given"), WRITES)
def test_read_only_service_refuses_every_write(
    cache: FrameCache, method: str, path: str, given: dict[str, Any]
) -> None:
    with serving(cache, ServiceSettings(read_only=True)) as service:
        answer = service.client.request(method, path, **given)
        assert problem_of(answer) == (403, "read_only")


@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Basic {WRITE}", f"Bearer {WRITE}x", "Bearer \xff" * 9]
)
def test_invalid_authorization_header_is_unauthorized(guarded: Service, header: str) -> None:
    answer = guarded.get("api/v1/timelines", headers={"Authorization": header.encode("latin-1")})
    assert problem_of(answer) == (401, "unauthorized")


def test_health_and_page_need_no_token(guarded: Service) -> None:
    assert guarded.json("healthz") == {"status": "ok"}
    assert guarded.get("").status_code == 200


@pytest.mark.parametrize("path", ["", "healthz"])
def test_wrong_token_is_refused_on_public_paths(guarded: Service, path: str) -> None:
    answer = guarded.get(path, headers=bearer("a-token-that-is-unknown"))
    assert problem_of(answer) == (401, "unauthorized")


def test_session_cookie_has_the_scopes_of_its_token(guarded: Service) -> None:
    answer = guarded.client.post("api/v1/session", json={"token": READ})
    assert answer.json()["scopes"] == ["read"]
    attributes = answer.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes
    assert guarded.get("api/v1/timelines").status_code == 200
    assert problem_of(guarded.client.post("api/v1/timelines/t/clear")) == (403, "forbidden")
    assert guarded.client.delete("api/v1/session").status_code == 204
    assert guarded.get("api/v1/timelines").status_code == 401


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "a b=c", "=", "x", 'open="'])
def test_foreign_cookies_do_not_hide_the_session_cookie(guarded: Service, other: str) -> None:
    value = TOKENS.create_session(READ)
    headers = {"Cookie": f"{other}; framecache_session={value}; {other}"}
    assert guarded.get("api/v1/timelines", headers=headers).status_code == 200


@pytest.mark.parametrize("spoilt", ["", "x", "1.2.3", "{}x", "9{}"])
def test_forged_cookie_is_unauthorized(guarded: Service, spoilt: str) -> None:
    answer = guarded.client.post("api/v1/session", json={"token": WRITE})
    value = answer.cookies["framecache_session"]
    guarded.client.cookies.clear()
    headers = {"Cookie": f"framecache_session={spoilt.format(value)}"}
    assert guarded.get("api/v1/timelines", headers=headers).status_code == 401


def test_cookie_with_any_character_changed_is_refused() -> None:
    value = TOKENS.create_session(WRITE)
    assert value is not None
    assert TOKENS.authenticate_session(value) is not None
    for position, one in enumerate(value):
        for other in "0Aa_-." + chr(ord(one) + 1):
            changed = value[:position] + other + value[position + 1 :]
            assert (TOKENS.authenticate_session(changed) is None) == (changed != value)


def test_session_cookie_is_invalid_once_its_token_is_removed(
    guarded: Service, cache: FrameCache
) -> None:
    value = guarded.client.post("api/v1/session", json={"token": WRITE}).cookies[
        "framecache_session"
    ]
    headers = {"Cookie": f"framecache_session={value}"}
    for tokens, status in ((Tokens(write=[WRITE]), 200), (Tokens(write=[READ]), 401)):
        with serving(cache, ServiceSettings(tokens=tokens)) as other:
            assert other.get("api/v1/timelines", headers=headers).status_code == status


def test_wrong_token_starts_no_session(guarded: Service) -> None:
    answer = guarded.client.post("api/v1/session", json={"token": "wrong" * 5})
    assert problem_of(answer) == (401, "invalid_token")
    assert "set-cookie" not in answer.headers


def guess(service: Service, way: str, token: str) -> int:
    """Return the status of a request that presents a token in one of several ways."""
    if way == "session":
        return service.client.post("api/v1/session", json={"token": token}).status_code
    if way == "cookie":
        cookie = Tokens(write=[token]).create_session(token)
        headers = {"Cookie": f"framecache_session={cookie}"}
    else:
        headers = bearer(token)
    return service.get("api/v1/timelines", headers=headers).status_code


@pytest.mark.parametrize("way", ["session", "bearer", "cookie"])
def test_too_many_wrong_tokens_also_delay_the_right_one(cache: FrameCache, way: str) -> None:
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(auth_failures_per_minute=3))
    with serving(cache, settings) as service:
        assert [guess(service, way, f"{'wrong' * 5}{one}") for one in range(3)] == [401] * 3
        assert guess(service, way, WRITE) == 429


def test_expired_cookie_does_not_count_as_wrong_token(
    cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("framecache.server.auth.SESSION_SECONDS", -10)
        headers = {"Cookie": f"framecache_session={TOKENS.create_session(WRITE)}"}
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(auth_failures_per_minute=1))
    with serving(cache, settings) as service:
        for _ in range(3):
            assert service.get("api/v1/timelines", headers=headers).status_code == 401
        assert service.get("api/v1/timelines", headers=bearer(WRITE)).status_code == 200


def test_unauthenticated_requests_have_a_rate_limit_of_their_own(cache: FrameCache) -> None:
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(requests_per_second=1))
    with serving(cache, settings) as service:
        assert service.get("api/v1/timelines").status_code == 401
        until(lambda: service.get("api/v1/timelines").status_code == 429)
        assert service.get("api/v1/timelines", headers=bearer(READ)).status_code == 200


def test_unauthenticated_address_leaves_the_rate_of_others(cache: FrameCache) -> None:
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(requests_per_second=1))
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with serving(cache, settings) as service, httpx.Client(transport=transport) as other:
        until(lambda: service.get("api/v1/timelines").status_code == 429)
        assert other.get(f"{service.url}api/v1/timelines").status_code == 401


@pytest.mark.parametrize("token", ["short", "a" * 15, "has a space in it, this one", "ä" * 20])
def test_weak_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidValue, match="a token must be"):
        Tokens(write=[token])


def test_token_in_both_scopes_is_refused() -> None:
    with pytest.raises(InvalidValue, match="create another"):
        Tokens(write=[READ, WRITE], read=[READ])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_foreign_host_header_is_refused(open_service: Service, host: str) -> None:
    for path in ("", "api/v1/timelines", "healthz"):
        answer = open_service.get(path, headers={"Host": host})
        assert problem_of(answer) == (421, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:9"])
def test_loopback_host_header_is_accepted(open_service: Service, host: str) -> None:
    assert open_service.get("api/v1/timelines", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path", "given"), WRITES)
def test_cross_origin_write_is_refused(
    open_service: Service, headers: dict[str, str], method: str, path: str, given: dict[str, Any]
) -> None:
    answer = open_service.client.request(method, path, headers=headers, **given)
    assert problem_of(answer) == (403, "cross_origin")


def test_same_origin_write_is_accepted(open_service: Service) -> None:
    parts = urlsplit(open_service.url)
    headers = {"Origin": f"http://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
    answer = open_service.client.post("api/v1/timelines/t/clear", headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "path", ["", "docs", "docs.css", *READS, "nothing", "api/v1/timelines/..%2f"]
)
def test_every_response_has_security_headers(open_service: Service, path: str) -> None:
    headers = open_service.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_rate_limited_response_has_retry_after(cache: FrameCache) -> None:
    settings = ServiceSettings(limits=Limits(requests_per_second=0.1))
    with serving(cache, settings) as service:
        service.get("healthz")
        answer = service.get("healthz")
    assert problem_of(answer) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_rate_limiter_drops_least_recent_client_beyond_limit() -> None:
    limiter = RateLimiter(per_second=0.0001, burst=1)
    assert limiter.consume("a") == 0
    assert limiter.consume("b") == 0
    for number in range(9_998):
        limiter.consume(str(number))
    assert limiter.consume("a") > 0
    limiter.consume("one more")
    assert limiter.consume("a") > 0
    assert limiter.consume("b") == 0


def test_requests_beyond_concurrency_limit_are_refused(cache: FrameCache) -> None:
    with serving(cache, ServiceSettings(limits=Limits(requests_at_once=1))) as service:

        def slow_body() -> Iterator[bytes]:
            yield b"a"
            assert problem_of(service.get("api/v1/timelines")) == (429, "rate_limited")

        with httpx.Client(base_url=service.url) as other:
            other.put("api/v1/timelines/t/uploads/a", content=slow_body())
        assert service.get("api/v1/timelines").status_code == 200


def test_event_streams_beyond_limit_are_refused(cache: FrameCache) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(event_streams=1))) as service,
        service.client.stream("GET", "api/v1/events"),
    ):
        answer = service.get("api/v1/events")
    assert problem_of(answer) == (429, "rate_limited")


@pytest.mark.parametrize("path", ["api/v1/timelines/t/extract", "api/v1/session"])
def test_too_large_body_is_refused(cache: FrameCache, path: str) -> None:
    with serving(cache, ServiceSettings(limits=Limits(body_bytes=1000))) as service:
        announced = service.client.post(path, content=b" " * 1001)
        chunked = service.client.post(
            path,
            content=iter([b" " * 600] * 2),
            headers={"Content-Type": "application/json"},
        )
    assert problem_of(announced) == (413, "too_large")
    assert problem_of(chunked) == (413, "too_large")


@contextmanager
def begun(service: Service, method: str, path: str, *headers: str) -> Iterator[socket.socket]:
    """Send the headers of a request whose announced body is never sent."""
    parts = urlsplit(service.url)
    lines = [f"{method} /{path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Length: 100", *headers]
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        yield connection


def test_stalled_unauthenticated_requests_block_neither_login_nor_page_nor_tokens(
    cache: FrameCache,
) -> None:
    limits = Limits(requests_at_once=1, unauthenticated_at_once=1)
    with (
        serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        ExitStack() as held,
    ):
        for _ in range(36):
            held.enter_context(begun(service, "POST", "api/v1/session"))
        until(lambda: open_connections(service) > 36)
        assert service.get("").status_code == 200
        assert service.client.post("api/v1/session", json={"token": READ}).status_code == 200
        assert service.get("api/v1/timelines", headers=bearer(READ)).status_code == 200


def test_disconnect_within_a_body_is_not_a_failure(
    guarded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with begun(guarded, "POST", "api/v1/session"):
        pass
    until(lambda: "/api/v1/session" in [line["path"] for line in logged(caplog)])
    assert "request failed" not in caplog.messages


def open_connections(service: Service) -> int:
    """Return the number of connections to the service, including the client's own."""
    text = service.get("metrics", headers=bearer(READ)).text
    found = re.search(r"^framecache_open_connections (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_one_client_cannot_take_all_event_streams(cache: FrameCache) -> None:
    limits = Limits(event_streams=2, event_streams_of_one_client=1)
    with (
        serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        service.client.stream("GET", "api/v1/events", headers=bearer(READ)),
    ):
        assert problem_of(service.get("api/v1/events", headers=bearer(READ))) == (
            429,
            "rate_limited",
        )
        with service.client.stream("GET", "api/v1/events", headers=bearer(WRITE)) as other:
            assert other.status_code == 200


def test_one_token_on_many_addresses_cannot_take_all_event_streams(
    cache: FrameCache,
) -> None:
    limits = Limits(event_streams=4, event_streams_of_one_client=1)
    with (
        serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        ExitStack() as held,
    ):

        def listen(address: str, token: str) -> int:
            transport = httpx.HTTPTransport(local_address=address)
            client = held.enter_context(httpx.Client(transport=transport, timeout=60))
            url = f"{service.url}api/v1/events"
            return held.enter_context(client.stream("GET", url, headers=bearer(token))).status_code

        taken = [listen(f"127.0.0.{number}", READ) for number in (1, 2, 3, 4)]
        assert taken == [200, 200, 429, 429]
        assert listen("127.0.0.5", WRITE) == 200


def test_one_address_with_many_tokens_cannot_take_all_slots() -> None:
    places = ConcurrencyLimit(8, "Full.", max_per_client=2)
    with ExitStack() as held:
        for token in "abc":
            for _ in range(2):
                held.enter_context(places.slot(Client(token, "192.0.2.1")))
        with pytest.raises(ProblemError):
            held.enter_context(places.slot(Client("d", "192.0.2.1")))
        held.enter_context(places.slot(Client("d", "192.0.2.2")))
        assert len(places) == 7
    assert len(places) == 0


def test_ipv6_addresses_of_one_64_bit_prefix_are_one_client() -> None:
    assert client_network("2001:db8:0:1::1") == client_network("2001:db8:0:1:ffff::2")
    assert client_network("2001:db8:0:1::1") != client_network("2001:db8:0:2::1")
    assert client_network("::ffff:192.0.2.1") == client_network("192.0.2.1") == "192.0.2.1"


def test_wrong_tokens_of_one_ipv6_prefix_are_counted_together(guarded: Service) -> None:
    for number in range(30):
        guarded.inside.record_auth_failure(f"2001:db8:0:1::{number:x}")
    with pytest.raises(ProblemError):
        guarded.inside.check_auth_failures("2001:db8:0:1:ffff::")
    guarded.inside.check_auth_failures("2001:db8:0:2::1")


def test_limits_fitted_to_connections_leave_some_for_others() -> None:
    few = Limits().fit_to_connections(128)
    assert few.requests_at_once + few.event_streams < 128
    assert few.requests_of_one_client < few.requests_at_once
    assert few.event_streams_of_one_client < few.event_streams
    assert Limits().fit_to_connections(768) == Limits()


def test_one_client_cannot_take_all_uploads(cache: FrameCache) -> None:
    limits = Limits(uploads_at_once=2, uploads_of_one_client=1)
    tokens = Tokens(write=[WRITE, OTHER])

    def put(name: str, token: str, content: Iterator[bytes] | bytes = b"a") -> httpx.Response:
        path = f"api/v1/timelines/t/uploads/{name}"
        return service.client.put(path, headers=bearer(token), content=content)

    def slow_body() -> Iterator[bytes]:
        yield b"a"
        until(lambda: service.inside.upload_limit)
        assert problem_of(put("b", WRITE)) == (429, "rate_limited")
        assert put("c", OTHER).status_code == 201

    with serving(cache, ServiceSettings(tokens=tokens, limits=limits)) as service:
        assert put("a", WRITE, slow_body()).status_code == 201


def test_one_client_cannot_take_all_listings(local_url: str) -> None:
    limits = Limits(listings_at_once=2, listings_of_one_client=1)
    begun, ended = threading.Event(), threading.Event()

    def hang_once(_: Action, key: str) -> None:
        if key == "cache/timelines/" and not begun.is_set():
            begun.set()
            assert ended.wait(60)

    store = HookedStore(FrameCache(local_url).store, before=hang_once)
    with (
        serving(over(store), ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(service.get, "api/v1/timelines", headers=bearer(READ))
        assert begun.wait(60)
        try:
            assert problem_of(service.get("api/v1/timelines", headers=bearer(READ)))[0] == 429
            assert service.get("api/v1/timelines", headers=bearer(WRITE)).status_code == 200
        finally:
            ended.set()
        assert slow.result().status_code == 200


def test_one_client_cannot_take_all_requests(cache: FrameCache) -> None:
    limits = Limits(requests_at_once=2, requests_of_one_client=1)
    authorization = f"Authorization: Bearer {WRITE}"
    with (
        serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        begun(service, "PUT", "api/v1/timelines/t/overlays/j/s/0/a.png", authorization),
    ):
        until(lambda: service.get("api/v1/tasks", headers=bearer(WRITE)).status_code == 429)
        assert service.get("api/v1/tasks", headers=bearer(READ)).status_code == 200


def test_health_check_of_full_service_succeeds(cache: FrameCache) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(requests_at_once=1))) as service,
        begun(service, "PUT", "api/v1/timelines/t/overlays/j/s/0/a.png"),
    ):
        until(lambda: service.get("api/v1/timelines").status_code == 429)
        assert service.get("healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "api/v1/session", "application/json"),
        ("PUT", "api/v1/timelines/t/overlays/j/s/0/a.png", "image/png"),
    ],
)
def test_body_that_does_not_arrive_times_out(
    cache: FrameCache, method: str, path: str, kind: str
) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(body_seconds=0.05))) as service,
        begun(service, method, path, f"Content-Type: {kind}") as connection,
    ):
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_get_with_too_large_content_length_is_refused(open_service: Service) -> None:
    parts = urlsplit(open_service.url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as one:
        one.putrequest("GET", "/api/v1/timelines")
        one.putheader("Content-Length", str(10**12))
        one.endheaders()
        assert one.getresponse().status == 413


def test_too_large_session_body_is_refused(guarded: Service) -> None:
    body = {"token": "a" * 4096}
    assert problem_of(guarded.client.post("api/v1/session", json=body)) == (413, "too_large")


def test_concurrent_bodies_beyond_total_size_are_refused(cache: FrameCache) -> None:
    path, block = "api/v1/timelines/t/overlays/j/s/0/a.png", b"a" * 600
    with serving(cache, ServiceSettings(limits=Limits(total_body_bytes=1000))) as service:

        def slow_body() -> Iterator[bytes]:
            yield block
            until(lambda: service.client.put(path, content=block).status_code == 429)

        with httpx.Client(base_url=service.url) as other:
            other.put(path, content=slow_body())
        assert problem_of(service.client.put(path, content=block)) == (422, "invalid_value")


def test_negative_content_length_is_refused(open_service: Service) -> None:
    parts = urlsplit(open_service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.putrequest("POST", "/api/v1/session")
    connection.putheader("Content-Length", "-1")
    connection.endheaders()
    assert connection.getresponse().status in {400, 413}
    connection.close()


def test_requests_are_logged_without_tokens_and_queries(
    cache: FrameCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serving(cache, ServiceSettings(tokens=TOKENS)) as guarded:
        guarded.get(f"api/v1/timelines?q={WRITE}", headers=bearer(WRITE))
        guarded.client.post("api/v1/session", json={"token": WRITE})
    lines = [vars(record) for record in caplog.records if record.name.startswith("framecache")]
    assert any(line["message"] == "request" for line in lines)
    assert WRITE not in json.dumps(lines, default=str)


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the fields of the log lines of all requests of a stopped service.

    A line is logged after its response was sent.
    """
    return [vars(one)["fields"] for one in caplog.records if one.name == "framecache.server.access"]


def test_client_request_id_is_replaced_in_response_and_log(
    cache: FrameCache,
) -> None:
    def fail(action: Action, _: str) -> None:
        if action == "get":
            raise StoreUnavailable("down")

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("framecache")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with serving(over(HookedStore(cache.store, before=fail))) as service:
            answers = [
                service.get("api/v1/timelines/t/frames/0.jpg", headers=headers)
                for headers in ({}, {"X-Request-ID": "chosen"})
            ]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(one) == 1 and re.fullmatch("[0-9a-f]{16}", one[0]) for one in ids)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["request failed", "request"] * 2
    assert [line["request_id"] for line in lines] == [one[0] for one in ids for _ in range(2)]


def test_long_path_is_truncated_in_log(cache: FrameCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with serving(cache, ServiceSettings(tokens=TOKENS)) as guarded:
        assert guarded.get("a" * 5000).status_code == 401
    (line,) = logged(caplog)
    assert line["path"] == f"/{'a' * 255}…"


@pytest.mark.parametrize("target", ["a" * 9000, f"?q={'a' * 9000}"])
def test_too_long_request_target_is_refused(guarded: Service, target: str) -> None:
    assert problem_of(guarded.get(target)) == (414, "too_long")


def test_rate_limited_requests_are_logged_once_a_minute(
    cache: FrameCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    limits = Limits(requests_per_second=0.001)
    with serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service:
        assert {service.get("healthz").status_code for _ in range(20)} == {429}
    assert [line["status"] for line in logged(caplog)] == [429]


def test_metrics_count_requests_by_route(open_service: Service) -> None:
    open_service.get("api/v1/timelines/t")
    open_service.get("api/v1/timelines/none")
    text = open_service.get("metrics").text
    for status in (200, 404):
        labels = f'method="GET",route="/api/v1/timelines/{{timeline_id}}",status="{status}"'
        assert f"framecache_http_requests_total{{{labels}}} 1.0" in text


def test_metrics_leave_out_seconds_of_event_streams(open_service: Service) -> None:
    with open_service.client.stream("GET", "api/v1/events") as stream:
        assert stream.status_code == 200
    counted = 'http_requests_total{method="GET",route="/api/v1/events",status="200"}'
    until(lambda: counted in open_service.get("metrics").text)
    assert 'seconds_count{route="/api/v1/events"}' not in open_service.get("metrics").text


def test_metrics_count_unknown_methods_as_other(open_service: Service) -> None:
    for method in ("BREW", "WHEN"):
        open_service.client.send(httpx.Request(method, f"{open_service.url}healthz"))
    text = open_service.get("metrics").text
    assert set(re.findall(r'requests_total{method="(\w+)"', text)) == {"other"}


def test_api_reference_names_every_operation_and_loads_nothing_external(
    open_service: Service,
) -> None:
    page = open_service.get("docs").text
    for path in open_service.json("api/v1/openapi.json")["paths"]:
        assert path in page
    assert "<script" not in page
    assert re.findall(r'(?:href|src)="(\w+:|//)', page) == []


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store a built viewer in the folder from which the service serves it."""
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>viewer</title>")
    monkeypatch.setattr("framecache.server.app.VIEWER_FOLDER", folder)
    return folder


def test_built_viewer_is_served_without_other_files(cache: FrameCache, viewer: Path) -> None:
    (viewer / "assets" / "a.js").write_text("1")
    (viewer / "secret").write_text("not an asset")
    with serving(cache, ServiceSettings(tokens=TOKENS)) as service:
        assert "viewer" in service.get("?timeline=t").text
        assert service.get("assets/a.js").headers["content-type"].startswith("text/javascript")
        for path in ("assets/../secret", "assets/%2e%2e/secret", "assets//etc/passwd", "secret"):
            assert service.get(path).status_code in {401, 404}
        assert service.get("assets/").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/frames"])
def test_service_answers_below_its_root_path(cache: FrameCache, viewer: Path, prefix: str) -> None:
    (viewer / "assets" / "a.js").write_text("1")
    settings = ServiceSettings(root_path="/frames", tokens=TOKENS)
    with serving(cache, settings) as service:
        base = f"{service.url.rstrip('/')}{prefix}/"
        assert httpx.get(f"{base}api/v1/timelines").status_code == 401
        for public in ("", "healthz", "assets/a.js"):
            assert httpx.get(f"{base}{public}").status_code == 200
        answer = httpx.post(f"{base}api/v1/session", json={"token": READ})
        assert "Path=/frames;" in answer.headers["set-cookie"] + ";"
        listed = httpx.get(f"{base}api/v1/timelines", headers=bearer(READ)).json()
    assert [one["timeline_id"] for one in listed["timelines"]] == ["t"]


def test_trailing_slash_is_not_found(open_service: Service) -> None:
    assert problem_of(open_service.get("api/v1/timelines/")) == (404, "not_found")


@pytest.mark.parametrize("path", ["", "healthz", *READS, "api/v1/timelines/none", "nothing"])
def test_head_has_the_headers_of_get_and_no_body(open_service: Service, path: str) -> None:
    answers = [open_service.client.request(method, path) for method in ("GET", "HEAD")]
    changing = {"date", "x-request-id", *(["content-length"] if path == "metrics" else [])}
    headers = [
        {name: value for name, value in answer.headers.items() if name not in changing}
        for answer in answers
    ]
    assert headers[0] == headers[1]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].content
    assert not answers[1].content


def test_head_of_events_is_not_allowed(open_service: Service) -> None:
    assert open_service.client.head("api/v1/events").status_code == 405


def test_head_needs_a_token_where_get_does(guarded: Service) -> None:
    for path in ("api/v1/session", "api/v1/timelines", "metrics"):
        assert guarded.client.head(path).status_code == 401


def test_concurrent_requests_have_equal_responses(open_service: Service) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: open_service.get("api/v1/timelines/t").content, range(64))
        )
    assert len(set(answers)) == 1
