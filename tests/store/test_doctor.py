import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest

import network
from framecache._maintain.doctor import PREFIX, Check, run_checks
from framecache.store import BlobInfo, Store, open_store
from network import Fault, Proxy

_NAMES = [
    *("write", "read", "range read", "ETag", "missing blob", "list", "create once", "delete"),
]


class Wrapped:
    """Store around a store, of which a test replaces a method."""

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self.display_name = store.display_name
        self.options = store.options
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
    return {check.name: check.detail for check in checks if check.outcome == "failed"}


def _skipped(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.outcome == "skipped"}


@pytest.mark.every_store
def test_working_store_passes_every_check_and_is_left_empty(store_url: str) -> None:
    store = open_store(store_url)
    checks = run_checks(store)
    assert _failed(checks) == {}
    assert all(check.detail for check in checks)
    assert list(store.list("")) == []


@pytest.mark.ceph
@pytest.mark.parametrize(
    ("action", "failing"),
    [
        ("s3:PutObject", {"write", "create once"}),
        ("s3:GetObject", {"read", "range read", "ETag", "create once"}),
        ("s3:ListBucket", {"list"}),
        ("s3:DeleteObject", {"delete"}),
    ],
)
def test_missing_permission_is_named(ceph_url: str, action: str, failing: set[str]) -> None:
    _deny(ceph_url, action)
    checks = run_checks(open_store(ceph_url))
    failed = _failed(checks)
    assert set(failed) == failing
    nothing_to_read = {"read", "range read", "ETag", "list"}
    assert _skipped(checks) == (nothing_to_read if action == "s3:PutObject" else set())
    for detail in failed.values():
        assert action in detail
    if action == "s3:DeleteObject":
        assert PREFIX in failed["delete"]


def test_missing_bucket_is_reported_once(s3_url: str) -> None:
    checks = run_checks(open_store(f"{s3_url}-of-nobody"))
    assert not any(check.ok for check in checks)
    assert "does not exist" in checks[0].detail
    [why] = {check.detail for check in checks[1:]}
    assert why == "not tried, because the store cannot be reached"
    assert list(_failed(checks)) == ["write"]
    assert _skipped(checks) == set(_NAMES[1:])


@pytest.mark.ceph
def test_wrong_credentials_are_reported(ceph_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    failed = _failed(run_checks(open_store(ceph_url)))
    assert len(failed) == len(_NAMES)
    assert "AWS_SECRET_ACCESS_KEY" in failed["write"]


def test_store_that_creates_a_key_twice_fails_the_create_check(wrapped: Wrapped) -> None:
    wrapped.create = wrapped.put
    failed = _failed(run_checks(wrapped))
    assert list(failed) == ["create once"]
    assert "If-None-Match" in failed["create once"]


def test_store_that_overwrites_on_a_refused_create_fails_the_create_check(wrapped: Wrapped) -> None:
    create, put = wrapped.create, wrapped.put

    def overwriting(key: str, data: bytes) -> None:
        try:
            create(key, data)
        except Exception:
            put(key, data)
            raise

    wrapped.create = overwriting
    assert list(_failed(run_checks(wrapped))) == ["create once"]


def test_store_with_delayed_listing_fails_the_list_check(wrapped: Wrapped) -> None:
    wrapped.list = lambda _: iter(())
    assert list(_failed(run_checks(wrapped))) == ["list"]


def test_store_that_alters_bytes_fails_the_read_and_create_checks(wrapped: Wrapped) -> None:
    get = wrapped.get
    wrapped.get = lambda key: get(key)[:-1]
    failed = _failed(run_checks(wrapped))
    assert set(failed) == {"read", "create once"}
    assert "altered" in failed["read"]


def test_store_that_keeps_deleted_blobs_fails_the_delete_check(wrapped: Wrapped) -> None:
    wrapped.delete = lambda keys: len(list(keys))
    assert list(_failed(run_checks(wrapped))) == ["delete"]


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


@pytest.mark.parametrize(
    ("fault", "method", "failing"),
    [
        (network.unconditional, "PUT", {"create once": "If-None-Match"}),
        (network.not_implemented, "PUT", {"create once": "If-None-Match"}),
        (network.invalid_argument, "PUT", {"create once": "If-None-Match"}),
        (network.whole, "GET", {"range read": "ignores Range", "ETag": "ignores Range"}),
        (network.without("etag"), "PUT", {"write": "no ETag", "create once": "no ETag"}),
        (network.without("etag"), "GET", {"ETag": "no ETag"}),
        (network.other_etag, "GET", {"ETag": "another ETag each time"}),
        (network.bare_404, "GET", {"missing blob": "NoSuchKey"}),
        (network.other_404, "GET", {"missing blob": "NoSuchKey"}),
        (network.without("last-modified"), "GET", {}),
        (network.weak_etag, "GET", {}),
        (network.not_implemented_delete, "POST", {}),
        (network.invalid_delete, "POST", {}),
        (network.conflict_409, "PUT", {}),
        (network.conflict_304, "PUT", {}),
    ],
)
def test_deviations_of_a_server_from_s3_fail_the_affected_checks(
    proxy: Proxy, s3_url: str, fault: Fault, method: str, failing: dict[str, str]
) -> None:
    proxy.always(fault, method=method)
    failed = _failed(run_checks(open_store(s3_url)))
    assert set(failed) == set(failing)
    for name, words in failing.items():
        assert words in failed[name]
    assert "does not exist" not in " ".join(failed.values())
