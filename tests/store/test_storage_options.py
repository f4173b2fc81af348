"""Stores with their own credentials and endpoints, and the endpoints of Azure and Google."""

import pickle
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from clips import chunks
from signed import Server, running

from framecache import FrameCache
from framecache.errors import InvalidValue
from framecache.store import StorageOptions, Store, check_options, open_blob_file, open_store
from framecache.store.azure import azure_settings
from framecache.store.backends import connect
from framecache.store.urls import parse

KEYS = {"key": "OWN", "secret": "own-secret"}
# The key of every emulator of Azure, published by Microsoft.
EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ENDPOINT",
        "GOOGLE_BASE_URL",
        "STORAGE_EMULATOR_HOST",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def other_server() -> Iterator[Server]:
    with running() as server:
        yield server


def _opened(url: str, **options: object) -> Store:
    return open_store(url, check_options(options, url=url))


@pytest.mark.usefixtures("s3_url")
def test_stores_of_the_same_name_use_their_own_endpoint_and_keys(
    server: Server, other_server: Server
) -> None:
    one = _opened("s3://media", endpoint=server.address, key="ONE", secret="s")
    other = _opened("s3://media", endpoint=other_server.address, key="OTHER", secret="s")
    assert one.get("a") == other.get("a") == b""
    assert (server.signers, other_server.signers) == (["ONE"], ["OTHER"])


@pytest.mark.usefixtures("s3_url")
def test_session_token_of_the_environment_is_not_sent_with_given_keys(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-others")
    _opened("s3://media", endpoint=server.address, **KEYS).get("a")
    assert "x-amz-security-token" not in server.headers[0]


@pytest.mark.usefixtures("s3_url")
def test_given_region_token_and_style_are_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)  # the host need not be looked up then
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    options = {
        "endpoint": "http://store.invalid",
        "region": "eu-north-1",
        "style": "virtual",
        "token": "t",
    }
    _opened("s3://media", **KEYS, **options).get("a")
    headers = server.headers[0]
    assert "/eu-north-1/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "t"
    assert server.paths == ["http://media.store.invalid/a"]


@pytest.mark.usefixtures("s3_url")
def test_options_are_pickled_with_the_store(server: Server) -> None:
    store = _opened("s3://media", endpoint=server.address, **KEYS)
    copy = pickle.loads(pickle.dumps(store))
    assert copy.get("a") == b""
    assert server.signers == ["OWN"]


@pytest.mark.usefixtures("s3_url")
def test_longest_matching_prefix_selects_the_options_of_a_chunk(
    server: Server, other_server: Server
) -> None:
    options = check_options(
        {
            "endpoint": server.address,
            **KEYS,
            "s3://videos/b/": {"endpoint": other_server.address, "key": "B", "secret": "s"},
            "s3://videos/b/c": {"endpoint": other_server.address, "key": "C", "secret": "s"},
        },
        url="s3://media",
    )
    for key in ("a.mp4", "bb/a.mp4", "b/a.mp4", "b/c/a.mp4"):
        open_blob_file(f"s3://videos/{key}", options=options).close()
    assert server.signers == ["OWN", "OWN"]
    assert other_server.signers == ["B", "C"]


