"""Servers that are not stores, and error messages in the terms of each kind of store."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from answering import answering

from framecache import FrameCache, functional
from framecache.errors import StorePermissionDenied, StoreUnavailable
from framecache.store import BlobMissing, Store, UnexpectedResponse, check_options, open_store
from network import Proxy

_SERVERS: Final = {"s3": "an S3 server", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
_PAGE: Final = b"<html><body>Please log in</body></html>"
_MISSING: Final = b"<Error><Code>NoSuchKey</Code><Message>secret words</Message></Error>"
# The headers that a server of static pages sends.
_HEADERS: Final = {"ETag": '"1"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
schemes: Final = pytest.mark.parametrize("scheme", _SERVERS)


@pytest.fixture(autouse=True)
def _one_attempt(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 -- sets keys
    monkeypatch.setattr("framecache.store.client_config._MAX_RETRIES", 0)


def _options(scheme: str, endpoint: str) -> dict[str, str | bool]:
    own: dict[str, dict[str, str | bool]] = {
        "s3": {"key": "test", "secret": "testsecret"},
        "gs": {"token": "testsecret"},
        "az": {"account": "test", "key": "dGVzdHNlY3JldA=="},
    }
    return {**own[scheme], "endpoint": endpoint}


def _opened(scheme: str, server: str, *, protocol: str = "http") -> Store:
    url = f"{scheme}://media"
    return open_store(url, check_options(_options(scheme, f"{protocol}://{server}"), url=url))


def _cache(scheme: str, server: str) -> FrameCache:
    return FrameCache(f"{scheme}://media", storage_options=_options(scheme, f"http://{server}"))


@schemes
@pytest.mark.parametrize("headers", [{}, _HEADERS], ids=["bare", "with ETag"])
@pytest.mark.parametrize(
    "look",
    [
        lambda cache: cache.timelines(),
        lambda cache: cache.timeline("t").info(),
        lambda cache: cache.frames_table(),
        lambda cache: cache.timeline("t").delete(),
        lambda cache: list(cache.store.list("")),
    ],
    ids=["timelines", "info", "table", "delete", "list"],
)
def test_html_page_is_not_an_empty_cache(
    scheme: str, headers: dict[str, str], look: Callable[[FrameCache], object]
) -> None:
    with (
        answering(body=_PAGE, headers=headers) as server,
        pytest.raises(UnexpectedResponse, match=f"not that of .*{_SERVERS[scheme]}"),
    ):
        look(_cache(scheme, server))


@pytest.mark.parametrize("ask", [functional.cache_exists, functional.load_cached_frames])
def test_html_page_is_not_an_empty_cache_for_the_functions(
    ask: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(body=_PAGE) as server:
        monkeypatch.setenv("FRAMECACHE_URL", "s3://media")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
        with pytest.raises(StoreUnavailable, match="not that of an S3 server"):
            ask("t")


@schemes
@pytest.mark.parametrize("request_name", ["get", "head"])
def test_http_404_of_another_server_is_not_a_missing_blob(scheme: str, request_name: str) -> None:
    with (
        answering(404, _PAGE) as server,
        pytest.raises(UnexpectedResponse, match=f"not that of .*{_SERVERS[scheme]}"),
    ):
        getattr(_opened(scheme, server), request_name)("a")


@pytest.mark.parametrize(
    ("scheme", "body"),
    [
        ("s3", _MISSING),
        ("gs", _MISSING),
        ("gs", b"Not Found\n"),
        ("gs", b"No such object: media/a"),
        ("az", b"<Error><Code>BlobNotFound</Code></Error>"),
    ],
)
def test_http_404_in_the_format_of_the_store_is_a_missing_blob(scheme: str, body: bytes) -> None:
    with answering(404, body) as server, pytest.raises(BlobMissing):
        _opened(scheme, server).get("a")


def test_html_page_is_not_a_successful_delete() -> None:
    with answering(404, _PAGE) as server, pytest.raises(UnexpectedResponse):
        _opened("gs", server).delete(["a"])


def test_empty_store_is_probed_with_one_missing_blob_only_once(proxy: Proxy, s3_url: str) -> None:
    for _ in range(2):
        assert list(open_store(s3_url).list("")) == []
        assert open_store(f"{s3_url}/p").list_folders("") == []
    assert sum("/cache/absent-" in path for _, path in proxy.requests) == 1
    assert len(proxy.requests) == 5


def test_store_that_has_reported_a_missing_blob_is_not_probed(proxy: Proxy, s3_url: str) -> None:
    store = open_store(s3_url)
    with pytest.raises(BlobMissing):
        store.get("a")
    assert list(store.list("")) == []
    assert len(proxy.requests) == 2


def test_empty_store_is_listed_without_permission_to_read(proxy: Proxy, s3_url: str) -> None:
    proxy.always(lambda exchange: exchange.refuse(403, "AccessDenied"), within="/cache/absent-")
    assert list(open_store(s3_url).list("")) == []


@pytest.mark.parametrize(
    ("scheme", "status", "code", "words"),
    [
        ("az", 403, "AuthenticationFailed", "says that the key is wrong or expired"),
        ("az", 401, "InvalidAuthenticationInfo", "says that the token is wrong or expired"),
        ("az", 403, "AuthorizationPermissionMismatch", "lack the role Storage Blob Data Reader"),
        ("gs", 401, "AuthenticationRequired", "rejects these credentials: they are wrong"),
        ("gs", 401, "AccessDenied", r"lack storage\.objects\.get"),
        ("gs", 403, "AccessDenied", r"lack storage\.objects\.get"),
    ],
)
def test_wrong_credentials_are_distinguished_from_a_missing_permission(
    scheme: str, status: int, code: str, words: str
) -> None:
    with (
        answering(status, f"<Error><Code>{code}</Code></Error>".encode()) as server,
        pytest.raises(StorePermissionDenied, match=words),
    ):
        _opened(scheme, server).get("a")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate, with its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "both.pem"
    command: list[str | Path] = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    certificate.write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate


def _told(
    scheme: str, server: str, request: Callable[[Store], object], *, protocol: str = "http"
) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        request(_opened(scheme, server, protocol=protocol))
    return str(raised.value)


def _messages(scheme: str, certificate: Path) -> Iterator[str]:
    """Yield the error messages of all kinds of faulty servers."""
    with answering(certificate=certificate) as server:
        yield _told(scheme, server, lambda store: store.get("a"), protocol="https")
    with answering() as server:
        yield _told(scheme, server, lambda store: store.get("a"), protocol="https")
    with answering(501) as server:
        yield _told(scheme, server, lambda store: store.create("a", b"x"))
    for status in (200, 206, 301, 400, 404, 500):
        with answering(status, _PAGE, headers=_HEADERS) as server:
            yield _told(scheme, server, lambda store: list(store.list("")))


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_remedies_match_the_kind_of_store(scheme: str, certificate: Path) -> None:
    messages = list(_messages(scheme, certificate))
    assert [
        text for text in messages if "AWS" in text or "S3" in text or "If-None-Match" in text
    ] == []
    endpoint = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}[scheme]
    assert "REQUESTS_CA_BUNDLE" in messages[0]
    assert [text for text in messages[1:] if endpoint not in text] == []
