"""Settings that are invalid in requests are refused by name, without a panic of obstore."""

import os
from collections.abc import Iterator
from contextlib import closing
from socket import socketpair
from threading import Thread

import obstore
import pytest
from obstore.store import S3Store
from signed import Server, running

from framecache.errors import InvalidValue, StoreUnavailable
from framecache.store import check_options, helper_protocol, helper_server, open_store
from framecache.store.errors import translate_errors
from framecache.store.settings import Setting, check_endpoint
from framecache.store.urls import parse

KEYS = {"key": "KEY", "secret": "secret"}
PRINTABLE = [chr(code) for code in range(33, 127)]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def _open(url: str, **options: str) -> None:
    open_store(url, check_options(options, url=url)).get("a")


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://[::1", "http://[]", "http://[::1]x", "http://h:99999", "http://h:port"),
        *("http://h:1:2", "http://é", "http://a b", "http://%", "http://", "http://a..b"),
        *("http://256.1.1.1", "http://1.2.3", "http://xn--a", "http://h\x7f", "http://h\n"),
        *("http://h/<", "http://u{@h", "http://h?a=b", "ftp://h"),
    ],
)
@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("s3://media", KEYS),
        ("gs://media", {"token": "t"}),
        ("az://media", {"account": "a", "key": "aGk="}),
    ],
)
def test_invalid_endpoint_url_is_rejected(url: str, given: dict[str, str], endpoint: str) -> None:
    with pytest.raises(InvalidValue, match=r"storage_options\['endpoint'\] is not a valid URL"):
        _open(url, endpoint=endpoint, **given)


def test_obstore_can_use_every_endpoint_that_is_accepted() -> None:
    forms = ("http://h{}", "http://127.0.0.1:1/a{}b", "http://u:p{}@127.0.0.1:1", "http://[::1]:1")
    for form in forms:
        for character in PRINTABLE:
            try:
                accepted = check_endpoint(Setting(form.format(character), "here"))
            except InvalidValue:
                continue
            store = S3Store(
                "media",
                config={"endpoint": accepted, "access_key_id": "a", "secret_access_key": "b"},
                client_options={"proxy_url": "http://127.0.0.1:1", "allow_http": True},
                retry_config={"max_retries": 0},
            )
            with pytest.raises(obstore.exceptions.GenericError):
                obstore.head(store, "a")


@pytest.mark.parametrize(
    ("url", "given", "named"),
    [
        ("s3://media", {"key": "KEY\n", "secret": "s"}, "key"),
        ("s3://media", {"key": "K Y", "secret": "s"}, "key"),
        ("s3://media", {"key": "K", "secret": "s\r\n"}, "secret"),
        ("s3://media", {**KEYS, "token": "t\n"}, "token"),
        ("s3://media", {**KEYS, "region": "us east"}, "region"),
        ("s3://media", {**KEYS, "region": "a.example/#"}, "region"),
        ("gs://media", {"token": "t\n"}, "token"),
        ("az://media", {"account": "a/b", "key": "aGk="}, "account"),
        ("az://media", {"account": "a\n", "key": "aGk="}, "account"),
        ("az://media", {"account": "a", "key": "aGk=\n"}, "key"),
        ("az://media", {"account": "a", "key": "no-key!"}, "key"),
        ("az://media", {"account": "a", "sas": "nonsense"}, "sas"),
        ("az://media", {"account": "a", "sas": "sv=1&sig=x\n"}, "sas"),
    ],
)
def test_option_that_cannot_be_sent_is_rejected_without_a_request(
    url: str, given: dict[str, str], named: str, server: Server
) -> None:
    with pytest.raises(InvalidValue, match=rf"^storage_options\['{named}'\] ") as raised:
        _open(url, **{"endpoint": server.address, **given})
    assert "\n" not in str(raised.value)
    assert server.paths == []


def _panic() -> None:
    client = S3Store(
        "media",
        config={"access_key_id": "a\n", "secret_access_key": "b", "endpoint": "http://127.0.0.1:1"},
        client_options={"allow_http": True},
    )
    obstore.get(client, "a")


def test_panic_of_obstore_becomes_store_unavailable() -> None:
    with (
        pytest.raises(StoreUnavailable, match="s3://media: cannot read 'a': a setting, "),
        translate_errors(parse("s3://media"), action="read", key="a"),
    ):
        _panic()


class _Panicking:
    def get(self, _: str) -> None:
        _panic()


def test_panic_in_the_helper_process_is_returned_as_store_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socketpair()
    stores: dict[bytes, object] = {b"store": _Panicking()}
    monkeypatch.setattr(helper_server, "_stores", stores)
    answer_all = helper_server._handle_connection  # noqa: SLF001 - the process itself would need a fork
    thread = Thread(target=answer_all, args=(theirs,))
    thread.start()
    with closing(ours):
        helper_protocol.send(ours, (b"store", "get", "a", {}), b"")
        answer, _ = helper_protocol.receive(ours)
    thread.join()
    assert isinstance(answer.error, StoreUnavailable)