def test_chunks_of_another_account_are_extracted(
    s3_url: str, moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = str(chunks()[0])
    with closing(boto3.client("s3", endpoint_url=moto_endpoint)) as client:
        client.upload_file(video, s3_url.removeprefix("s3://"), "a.mp4")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    there = {"endpoint": moto_endpoint, "key": "other", "secret": "other-secret"}
    cache = FrameCache(tmp_path / "cache", storage_options={s3_url: there})
    timeline = cache.timeline("t")
    timeline.extract([f"{s3_url}/a.mp4"])
    probe = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v"]
    entries = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", video]
    counted = subprocess.run([*probe, *entries], check=True, capture_output=True, text=True)
    assert len(timeline.index) == int(counted.stdout)


def test_repr_of_options_contains_no_secret(server: Server) -> None:
    options = check_options({**KEYS, "endpoint": server.address}, url="s3://media")
    assert "own-secret" not in repr(options)
    assert "secret" in repr(options)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"acces_key": "x"}, "'acces_key', which s3:// URLs do not support"),
        ({"key": "x"}, "'key', 'secret' and 'token'"),
        ({"key": 1, "secret": "s"}, r"\['key'\] must be a string"),
        ({"s3://b": {"account": "x"}}, "'account', which s3://"),
        ({"s3://b": "x"}, "must be a mapping"),
        ({"memory://b": {"key": "x"}}, "has no options"),
        ("x", "storage_options must be a mapping"),
        ({**KEYS, "profile": "p"}, "'key' and 'profile'"),
        ({"endpoint": "here"}, r"storage_options\['endpoint'\] is not a valid URL"),
        ({"style": "odd"}, r"storage_options\['style'\] must be one of path"),
        ({"s3://b": {}, "s3://b/": {}}, "twice"),
    ],
)
@pytest.mark.usefixtures("s3_url")
def test_unusable_option_is_rejected(given: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        FrameCache("s3://media", storage_options=given)


def test_google_base_url_may_be_plain_http(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("GOOGLE_BASE_URL", server.address)
    assert open_store("gs://bucket/p").get("a") == b""
    assert [unquote(path) for path in server.paths] == ["/bucket/p/a"]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_google_emulator_needs_no_credentials(
    scheme: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.address.replace("http://", scheme)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    assert open_store("gs://bucket/p").get("a") == b""
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize("given", [{}, {"token": "t"}])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json"),
        ("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json"),
        ("GOOGLE_SERVICE_ACCOUNT_PATH", "/nowhere.json"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", "nonsense"),
    ],
)
def test_missing_google_credentials_are_accepted_when_unused(
    variable: str,
    value: str,
    given: dict[str, str],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    monkeypatch.setenv(variable, value)
    assert _opened("gs://bucket", **given).get("a") == b""
    assert server.headers[0].get("authorization") == ("Bearer t" if given else None)


def test_given_google_token_is_sent(server: Server) -> None:
    _opened("gs://bucket", endpoint=server.address, token="t").get("a")
    assert server.headers[0]["authorization"] == "Bearer t"


def test_azure_connection_string_sets_endpoint_and_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=own;AccountKey={EMULATOR_KEY};"
        f"BlobEndpoint={server.address}/own;",
    )
    assert open_store("az://container/p").get("a") == b""
    assert server.paths == ["/own/container/p/a"]
    assert server.headers[0]["authorization"].startswith("SharedKey own:")


def test_given_azure_sas_replaces_the_account_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", EMULATOR_KEY)
    _opened("az://c", endpoint=server.address, account="own", sas="?sv=1&sig=x").get("a")
    assert server.paths == ["/c/a?sv=1&sig=x"]
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("connection", "endpoint", "account"),
    [
        ("AccountName=a;AccountKey=k", "https://a.blob.core.windows.net", "a"),
        ("AccountName=a;EndpointSuffix=example.cn", "https://a.blob.example.cn", "a"),
        (
            "BlobEndpoint=https://a.example.net;SharedAccessSignature=s",
            "https://a.example.net",
            "a",
        ),
        (
            "UseDevelopmentStorage=true",
            "http://127.0.0.1:10000/devstoreaccount1",
            "devstoreaccount1",
        ),
    ],
)
def test_connection_string_sets_endpoint_and_account(
    connection: str, endpoint: str, account: str
) -> None:
    found = azure_settings({"connection_string": connection})
    assert found.endpoint is not None
    assert found.account is not None
    assert (found.endpoint.value, found.account.value) == (endpoint, account)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"connection_string": "nonsense"}, "not a connection string"),
        ({"connection_string": "AccountKey=k"}, "neither AccountName nor BlobEndpoint"),
        ({"key": "k"}, "no 'account'"),
        ({"account": "a", "key": "k", "sas": "s"}, "'key' and 'sas'"),
        ({"account": "a", "connection_string": "AccountName=a"}, "'connection_string'"),
    ],
)
def test_contradictory_azure_options_are_rejected(given: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        azure_settings(given)


def test_contradictory_azure_accounts_in_the_environment_are_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=own;AccountKey=k")
    with pytest.raises(InvalidValue, match="'own', but AZURE_STORAGE_ACCOUNT_NAME is 'other'"):
        open_store("az://container")


def test_empty_options_equal_the_default() -> None:
    assert check_options({}, url="s3://media") == StorageOptions()


@pytest.mark.usefixtures("s3_url")
@pytest.mark.parametrize("anon", [True, "true"])
def test_anonymous_requests_to_s3_are_not_signed(anon: object, server: Server) -> None:
    assert _opened("s3://media", endpoint=server.address, anon=anon).get("a") == b""
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize("url", ["gs://media", "az://media"])
def test_anonymous_requests_ignore_credentials_in_the_environment(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "own")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", EMULATOR_KEY)
    assert _opened(url, endpoint=server.address, anon=True).get("a") == b""
    assert "authorization" not in server.headers[0]


@pytest.mark.usefixtures("s3_url")
def test_anonymous_listing_past_an_odd_key_is_not_signed(
    server: Server,
) -> None:
    options = check_options({"endpoint": server.address, "anon": True}, url="s3://media")
    lister = connect(parse("s3://media"), options).lister
    assert lister is not None
    with pytest.raises(OSError, match="InvalidListResponse"):
        list(lister.pages("a/"))
    assert "X-Amz-Signature" not in server.paths[0]


@pytest.mark.usefixtures("s3_url")
def test_anon_false_has_no_effect(server: Server) -> None:
    _opened("s3://media", endpoint=server.address, **KEYS, anon=False).get("a")
    assert server.signers == ["OWN"]


@pytest.mark.parametrize(
    ("url", "given", "named"),
    [
        ("s3://media", {**KEYS, "anon": True}, "'anon' together with 'key'"),
        ("s3://media", {"profile": "p", "anon": True}, "'anon' together with 'profile'"),
        ("gs://media", {"token": "t", "anon": True}, "'anon' together with"),
        ("az://media", {"account": "a", "key": "k", "anon": True}, "'anon' together with"),
        ("s3://media", {"anon": "perhaps"}, "True or False"),
    ],
)
@pytest.mark.usefixtures("s3_url")
def test_anon_together_with_credentials_is_rejected(
    url: str, given: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidValue, match=named):
        _opened(url, **given)


@pytest.fixture
def options_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "stores.toml"
    monkeypatch.setenv("FRAMECACHE_STORAGE_OPTIONS", str(path))
    return path


@pytest.mark.usefixtures("s3_url")
def test_options_file_sets_endpoint_and_keys(server: Server, options_file: Path) -> None:
    options_file.write_text(
        f'["s3://"]\nendpoint = "{server.address}"\nkey = "FILE"\nsecret = "own-secret"\n'
        f'["s3://open"]\nendpoint = "{server.address}"\nanon = true\n'
    )
    for url in ("s3://media", "s3://open/p"):
        assert FrameCache(url).store.get("a") == b""
    assert server.signers == ["FILE"]
    assert "authorization" not in server.headers[1]


@pytest.mark.usefixtures("s3_url")
def test_options_of_the_program_replace_the_options_file(
    server: Server, options_file: Path
) -> None:
    options_file.write_text('["s3://"]\nendpoint = "http://127.0.0.1:1"\n')
    cache = FrameCache("s3://media", storage_options={"endpoint": server.address, **KEYS})
    assert cache.store.get("a") == b""


def test_options_file_without_a_matching_prefix_is_ignored(
    memory_url: str, options_file: Path
) -> None:
    options_file.write_text('["s3://"]\nanon = true\n')
    assert FrameCache(memory_url).timelines() == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "cannot be read"),
        ("secret-word", "not valid TOML"),
        ('key = "secret-word"', "'key' outside a table"),
        ('["s3://"]\nkeyy = "secret-word"', "'keyy', which s3://"),
    ],
)
def test_unusable_options_file_is_rejected_without_showing_secrets(
    text: str | None, named: str, options_file: Path
) -> None:
    if text is not None:
        options_file.write_text(text)
    with pytest.raises(InvalidValue, match=named) as raised:
        FrameCache("s3://media")
    assert "secret-word" not in str(raised.value)
