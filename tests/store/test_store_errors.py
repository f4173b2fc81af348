"""Errors of stores that respond wrongly, or not at all."""

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from framecache.errors import (
    FrameCacheError,
    InvalidValue,
    StoreFull,
    StorePermissionDenied,
    StoreUnavailable,
)
from framecache.store import BlobExists, Store, open_store


def _requests(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: store.get("a"),
        "get_range": lambda: store.get_range("a", start=0, length=1),
        "head": lambda: store.head("a"),
        "put": lambda: store.put("a", b"x"),
        "create": lambda: store.create("a", b"x"),
        "list": lambda: list(store.list("")),
        "list_folders": lambda: store.list_folders(""),
        "delete": lambda: store.delete(["a"]),
    }


_REQUESTS = ["get", "get_range", "head", "put", "create", "list", "list_folders", "delete"]


def _assert_discreet(error: FrameCacheError) -> None:
    """Require a message of one line that names the server and reveals nothing of its response."""
    message = str(error)
    assert f" (endpoint {os.environ['AWS_ENDPOINT_URL']}, region us-east-1): cannot " in message
    for leak in ("<", "RetryError", "obstore", "HTTP error", "testsecret", "\n"):
        assert leak not in message
    assert error.__cause__ is not None


@pytest.mark.parametrize("request_name", _REQUESTS)
@pytest.mark.parametrize("server", ["s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_missing_bucket_is_named(
    server: str, request_name: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(f"{server}_url")
    store = open_store("s3://no-such-bucket")
    with pytest.raises(StoreUnavailable, match="'no-such-bucket' does not exist") as raised:
        _requests(store)[request_name]()
    _assert_discreet(raised.value)


@pytest.mark.ceph
@pytest.mark.parametrize("request_name", _REQUESTS)
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_denied(
    variable: str, request_name: str, ceph_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "wrong")
    with pytest.raises(StorePermissionDenied, match=variable) as raised:
        _requests(open_store(ceph_url))[request_name]()
    _assert_discreet(raised.value)


@pytest.mark.usefixtures("s3_url")
@pytest.mark.parametrize("request_name", ["get", "create", "list"])
def test_refused_connection_is_unavailable(
    request_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unheard.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="cannot be reached: it refuses") as raised:
            _requests(open_store("s3://media"))[request_name]()
    _assert_discreet(raised.value)


@dataclass
class CannedServer:
    """Server with the same response to every request, which it records."""

    status: int = 200
    body: str = ""
    headers_met: list[dict[str, str]] = field(default_factory=list)

    def answer(self, status: int, code: str) -> None:
        self.status = status
        self.body = f"<Error><Code>{code}</Code><Message>secret words</Message></Error>"


@pytest.fixture
def canned(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedServer]:  # noqa: ARG001
    canned = CannedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            canned.headers_met.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = b"" if self.command == "HEAD" else canned.body.encode()
            self.send_response(canned.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield canned
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (403, "AccessDenied", StorePermissionDenied, "s3:PutObject"),
        (400, "ExpiredToken", StorePermissionDenied, "expired"),
        (403, "RequestTimeTooSkewed", StorePermissionDenied, "clock"),
        (403, "QuotaExceeded", StoreFull, "quota"),
        (507, "XMinioStorageFull", StoreFull, "is full"),
        (
            403,
            "InvalidAccessKeyId",
            StorePermissionDenied,
            "says that the access key does not exist",
        ),
        (403, "SignatureDoesNotMatch", StorePermissionDenied, "secret key is wrong"),
        (407, "Unknown", StoreUnavailable, "requires a different user and password"),
        (301, "PermanentRedirect", StoreUnavailable, "AWS_DEFAULT_REGION"),
        (400, "AuthorizationHeaderMalformed", StoreUnavailable, "AWS_DEFAULT_REGION"),
        (400, "EntityTooLarge", StoreUnavailable, "400 EntityTooLarge"),
        (503, "SlowDown", StoreUnavailable, "503 SlowDown"),
    ],
)
def test_error_response_is_mapped_to_a_typed_error_with_advice(
    canned: CannedServer, status: int, code: str, error: type[FrameCacheError], words: str
) -> None:
    canned.answer(status, code)
    with pytest.raises(error, match=words) as raised:
        open_store("s3://media").put("a", b"x")
    _assert_discreet(raised.value)
    assert "secret words" not in str(raised.value)


@pytest.mark.parametrize("request_name", _REQUESTS)
def test_access_denied_is_never_a_missing_blob(canned: CannedServer, request_name: str) -> None:
    canned.answer(403, "AccessDenied")
    with pytest.raises(StorePermissionDenied) as raised:
        _requests(open_store("s3://media"))[request_name]()
    _assert_discreet(raised.value)


@pytest.mark.parametrize("request_name", ["get", "get_range", "head"])
def test_http_404_of_a_server_other_than_s3_is_not_a_missing_blob(
    canned: CannedServer, request_name: str
) -> None:
    canned.status, canned.body = 404, "<html>not here</html>"
    with pytest.raises(StoreUnavailable, match="not that of an S3 server"):
        _requests(open_store("s3://media"))[request_name]()


def test_access_denied_within_a_bulk_delete_is_raised(canned: CannedServer) -> None:
    canned.body = (
        "<DeleteResult><Deleted><Key>a</Key></Deleted>"
        "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    )
    with pytest.raises(StorePermissionDenied, match="s3:DeleteObject"):
        open_store("s3://media").delete(["a", "b"])


def test_precondition_failed_on_create_raises_blob_exists(canned: CannedServer) -> None:
    canned.answer(412, "PreconditionFailed")
    with pytest.raises(BlobExists):
        open_store("s3://media").create("a", b"x")


def test_region_and_session_token_come_from_the_environment(
    canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    assert open_store("s3://media").get("a") == b""
    headers = {name.lower(): value for name, value in canned.headers_met[0].items()}
    assert "/eu-north-1/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a-session-token"


def test_s3_specific_endpoint_variable_takes_precedence(
    s3_url: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{moto_endpoint}/")
    store = open_store(s3_url)
    store.put("a", b"x")
    assert store.get("a") == b"x"


def test_https_endpoint_is_never_reached_by_plain_http(
    s3_url: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint.replace("http:", "https:"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(StoreUnavailable):
        open_store(s3_url).get("a")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "gopher:x", "http://", "ftp://host"])
def test_invalid_endpoint_url_is_rejected(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(InvalidValue, match="AWS_ENDPOINT_URL is not a valid URL"):
        open_store("s3://media")


def _forget_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def _use_profile(name: str, *, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "credentials"
    file.write_text(
        "[studio]\naws_access_key_id = test\naws_secret_access_key = testsecret\n"
        "region = us-east-1\n"
    )
    _forget_keys(monkeypatch)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", name)


def test_missing_credentials_are_reported(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _forget_keys(monkeypatch)
    with pytest.raises(StorePermissionDenied, match="no credentials were found") as raised:
        open_store(s3_url).get("a")
    _assert_discreet(raised.value)
    assert "AWS_ACCESS_KEY_ID" in str(raised.value)


@pytest.mark.ceph
def test_credentials_come_from_the_profile(
    ceph_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_profile("studio", folder=tmp_path, monkeypatch=monkeypatch)
    store = open_store(ceph_url)
    store.put("a", b"x")
    assert store.get("a") == b"x"


def test_missing_profile_is_reported(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_profile("misspelt", folder=tmp_path, monkeypatch=monkeypatch)
    with pytest.raises(StorePermissionDenied, match="'misspelt' cannot be used"):
        open_store(s3_url)


def test_profile_without_boto3_names_the_extra(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_profile("studio", folder=tmp_path, monkeypatch=monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StorePermissionDenied, match=r"framecache\[aws\]"):
        open_store(s3_url)


def test_azure_without_an_account_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorePermissionDenied, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_store("az://container/prefix")
