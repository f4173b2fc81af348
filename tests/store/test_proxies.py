"""Reported proxies are those through which obstore's HTTP client sends requests."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.store import S3Store
from signed import Server, running

from framecache.store.proxies import proxy_to

ENTRIES = [
    *("127.0.0.1", "127.0.0.0/8", "127.0.0.1/8", "10.0.0.0/8, 127.0.0.1", "127.0.0.1:1"),
    *("localhost", "LocalHost", ".localhost", "ocalhost", "x.localhost", "*", "", "."),
    *("*.x", "127.*", "0.0.0.0/0", "::/0"),
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        *({"NO_PROXY": entry} for entry in ENTRIES),
        {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "x"},
        {"NO_PROXY": "x", "no_proxy": "127.0.0.1,localhost"},
        {"NO_PROXY": "", "no_proxy": "127.0.0.1,localhost"},
        {"no_proxy": "127.0.0.1,localhost"},
        {"HTTP_PROXY": ""},
        {"HTTP_PROXY": "", "ALL_PROXY": "the proxy"},
        {"REQUEST_METHOD": "GET"},
    ],
)
def test_reported_proxy_is_the_one_that_obstore_uses(
    variables: dict[str, str],
    host: str,
    server: Server,
    proxy: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", proxy.address)
    for name, value in variables.items():
        monkeypatch.setenv(name, proxy.address if value == "the proxy" else value)
    endpoint = f"http://{host}:{urlsplit(server.address).port}"
    client = S3Store(
        "media",
        config={"endpoint": endpoint, "skip_signature": True},
        client_options={"allow_http": True},
    )
    obstore.get(client, "a")
    found = proxy_to(endpoint)
    assert len(proxy.paths) + len(server.paths) == 1
    assert (found is not None) == bool(proxy.paths)
    if found is not None:
        assert os.environ[found.variable] == proxy.address
