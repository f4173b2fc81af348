"""Who may do what, from where, how often and how much at once."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from served import READ, WRITE, Service, problem_of, serving, until

from framecache import Frame, FrameCache, InvalidValue
from framecache.http import Limits, ServiceSettings, Tokens

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "api/timelines/t/extract", {"json": {"chunks": ["upload:a"]}}),
    ("PUT", "api/timelines/t/uploads/a", {"content": b"a"}),
    ("POST", "api/timelines/t/rebuild", {}),
    ("POST", "api/timelines/t/clear", {}),
    ("POST", "api/timelines/t/verify", {}),
    ("DELETE", "api/timelines/t", {}),
    ("PUT", "api/timelines/t/overlays/j/s/0", {"json": {"a": ""}}),
    ("DELETE", "api/timelines/t/overlays/j/s/0", {}),
    ("PUT", "api/timelines/t/overlays/j/s/0/a.png", {"content": b"a"}),
    ("DELETE", "api/timelines/t/overlays/j/s/0/a.png", {}),
    ("DELETE", "api/timelines/t/overlays/j/s", {}),
    ("DELETE", "api/tasks/20260101T000000000000-0123456789abcdef", {}),
]
READS = ["api/timelines", "api/timelines/t", "api/timelines/t/frames/0.jpg", "api/tasks", "metrics"]
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
def test_nothing_is_read_without_a_token(guarded: Service, path: str) -> None:
    answer = guarded.get(path)
    assert problem_of(answer) == (401, "no_access")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("token", [READ, WRITE])
def test_either_token_reads(guarded: Service, path: str, token: str) -> None:
    assert guarded.get(path, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(("method", "path", "given"), WRITES)
def test_nothing_is_changed_without_a_token_that_may(
    guarded: Service, method: str, path: str, given: dict[str, Any]
) -> None:
    assert problem_of(guarded.client.request(method, path, **given)) == (401, "no_access")
    answer = guarded.client.request(method, path, headers=bearer(READ), **given)
    assert problem_of(answer) == (403, "no_write")


@pytest.mark.parametrize(("method", "path", "given"), WRITES)
def test_a_service_that_only_reads_changes_nothing(
    cache: FrameCache, method: str, path: str, given: dict[str, Any]
) -> None:
    with serving(cache, ServiceSettings(read_only=True)) as service:
        answer = service.client.request(method, path, **given)
        assert problem_of(answer) == (403, "read_only")


@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Basic {WRITE}", f"Bearer {WRITE}x", "Bearer \xff" * 9]
)
def test_what_is_no_token_opens_nothing(guarded: Service, header: str) -> None:
    answer = guarded.get("api/timelines", headers={"Authorization": header.encode("latin-1")})
    assert problem_of(answer) == (401, "no_access")


def test_health_and_the_page_need_no_token(guarded: Service) -> None:
    assert guarded.json("healthz") == {"status": "ok"}
    assert guarded.get("").status_code == 200


def test_a_cookie_stands_for_a_token(guarded: Service) -> None:
    answer = guarded.client.post("api/session", json={"token": READ})
    assert answer.json()["scopes"] == ["read"]
    attributes = answer.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes
    assert guarded.get("api/timelines").status_code == 200
    assert problem_of(guarded.client.post("api/timelines/t/clear")) == (403, "no_write")
    assert guarded.client.delete("api/session").status_code == 204
    assert guarded.get("api/timelines").status_code == 401


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "a b=c", "=", "x", 'open="'])
def test_cookies_of_others_hide_none_of_this_service(guarded: Service, other: str) -> None:
    value = TOKENS.session(READ)
    headers = {"Cookie": f"{other}; framecache_session={value}; {other}"}
    assert guarded.get("api/timelines", headers=headers).status_code == 200


@pytest.mark.parametrize("spoilt", ["", "x", "1.2.3", "{}x", "9{}"])
def test_a_cookie_that_was_made_up_opens_nothing(guarded: Service, spoilt: str) -> None:
    answer = guarded.client.post("api/session", json={"token": WRITE})
    value = answer.cookies["framecache_session"]
    guarded.client.cookies.clear()
    headers = {"Cookie": f"framecache_session={spoilt.format(value)}"}
    assert guarded.get("api/timelines", headers=headers).status_code == 401


def test_a_cookie_ends_with_its_token(guarded: Service, cache: FrameCache) -> None:
    value = guarded.client.post("api/session", json={"token": WRITE}).cookies["framecache_session"]
    headers = {"Cookie": f"framecache_session={value}"}
    for tokens, status in ((Tokens(write=[WRITE]), 200), (Tokens(write=[READ]), 401)):
        with serving(cache, ServiceSettings(tokens=tokens)) as other:
            assert other.get("api/timelines", headers=headers).status_code == status


def test_a_wrong_token_begins_no_session(guarded: Service) -> None:
    answer = guarded.client.post("api/session", json={"token": "wrong" * 5})
    assert problem_of(answer) == (401, "bad_token")
    assert "set-cookie" not in answer.headers


def guess(service: Service, way: str, token: str) -> int:
    """The status that one of the ways to show a token is answered with."""
    if way == "session":
        return service.client.post("api/session", json={"token": token}).status_code
    if way == "cookie":
        cookie = Tokens(write=[token]).session(token)
        headers = {"Cookie": f"framecache_session={cookie}"}
    else:
        headers = bearer(token)
    return service.get("api/timelines", headers=headers).status_code


@pytest.mark.parametrize("way", ["session", "bearer", "cookie"])
def test_guessing_tokens_has_to_wait_even_for_the_right_one(cache: FrameCache, way: str) -> None:
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(refusals_per_minute=3))
    with serving(cache, settings) as service:
        assert [guess(service, way, f"{'wrong' * 5}{one}") for one in range(3)] == [401] * 3
        assert guess(service, way, WRITE) == 429


def test_a_cookie_whose_time_is_over_is_no_guess(
    cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("framecache.http.tokens.SESSION_SECONDS", -10)
        headers = {"Cookie": f"framecache_session={TOKENS.session(WRITE)}"}
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(refusals_per_minute=1))
    with serving(cache, settings) as service:
        for _ in range(3):
            assert service.get("api/timelines", headers=headers).status_code == 401
        assert service.get("api/timelines", headers=bearer(WRITE)).status_code == 200


def test_asking_without_a_token_too_often_has_to_wait(cache: FrameCache) -> None:
    settings = ServiceSettings(tokens=TOKENS, limits=Limits(requests_per_second=1))
    with serving(cache, settings) as service:
        assert service.get("api/timelines").status_code == 401
        until(lambda: service.get("api/timelines").status_code == 429)
        assert service.get("api/timelines", headers=bearer(READ)).status_code == 200


@pytest.mark.parametrize("token", ["short", "a" * 15, "has a space in it, this one", "ä" * 20])
def test_what_is_easily_guessed_cannot_be_a_token(token: str) -> None:
    with pytest.raises(InvalidValue, match="a token is"):
        Tokens(write=[token])


def test_a_token_cannot_both_write_and_only_read() -> None:
    with pytest.raises(InvalidValue, match="make another"):
        Tokens(write=[READ, WRITE], read=[READ])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_a_name_that_was_made_to_lead_here_is_refused(open_service: Service, host: str) -> None:
    for path in ("", "api/timelines", "healthz"):
        answer = open_service.get(path, headers={"Host": host})
        assert problem_of(answer) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:9"])
def test_loopback_names_are_accepted(open_service: Service, host: str) -> None:
    assert open_service.get("api/timelines", headers={"Host": host}).status_code == 200


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
def test_a_page_elsewhere_changes_nothing(
    open_service: Service, headers: dict[str, str], method: str, path: str, given: dict[str, Any]
) -> None:
    answer = open_service.client.request(method, path, headers=headers, **given)
    assert problem_of(answer) == (403, "other_origin")


def test_a_page_of_this_service_may_change_things(open_service: Service) -> None:
    parts = urlsplit(open_service.url)
    headers = {"Origin": f"http://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
    answer = open_service.client.post("api/timelines/t/clear", headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("path", ["", "docs", "docs.css", *READS, "nothing", "api/timelines/..%2f"])
def test_every_answer_says_how_a_browser_is_to_treat_it(open_service: Service, path: str) -> None:
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


def test_who_asks_too_often_is_told_when_to_come_back(cache: FrameCache) -> None:
    settings = ServiceSettings(limits=Limits(requests_per_second=0.1))
    with serving(cache, settings) as service:
        service.get("healthz")
        answer = service.get("healthz")
    assert problem_of(answer) == (429, "too_many")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_more_requests_at_once_than_allowed_are_refused(cache: FrameCache) -> None:
    with serving(cache, ServiceSettings(limits=Limits(requests_at_once=1))) as service:

        def slow_body() -> Iterator[bytes]:
            yield b"a"
            assert problem_of(service.get("api/timelines")) == (429, "too_many")

        with httpx.Client(base_url=service.url) as other:
            other.put("api/timelines/t/uploads/a", content=slow_body())
        assert service.get("api/timelines").status_code == 200


def test_more_streams_of_events_than_allowed_are_refused(cache: FrameCache) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(event_streams=1))) as service,
        service.client.stream("GET", "api/events"),
    ):
        answer = service.get("api/events")
    assert problem_of(answer) == (429, "too_many")


@pytest.mark.parametrize("path", ["api/timelines/t/extract", "api/session"])
def test_a_body_that_is_too_large_is_refused(cache: FrameCache, path: str) -> None:
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
    """A request whose body is announced, and never comes."""
    parts = urlsplit(service.url)
    lines = [f"{method} /{path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Length: 100", *headers]
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        yield connection


def test_strangers_that_stand_about_keep_nobody_with_a_token_out(cache: FrameCache) -> None:
    limits = Limits(requests_at_once=1, strangers_at_once=1)
    with (
        serving(cache, ServiceSettings(tokens=TOKENS, limits=limits)) as service,
        begun(service, "POST", "api/session"),
    ):
        until(lambda: service.get("").status_code == 429)
        assert service.get("api/timelines", headers=bearer(READ)).status_code == 200


def test_a_full_service_still_says_that_it_is_alive(cache: FrameCache) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(requests_at_once=1))) as service,
        begun(service, "PUT", "api/timelines/t/overlays/j/s/0/a.png"),
    ):
        until(lambda: service.get("api/timelines").status_code == 429)
        assert service.get("healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "api/session", "application/json"),
        ("PUT", "api/timelines/t/overlays/j/s/0/a.png", "image/png"),
    ],
)
def test_a_body_that_does_not_come_is_given_up(
    cache: FrameCache, method: str, path: str, kind: str
) -> None:
    with (
        serving(cache, ServiceSettings(limits=Limits(body_seconds=0.05))) as service,
        begun(service, method, path, f"Content-Type: {kind}") as connection,
    ):
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_what_begins_a_session_is_small(guarded: Service) -> None:
    body = {"token": "a" * 4096}
    assert problem_of(guarded.client.post("api/session", json=body)) == (413, "too_large")


def test_bodies_together_are_bounded(cache: FrameCache) -> None:
    path, block = "api/timelines/t/overlays/j/s/0/a.png", b"a" * 600
    with serving(cache, ServiceSettings(limits=Limits(bodies_bytes=1000))) as service:

        def slow_body() -> Iterator[bytes]:
            yield block
            until(lambda: service.client.put(path, content=block).status_code == 429)

        with httpx.Client(base_url=service.url) as other:
            other.put(path, content=slow_body())
        assert problem_of(service.client.put(path, content=block)) == (422, "invalid_value")


def test_a_length_that_is_none_ends_the_request(open_service: Service) -> None:
    parts = urlsplit(open_service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.putrequest("POST", "/api/session")
    connection.putheader("Content-Length", "-1")
    connection.endheaders()
    assert connection.getresponse().status in {400, 413}
    connection.close()


def test_requests_are_logged_without_tokens_and_queries(
    guarded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    guarded.get(f"api/timelines?q={WRITE}", headers=bearer(WRITE))
    guarded.client.post("api/session", json={"token": WRITE})
    lines = [vars(record) for record in caplog.records if record.name.startswith("framecache")]
    assert any(line["message"] == "request" for line in lines)
    assert WRITE not in json.dumps(lines, default=str)


def test_metrics_count_requests_by_route(open_service: Service) -> None:
    open_service.get("api/timelines/t")
    open_service.get("api/timelines/none")
    text = open_service.get("metrics").text
    for status in (200, 404):
        labels = f'method="GET",route="/api/timelines/{{timeline_id}}",status="{status}"'
        assert f"framecache_http_requests_total{{{labels}}} 1.0" in text


def test_methods_that_are_made_up_count_as_one(open_service: Service) -> None:
    for method in ("BREW", "WHEN"):
        open_service.client.send(httpx.Request(method, f"{open_service.url}healthz"))
    text = open_service.get("metrics").text
    assert set(re.findall(r'requests_total{method="(\w+)"', text)) == {"other"}


def test_the_reference_names_every_operation_and_loads_nothing_from_elsewhere(
    open_service: Service,
) -> None:
    page = open_service.get("docs").text
    for path in open_service.json("api/openapi.json")["paths"]:
        assert path in page
    assert "<script" not in page
    assert re.findall(r'(?:href|src)="(\w+:|//)', page) == []


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service finds a viewer that is built."""
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>viewer</title>")
    monkeypatch.setattr("framecache.http.page.VIEWER", folder)
    return folder


