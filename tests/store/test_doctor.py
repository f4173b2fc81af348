import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest

from framecache.doctor import FOLDER, Check, examine
from framecache.store import BlobInfo, Store, open_store

_NAMES = ["write", "read", "range read", "list", "create once", "delete"]


class Wrapped:
    """A store around a store, of which a test replaces a method."""

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self.get: Callable[[str], bytes] = store.get
        self.put: Callable[[str, bytes], None] = store.put
        self.create: Callable[[str, bytes], None] = store.create
        self.head: Callable[[str], BlobInfo] = store.head
        self.list: Callable[[str], Iterator[BlobInfo]] = store.list
        self.list_folders: Callable[[str], list[str]] = store.list_folders
        self.delete: Callable[[Iterable[str]], int] = store.delete
        self._store = store

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        self._store.put_stream(key, blocks)

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        return self._store.get_range(key, start=start, length=length)


@pytest.fixture
def wrapped(memory_url: str) -> Wrapped:
    return Wrapped(open_store(memory_url))


def _failed(checks: list[Check]) -> dict[str, str]:
    assert [check.name for check in checks] == _NAMES
    return {check.name: check.detail for check in checks if not check.ok}


def test_a_sound_store_passes_and_is_left_empty(store_url: str) -> None:
    store = open_store(store_url)
    checks = examine(store)
    assert _failed(checks) == {}
    assert all(check.detail for check in checks)
    assert list(store.list("")) == []


@pytest.mark.ceph
@pytest.mark.parametrize(
    ("action", "failing"),
    [
        ("s3:PutObject", {"write", "create once"}),
        ("s3:GetObject", {"read", "range read", "create once"}),
        ("s3:ListBucket", {"list"}),
        ("s3:DeleteObject", {"delete"}),
    ],
)
def test_a_missing_permission_is_named(ceph_url: str, action: str, failing: set[str]) -> None:
    _deny(ceph_url, action)
    failed = _failed(examine(open_store(ceph_url)))
    assert set(failed) == failing
    for detail in failed.values():
        assert action in detail
    if action == "s3:DeleteObject":
        assert FOLDER in failed["delete"]


def test_a_missing_bucket_is_said_once(s3_url: str) -> None:
    checks = examine(open_store(f"{s3_url}-of-nobody"))
    assert not any(check.ok for check in checks)
    assert "does not exist" in checks[0].detail
    assert {check.detail for check in checks[1:]} == {"not tried, for the store cannot be reached"}
    _failed(checks)


@pytest.mark.ceph
def test_wrong_credentials_are_said(ceph_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    failed = _failed(examine(open_store(ceph_url)))
    assert len(failed) == len(_NAMES)
    assert "AWS_SECRET_ACCESS_KEY" in failed["write"]


def test_a_store_that_creates_twice_is_found_out(wrapped: Wrapped) -> None:
    wrapped.create = wrapped.put
    failed = _failed(examine(wrapped))
    assert list(failed) == ["create once"]
    assert "If-None-Match" in failed["create once"]


def test_a_store_that_refuses_but_overwrites_is_found_out(wrapped: Wrapped) -> None:
    create, put = wrapped.create, wrapped.put

    def overwriting(key: str, data: bytes) -> None:
        try:
            create(key, data)
        except Exception:
            put(key, data)
            raise

    wrapped.create = overwriting
    assert list(_failed(examine(wrapped))) == ["create once"]


def test_a_store_that_lists_late_is_found_out(wrapped: Wrapped) -> None:
    wrapped.list = lambda _: iter(())
    assert list(_failed(examine(wrapped))) == ["list"]


def test_a_store_that_alters_bytes_is_found_out(wrapped: Wrapped) -> None:
    get = wrapped.get
    wrapped.get = lambda key: get(key)[:-1]
    failed = _failed(examine(wrapped))
    assert set(failed) == {"read", "create once"}
    assert "altered" in failed["read"]


def test_a_store_that_keeps_what_was_deleted_is_found_out(wrapped: Wrapped) -> None:
    wrapped.delete = lambda keys: len(list(keys))
    assert list(_failed(examine(wrapped))) == ["delete"]


def _deny(url: str, action: str) -> None:
    bucket = url.removeprefix("s3://")
    statement: dict[str, Any] = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [action],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    with closing(boto3.client("s3")) as client:
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
