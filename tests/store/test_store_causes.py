"""Errors distinguish the reasons for which a store cannot be used."""

import os
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from answering import answering

import network
from framecache import FrameCache
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.store import UnexpectedResponse, open_store
from framecache.store.proxies import proxy_to
from network import Exchange, Proxy
from outside import outside

_PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


@pytest.fixture(autouse=True)
def _one_attempt(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 -- sets keys
    monkeypatch.setattr("framecache.store.client_config._MAX_RETRIES", 0)
    for name in _PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _why(kind: type[StoreUnavailable | StorePermissionDenied] = StoreUnavailable) -> str:
    with pytest.raises(kind) as raised:
        open_store("s3://media").get("a")
    assert f"(endpoint {os.environ['AWS_ENDPOINT_URL']}, region us-east-1): " in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def _unused_address() -> str:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unheard.getsockname()[1]}"


def test_unresolvable_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid")
    assert "its host name cannot be resolved" in _why()


def test_silent_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache.store.client_config._READ_TIMEOUT", timedelta(seconds=1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "did not respond in time" in _why()


def test_self_signed_certificate_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "both.pem"
    command: list[str | Path] = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    certificate.write_bytes(key.read_bytes() + certificate.read_bytes())
    with answering(certificate=certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{server}")
        why = _why()
    assert "its certificate is not trusted: " in why
    assert "AWS_CA_BUNDLE" in why
    # It is in no bundle, and rustls would not accept it as a server's certificate anyway.
    assert "CA:FALSE" in why


def test_plain_http_server_at_an_https_endpoint_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{server}")
        assert "does not speak TLS" in _why()


def test_unreachable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.com")
    monkeypatch.setenv("HTTP_PROXY", f"http://{_unused_address()}")
    assert "the proxy in HTTP_PROXY cannot be reached" in _why()


@pytest.mark.parametrize(("scheme", "variable"), [("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY")])
@pytest.mark.parametrize(("status", "words"), [(407, "requires a different user"), (502, "")])
def test_error_response_of_a_proxy_is_reported(
    scheme: str, variable: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://s3.example.com")
    with answering(status) as server:
        monkeypatch.setenv(variable, f"http://user:secret-word@{server}")
        why = _why()
    assert words in why
    assert "secret-word" not in why
    # A gateway's 502 in plain text looks like the server's own.
    assert (f"the proxy in {variable}" in why) == ((scheme, status) != ("http", 502))


def test_bypassed_proxy_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{_unused_address()}")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "it refuses the connection" in _why()


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "https://s3.example.com", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://s3.example.com", ("http://p:1", "HTTPS_PROXY")),
        (
            {"HTTPS_PROXY": "http://u:w@p:1/"},
            "https://s3.example.com",
            ("http://p:1/", "HTTPS_PROXY"),
        ),
        ({"https_proxy": "p:1"}, "https://s3.example.com", ("p:1", "https_proxy")),
        ({"HTTPS_PROXY": "http://p:1"}, "http://s3.example.com", None),
        ({"ALL_PROXY": "http://p:1"}, "http://s3.example.com", ("http://p:1", "ALL_PROXY")),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, "http://s3.example.com", None),
        (
            {"HTTP_PROXY": "http://user:PA/SS@WORD@p:1"},
            "http://s3.example.com",
            ("http://p:1", "HTTP_PROXY"),
        ),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://s3.example.com", None),
    ],
)
def test_proxy_to_a_server_is_chosen_from_the_environment(
    variables: dict[str, str],
    url: str,
    expected: tuple[str, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_to(url)
    assert (found and (found.url, found.variable)) == expected


@pytest.mark.parametrize(
    ("status", "body", "region"),
    [
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", "eu-west-3"),
        (
            400,
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>",
            "eu-north-1",
        ),
    ],
)
def test_correct_region_is_named(
    status: int, body: bytes, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, body, headers={"x-amz-bucket-region": "eu-west-3"}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
        assert f"is in region {region}: set AWS_DEFAULT_REGION to it" in _why()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/missing/token", "AWS_ROLE_ARN": "arn:aws:iam::1:r"},
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/missing/token",
            },
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ),
    ],
)
def test_missing_token_file_is_named(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert f"the token file '/missing/token' that {named} names cannot be read" in _why(
        StorePermissionDenied
    )


_LOCKED = (
    "<Code>AccessDenied</Code>"
    "<Message>Access Denied because object protected by object lock.</Message>"
)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, f"<Error>{_LOCKED}</Error>"),
        (200, f"<DeleteResult><Error><Key>a</Key>{_LOCKED}</Error></DeleteResult>"),
    ],
)
def test_object_lock_is_reported(status: int, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(status, body.encode()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
        with pytest.raises(
            StorePermissionDenied, match="an object lock or retention policy protects it"
        ):
            open_store("s3://media").delete(["a"])


def test_bucket_with_default_retention_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        b"<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is "
        b"required for Put Object requests with Object Lock parameters</Message></Error>"
    )
    with answering(400, body) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
        with pytest.raises(StorePermissionDenied, match="bucket without a default retention"):
            open_store("s3://media").put("a", b"x")


def test_invalid_listing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(body=b"a login page") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
        with pytest.raises(UnexpectedResponse, match="listing is not that of an S3 server"):
            list(open_store("s3://media").list(""))


@pytest.mark.parametrize("fault", [network.not_implemented_delete, network.invalid_delete])
def test_objects_are_deleted_singly_without_bulk_delete(
    proxy: Proxy, s3_url: str, fault: network.Fault
) -> None:
    proxy.always(fault, method="POST")
    store = open_store(s3_url)
    keys = [f"a/{number}" for number in range(3)]
    for key in (*keys, "kept"):
        store.put(key, b"x")
    proxy.requests.clear()
    assert store.delete([*keys, "never/there"]) == 4
    assert outside(s3_url).list() == ["kept"]
    store.delete(["kept"])
    assert outside(s3_url).list() == []
    methods = [method for method, _ in proxy.requests if method != "GET"]
    assert methods == ["POST", *["DELETE"] * 5]


def test_denied_bulk_delete_is_not_retried_singly(proxy: Proxy, s3_url: str) -> None:
    def denied(exchange: Exchange) -> None:
        exchange.refuse(403, "AccessDenied")

    proxy.always(denied, method="POST")
    with pytest.raises(StorePermissionDenied, match="s3:DeleteObject"):
        open_store(s3_url).delete(["a"])
    assert "DELETE" not in {method for method, _ in proxy.requests}


def test_varying_etags_are_not_reported_as_a_changed_video(proxy: Proxy, s3_url: str) -> None:
    outside(s3_url).put("v.mp4", bytes(5000))
    proxy.always(network.other_etag, within="v.mp4")
    with pytest.raises(UnexpectedResponse, match="another ETag each time"):
        FrameCache("memory://etags").timeline("t").extract([f"{s3_url}/v.mp4"])