def test_a_viewer_is_served_where_it_is_built(cache: FrameCache, viewer: Path) -> None:
    (viewer / "assets" / "a.js").write_text("1")
    (viewer / "secret").write_text("not an asset")
    with serving(cache, ServiceSettings(tokens=TOKENS)) as service:
        assert "viewer" in service.get("?timeline=t").text
        assert service.get("assets/a.js").headers["content-type"].startswith("text/javascript")
        for path in ("assets/../secret", "assets/%2e%2e/secret", "assets//etc/passwd", "secret"):
            assert service.get(path).status_code in {401, 404}
        assert service.get("assets/").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/frames"])
def test_a_service_answers_below_the_path_of_a_proxy(
    cache: FrameCache, viewer: Path, prefix: str
) -> None:
    (viewer / "assets" / "a.js").write_text("1")
    settings = ServiceSettings(root_path="/frames", tokens=TOKENS)
    with serving(cache, settings) as service:
        base = f"{service.url.rstrip('/')}{prefix}/"
        assert httpx.get(f"{base}api/timelines").status_code == 401
        for public in ("", "healthz", "assets/a.js"):
            assert httpx.get(f"{base}{public}").status_code == 200
        answer = httpx.post(f"{base}api/session", json={"token": READ})
        assert "Path=/frames;" in answer.headers["set-cookie"] + ";"
        listed = httpx.get(f"{base}api/timelines", headers=bearer(READ)).json()
    assert [one["timeline_id"] for one in listed["timelines"]] == ["t"]


def test_a_slash_too_many_leads_nowhere(open_service: Service) -> None:
    assert problem_of(open_service.get("api/timelines/")) == (404, "not_found")


@pytest.mark.parametrize("path", ["", "healthz", *READS, "api/timelines/none", "nothing"])
def test_head_is_answered_as_get_without_the_body(open_service: Service, path: str) -> None:
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


def test_head_of_the_events_ends(open_service: Service) -> None:
    assert open_service.client.head("api/events").status_code == 405


def test_head_needs_a_token_where_get_does(guarded: Service) -> None:
    for path in ("api/session", "api/timelines", "metrics"):
        assert guarded.client.head(path).status_code == 401


def test_requests_at_once_are_answered_alike(open_service: Service) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: open_service.get("api/timelines/t").content, range(64)))
    assert len(set(answers)) == 1
