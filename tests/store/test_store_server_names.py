"""Errors name the server and the region that a request went to, and no secret."""

from pathlib import Path

import pytest

from framecache import FrameCache
from framecache.errors import NotCached, StorePermissionDenied, StoreUnavailable, UnreadableChunk
from framecache.store import check_options, open_store

KEYS = {"key": "KEY", "secret": "secret-word"}


def _place(url: str, **options: str) -> str:
    return open_store(url, check_options(options, url=url)).display_name


def test_store_without_a_server_is_named_by_its_url(memory_url: str, local_url: str) -> None:
    for url in (memory_url, local_url):
        store = open_store(url)
        assert store.display_name == store.url


@pytest.mark.parametrize(
    ("url", "options", "server"),
    [
        (
            "s3://media",
            {**KEYS, "endpoint": "http://127.0.0.1:1", "region": "eu-north-1"},
            "endpoint http://127.0.0.1:1, region eu-north-1",
        ),
        (
            "s3://media/p",
            {**KEYS, "endpoint": "http://user:secret-word@127.0.0.1:1"},
            "endpoint http://127.0.0.1:1, region us-east-1",
        ),
        ("gs://media", {"token": "secret-word"}, "endpoint https://storage.googleapis.com"),
        (
            "az://media",
            {"connection_string": "AccountName=own;AccountKey=c2VjcmV0LXdvcmQ="},
            "endpoint https://own.blob.core.windows.net",
        ),
        (
            "az://media",
            {"account": "own", "key": "c2VjcmV0LXdvcmQ=", "endpoint": "http://127.0.0.1:1/own"},
            "endpoint http://127.0.0.1:1/own",
        ),
    ],
)
@pytest.mark.usefixtures("s3_url")
def test_server_is_part_of_the_display_name(url: str, options: dict[str, str], server: str) -> None:
    assert _place(url, **options) == f"{url} ({server})"


@pytest.mark.usefixtures("s3_url")
def test_amazon_is_named_by_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    place = _place("s3://media", **KEYS, region="eu-west-3")
    assert place == "s3://media (endpoint https://s3.eu-west-3.amazonaws.com, region eu-west-3)"


@pytest.mark.usefixtures("s3_url")
def test_long_endpoint_is_shortened() -> None:
    place = _place("s3://media", **KEYS, endpoint=f"http://{'x' * 3000}", region="eu-north-1")
    assert len(place) < 200


@pytest.mark.usefixtures("s3_url")
def test_error_names_the_server_of_the_options() -> None:
    options = {**KEYS, "endpoint": "http://127.0.0.1:1", "region": "eu-north-1"}
    cache = FrameCache("s3://media", storage_options=options)
    with pytest.raises(StoreUnavailable) as failure:
        cache.timelines()
    assert "(endpoint http://127.0.0.1:1, region eu-north-1): cannot list" in str(failure.value)
    assert "secret-word" not in str(failure.value)


def test_missing_video_error_names_the_server(s3_url: str, moto_endpoint: str) -> None:
    with pytest.raises(UnreadableChunk, match="no such object") as failure:
        FrameCache("memory://places").timeline("t").extract([f"{s3_url}/a.mp4"])
    assert f"(endpoint {moto_endpoint}, region us-east-1)" in str(failure.value)


def test_missing_timeline_error_names_the_server(s3_url: str, moto_endpoint: str) -> None:
    with pytest.raises(NotCached) as failure:
        FrameCache(s3_url).timeline("t").frame(0)
    assert f"(endpoint {moto_endpoint}, region us-east-1)" in str(failure.value)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("/missing/program", "the credentials file '/missing/program'"),
        ("false", "boto3 found no credentials: it raised CredentialRetrievalError"),
    ],
)
def test_error_of_boto3_is_reported(
    program: str, message: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile broken]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "broken")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorePermissionDenied) as failure:
        open_store(s3_url).get("a")
    assert message in str(failure.value)
