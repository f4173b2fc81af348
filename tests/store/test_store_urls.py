from pathlib import Path

import pytest

from framecache.errors import InvalidValue
from framecache.store import open_store


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/store",
        "https://example.org/store",
        "hls://example.org/a",
        "ftp://example.org/a",
        "s3a://bucket",
        "s3://",
        "s3:///key",
        "s3://two words/key",
        "file://elsewhere/folder",
        "file://",
        "a\0b",
        "~no-such-user-here/store",
        "x" * 100 + "://a",
    ],
)
def test_url_of_no_store_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        open_store(url)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "url",
    [
        "s3:/foo",
        "s3:foo/bar",
        "S3:/foo",
        "s3//foo/bar",
        "gs:/foo",
        "az:container",
        "file:/folder",
        "memory:name",
        "s3a:/foo",
        "https:/example.org/a",
        "://foo",
    ],
)
def test_malformed_url_is_not_taken_for_a_path(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue, match="may be a URL or a path"):
        open_store(url)


def test_path_that_resembles_a_url_can_be_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("./s3:/foo", "a:1/b", "12:/b", "clip: part 2.mp4"):
        assert open_store(path).url == (tmp_path / path).as_uri()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://name", "memory://name"),
        ("memory://name/a/b/", "memory://name/a/b"),
        ("MEMORY://name", "memory://name"),
        ("s3://media", "s3://media"),
        ("s3://media/", "s3://media"),
        ("s3://media/a b/c%20d", "s3://media/a b/c%20d"),
        ("/a/b/../c", "file:///a/c"),
        ("/a b/ü?#%", "file:///a%20b/%C3%BC%3F%23%25"),
        ("file:///a%20b", "file:///a%20b"),
        ("file://localhost/a", "file:///a"),
    ],
)
def test_urls_are_normalized(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert open_store(url).url == expected


def test_plain_path_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("store").put("a/b", b"x")
    assert (tmp_path / "store" / "a" / "b").read_bytes() == b"x"


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    open_store("~/store").put("a", b"x")
    assert (tmp_path / "store" / "a").read_bytes() == b"x"


def test_file_url_is_percent_decoded(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/a%20b").put("c", b"x")
    assert (tmp_path / "a b" / "c").read_bytes() == b"x"


def test_memory_store_is_shared_by_name(memory_url: str) -> None:
    open_store(memory_url).put("a/b", b"x")
    assert open_store(f"{memory_url}/a").get("b") == b"x"
    assert list(open_store(f"{memory_url}-other").list("")) == []
