"""``framecache serve`` as a process: where it listens, what it refuses, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from command_line import DEADLINE_SECONDS, clip, command, run, spawn

TOKEN = "a-token-that-may-read-and-write"
SNAPSHOT = Path(__file__).parents[1] / "http" / "openapi.json"


@contextmanager
def served(*arguments: str | Path, **env: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL at which a service answers, in a process of its own, and the process."""
    process = subprocess.Popen(
        command("serve", "--port", "0", *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    )
    try:
        assert process.stderr is not None
        announced = next(line for line in process.stderr if line.startswith("framecache: serving"))
        yield announced.split(" at ")[1].strip(), process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """With a timeline, ``t``."""
    folder = tmp_path / "cache"
    run("extract", "t", clip(), "--every", "10", "--cache", folder).succeeded()
    return folder


def test_it_serves_on_loopback_until_it_is_interrupted(cache: Path) -> None:
    with served("--cache", cache) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        answer = httpx.get(f"{url}api/timelines")
        assert [one["timeline_id"] for one in answer.json()["timelines"]] == ["t"]
        assert "server" not in answer.headers
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 130
    assert "Traceback" not in errors


def test_it_opens_a_browser_where_there_is_a_screen(cache: Path, tmp_path: Path) -> None:
    browser, told = tmp_path / "browser", tmp_path / "told"
    os.mkfifo(told)
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o755)
    screen = {"BROWSER": str(browser), "DISPLAY": ":99"}
    with served("--cache", cache, "--open", **screen) as (address, _):
        assert told.read_text().strip() == address


def test_one_client_may_be_held_to_few_requests(cache: Path) -> None:
    with served("--cache", cache, "--requests-per-second", "1") as (address, _):
        statuses = [httpx.get(f"{address}healthz").status_code for _ in range(5)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_listeners_to_events_do_not_keep_it_from_ending(cache: Path) -> None:
    with (
        served("--cache", cache) as (url, process),
        httpx.stream("GET", f"{url}api/events") as events,
    ):
        assert events.status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


def test_its_log_is_json_without_tokens_and_queries(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the viewer\n{TOKEN}\n")
    with served("--cache", cache, "--token-file", file) as (url, process):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}api/timelines").status_code == 401
        assert httpx.get(f"{url}api/timelines?q={TOKEN}", headers=headers).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in requests] == [401, 200]
    assert all(line["path"] == "/api/timelines" for line in requests)
    assert TOKEN not in errors


def test_tokens_come_from_the_environment_too(cache: Path) -> None:
    with served("--cache", cache, FRAMECACHE_SERVE_READ_TOKEN=TOKEN) as (url, _):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}api/session", headers=headers).json()["scopes"] == ["read"]
        assert httpx.get(f"{url}api/session").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "warnings"),
    [
        (["--allow-host", "frames.example.org"], 1),
        (["--allow-host", "frames.example.org", "--trusted-proxy", "127.0.0.1"], 0),
        ([], 0),
    ],
)
def test_a_proxy_that_is_not_trusted_is_warned_of(
    cache: Path, arguments: list[str], warnings: int
) -> None:
    # The port is taken, so it ends as soon as it has said what it has to.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = subprocess.run(
            command("serve", "--port", port, "--cache", cache, *arguments),
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"FRAMECACHE_SERVE_TOKEN": TOKEN},
        )
    assert port in process.stderr
    assert process.stderr.count("--trusted-proxy") == warnings


def test_a_cookie_is_secure_where_a_trusted_proxy_ends_tls(cache: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    for arguments, is_secure in ((["--trusted-proxy", "127.0.0.1"], True), ([], False)):
        with served("--cache", cache, *arguments, FRAMECACHE_SERVE_TOKEN=TOKEN) as (url, _):
            answer = httpx.post(f"{url}api/session", json={"token": TOKEN}, headers=forwarded)
        assert ("; secure" in answer.headers["set-cookie"].lower()) == is_secure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_what_others_reach_needs_a_token(cache: Path, host: str) -> None:
    message = spawn("serve", "--host", host, "--cache", cache).failed(2)
    assert "--token-file" in message


@pytest.mark.parametrize(
    "content", ["", "# none\n", "short\n", "two words in one line\n", "ä" * 20]
)
def test_a_file_without_a_good_token_is_refused(cache: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    spawn("serve", "--cache", cache, "--token-file", file).failed(2)


def test_a_file_of_tokens_that_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    message = spawn("serve", "--cache", cache, "--token-file", tmp_path / "none").failed(1)
    assert "No such file" in message


@pytest.mark.parametrize(
    "arguments",
    [("--allow-chunks", "http://a/b"), ("--root-path", "a b"), ("--port", "70000")],
)
def test_settings_that_cannot_be_are_refused(cache: Path, arguments: tuple[str, str]) -> None:
    spawn("serve", "--cache", cache, *arguments).failed(2)


def test_a_port_that_is_taken_is_named(cache: Path) -> None:
    with served("--cache", cache) as (url, _):
        port = url.rstrip("/").rpartition(":")[2]
        message = spawn("serve", "--cache", cache, "--port", port).failed(2)
    assert port in message


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)  # as if it were not there
    message = run("serve", "--cache", "memory://").failed(1)
    assert "pip install 'framecache[server]'" in message


def test_it_prints_what_it_offers() -> None:
    assert run("serve", "--print-openapi").succeeded().text == SNAPSHOT.read_text()
