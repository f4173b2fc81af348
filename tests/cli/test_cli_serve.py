"""``framecache serve`` as a process: its addresses, refusals and shutdown."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from command_line import DEADLINE_SECONDS, Terminal, clip, command, run

TOKEN = "a-token-that-may-read-and-write"
SNAPSHOT = Path(__file__).parents[1] / "server" / "openapi.json"


def served(
    *arguments: str | Path, **env: str
) -> AbstractContextManager[tuple[str, subprocess.Popen[str]]]:
    """Run a service in a separate process; yield its URL and the process."""
    return served_at_its_port("--port", "0", *arguments, **env)


@contextmanager
def served_at_its_port(
    *arguments: str | Path, **env: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a service at the port that the arguments name."""
    process = subprocess.Popen(
        command("serve", *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    )
    with running(process) as url:
        yield url, process


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the URL that a process announces; kill the process at the end."""
    try:
        assert process.stderr is not None
        announced = next(line for line in process.stderr if line.startswith("framecache: Serving"))
        yield announced.split(" at ")[1].strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with a timeline, ``t``."""
    folder = tmp_path / "cache"
    run("extract", "t", clip(), "--every", "10", "--cache", folder).succeeded()
    return folder


def test_serve_listens_on_loopback_until_interrupted(cache: Path) -> None:
    with served("--cache", cache) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        answer = httpx.get(f"{url}api/v1/timelines")
        assert [one["timeline_id"] for one in answer.json()["timelines"]] == ["t"]
        assert "server" not in answer.headers
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 130
    assert "Traceback" not in errors


def test_serve_with_open_starts_the_browser(cache: Path, tmp_path: Path) -> None:
    browser, opened_url = tmp_path / "browser", tmp_path / "opened_url"
    os.mkfifo(opened_url)
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened_url}\n')
    browser.chmod(0o755)
    screen = {"BROWSER": str(browser), "DISPLAY": ":99"}
    with served("--cache", cache, "--open", **screen) as (address, _):
        assert opened_url.read_text().strip() == address


def test_requests_per_second_option_limits_a_client(cache: Path) -> None:
    with served("--cache", cache, "--requests-per-second", "1") as (address, _):
        statuses = [httpx.get(f"{address}healthz").status_code for _ in range(5)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_open_event_stream_does_not_delay_shutdown(cache: Path) -> None:
    with (
        served("--cache", cache) as (url, process),
        httpx.stream("GET", f"{url}api/v1/events") as events,
    ):
        assert events.status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


@contextmanager
def uploading(url: str, cache: Path) -> Iterator[socket.socket]:
    """Start an upload, and send only the beginning of its body."""
    parts = urlsplit(url)
    head = "PUT /api/v1/timelines/t/uploads/a.mp4 HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
        connection.sendall(b"a" * 10)
        until(lambda: files_below(cache / "service"))
        yield connection


def until(condition: Callable[[], object]) -> None:
    """Poll until another process has made a condition true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files_below(folder: Path) -> list[Path]:
    return [found for found in folder.rglob("*") if found.is_file()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_running_upload_is_aborted_at_shutdown_and_leaves_no_blob(
    cache: Path, number: signal.Signals
) -> None:
    with (
        served("--cache", cache, "--no-access-log") as (url, process),
        uploading(url, cache) as connection,
    ):
        process.send_signal(number)
        assert connection.recv(1) == b""
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert "Cancel" not in errors  # of the shutdown's grace period, which ended
    assert "Traceback" not in errors
    assert files_below(cache / "service") == files_below(cache / "uploads") == []


def test_upload_lease_of_killed_service_expires_after_a_minute(cache: Path) -> None:
    with served("--cache", cache) as (url, process), uploading(url, cache):
        process.kill()
        process.wait()
    with served("--cache", cache) as (url, _):
        upload = f"{url}api/v1/timelines/t/uploads/a.mp4"
        assert httpx.put(upload, content=b"a").json()["code"] == "upload_exists"
        (lease_file,) = files_below(cache / "service")
        made_at = lease_file.stat().st_mtime
        os.utime(lease_file, (made_at - 61, made_at - 61))
        assert httpx.put(upload, content=b"a").status_code == 201
    assert files_below(cache / "service") == []


def test_service_in_the_background_ignores_ctrl_c(cache: Path) -> None:
    command_line = shlex.join(command("serve", "--port", "0", "--cache", cache))
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"trap '' INT; exec {command_line}"], stderr=subprocess.PIPE, text=True
    )
    with running(process) as url:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)  # it ended within the grace period
        assert httpx.get(f"{url}healthz").status_code == 200


def test_serve_log_is_json_without_tokens_and_queries(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the viewer\n{TOKEN}\n")
    with served("--cache", cache, "--token-file", file) as (url, process):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}api/v1/timelines").status_code == 401
        assert httpx.get(f"{url}api/v1/timelines?q={TOKEN}", headers=headers).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in requests] == [401, 200]
    assert all(line["path"] == "/api/v1/timelines" for line in requests)
    assert TOKEN not in errors


def test_serve_on_a_terminal_prints_address_last_and_logs_no_requests(cache: Path) -> None:
    with Terminal(["serve", "--port", "0", "--cache", cache]) as terminal:
        address = address_on(terminal)
        assert httpx.get(f"{address}api/v1/timelines").status_code == 200
        terminal.interrupt()
        code, shown = terminal.end()
    assert code == 130
    before, _, after = shown.partition(address)
    assert "Press Ctrl-C to stop" in before
    assert after.strip() in {"", "framecache: Interrupted."}
    assert "{" not in shown


@pytest.mark.parametrize(
    ("arguments", "logged"),
    [
        (["--access-log"], "GET /api/v1/timelines 200"),
        (["--log", "json", "--access-log"], '"path": "/api/v1/timelines"'),
    ],
)
def test_serve_on_a_terminal_with_access_log_logs_requests(
    cache: Path, arguments: list[str], logged: str
) -> None:
    with Terminal(["serve", "--port", "0", "--cache", cache, *arguments]) as terminal:
        assert httpx.get(f"{address_on(terminal)}api/v1/timelines").status_code == 200
        terminal.wait_for(logged)


def test_serve_without_access_log_and_with_text_log_prints_nothing(cache: Path) -> None:
    with served("--cache", cache, "--log", "text", "--no-access-log") as (url, process):
        assert httpx.get(f"{url}api/v1/timelines").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert errors == ""


def test_half_open_connections_do_not_exhaust_file_descriptors(cache: Path) -> None:
    command_line = shlex.join(command("serve", "--port", "0", "--cache", cache))
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"ulimit -n 256; exec {command_line}"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FRAMECACHE_SERVE_TOKEN": TOKEN},
    )
    with running(process) as url, ExitStack() as held:
        parts = urlsplit(url)
        for _ in range(400):
            slow = socket.create_connection((parts.hostname, parts.port), timeout=60)
            held.enter_context(slow).sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}api/v1/timelines", headers=headers, timeout=60).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert errors.count("too many connections") == 1
    assert "out of system resource" not in errors


def test_open_shows_one_timeline_read_only(cache: Path, tmp_path: Path) -> None:
    browser, opened_url = tmp_path / "browser", tmp_path / "opened_url"
    os.mkfifo(opened_url)
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened_url}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        command("open", "t", "--frame", "2", "--cache", cache),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": str(browser), "DISPLAY": ":99"},
    )
    with running(process) as url:
        assert opened_url.read_text().strip() == url
        address, _, query = url.partition("?")
        assert query == "timeline=t&frame=2"
        assert httpx.post(f"{address}api/v1/timelines/t/clear").json()["code"] == "read_only"


def test_open_writes_its_log_in_the_chosen_format(cache: Path) -> None:
    process = subprocess.Popen(
        command("open", "t", "--log", "text", "--cache", cache), stderr=subprocess.PIPE, text=True
    )
    with running(process):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert errors == ""  # in JSON, the end has its own line


def test_open_of_unknown_frame_names_the_range(cache: Path) -> None:
    message = run("open", "t", "--frame", "999", "--cache", cache).failed(3)
    assert "no frame 999: its frames are 0 to 4" in message


def test_open_of_unknown_timeline_is_not_cached(cache: Path) -> None:
    assert "no timeline none" in run("open", "none", "--cache", cache).failed(3)


def address_on(terminal: Terminal) -> str:
    """Return the URL that a service prints on a terminal."""
    terminal.wait_for("/\r\n")
    return terminal.shown.split(" at ")[1].split()[0]


def test_token_is_read_from_the_environment(cache: Path) -> None:
    with served("--cache", cache, FRAMECACHE_SERVE_READ_TOKEN=TOKEN) as (url, _):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}api/v1/session", headers=headers).json()["scopes"] == ["read"]
        assert httpx.get(f"{url}api/v1/session").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "warnings"),
    [
        (["--allow-host", "frames.example.org"], 1),
        (["--allow-host", "frames.example.org", "--trusted-proxy", "127.0.0.1"], 0),
        ([], 0),
    ],
)
def test_allowed_host_without_trusted_proxy_is_warned_of(
    cache: Path, arguments: list[str], warnings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_SERVE_TOKEN", TOKEN)
    # The port is in use, so the service ends after its messages.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        errors = run("serve", "--port", port, "--cache", cache, *arguments).errors
    assert port in errors
    assert errors.count("--trusted-proxy") == warnings


def test_cookie_is_secure_if_a_trusted_proxy_terminates_tls(cache: Path) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    for arguments, is_secure in ((["--trusted-proxy", "127.0.0.1"], True), ([], False)):
        with served("--cache", cache, *arguments, FRAMECACHE_SERVE_TOKEN=TOKEN) as (url, _):
            answer = httpx.post(f"{url}api/v1/session", json={"token": TOKEN}, headers=forwarded)
        assert ("; secure" in answer.headers["set-cookie"].lower()) == is_secure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_serve_beyond_loopback_needs_a_token(cache: Path, host: str) -> None:
    message = run("serve", "--host", host, "--cache", cache).failed(2)
    assert "--token-file" in message


@pytest.mark.parametrize(
    "content", ["", "# none\n", "short\n", "two words in one line\n", "ä" * 20]
)
def test_token_file_without_valid_token_is_refused(
    cache: Path, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    run("serve", "--cache", cache, "--token-file", file).failed(2)


def test_missing_token_file_is_reported(cache: Path, tmp_path: Path) -> None:
    message = run("serve", "--cache", cache, "--token-file", tmp_path / "none").failed(1)
    assert "No such file" in message


@pytest.mark.parametrize(
    "arguments",
    [("--allow-chunks", "http://a/b"), ("--root-path", "a b"), ("--port", "70000")],
)
def test_invalid_serve_settings_are_refused(cache: Path, arguments: tuple[str, str]) -> None:
    run("serve", "--cache", cache, *arguments).failed(2)


def test_serve_uses_a_free_port_if_the_default_port_is_in_use(cache: Path) -> None:
    with socket.socket() as usual:
        try:
            usual.bind(("127.0.0.1", 8000))
            usual.listen()
        except OSError:
            pass  # another program of this machine uses it, with the same result
        with served_at_its_port("--cache", cache) as (url, _):
            assert not url.endswith(":8000/")
            assert httpx.get(f"{url}healthz").status_code == 200


def test_given_port_in_use_is_reported(cache: Path) -> None:
    with served("--cache", cache) as (url, _):
        port = url.rstrip("/").rpartition(":")[2]
        message = run("serve", "--cache", cache, "--port", port).failed(2)
    assert port in message


def test_serve_without_its_extra_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)  # as if it were not installed
    message = run("serve", "--cache", "memory://").failed(1)
    assert "pip install 'framecache[server]'" in message


def test_print_openapi_matches_snapshot() -> None:
    assert run("serve", "--print-openapi", "-q").succeeded().text == SNAPSHOT.read_text()
