import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core.prices import S3_STANDARD, parse_prices
from framecache.errors import InvalidValue
from framecache.model import Requests

MILLION = 1_000_000


def test_s3_price_of_a_million_requests_of_each_kind() -> None:
    bills = {
        "puts": Decimal(5),
        "lists": Decimal(5),
        "gets": Decimal("0.4"),
        "deletes": Decimal(0),
    }
    for kind, dollars in bills.items():
        assert S3_STANDARD.requests(Requests(**{kind: MILLION})) == dollars, kind


def test_s3_gigabyte_has_2_to_the_30_bytes() -> None:
    assert S3_STANDARD.storage(100 * 2**30) == Decimal("2.3")
    assert S3_STANDARD.transfer_to_internet(2**30) == Decimal("0.09")
    assert S3_STANDARD.transfer_in_region(2**30) == 0


counts = st.integers(min_value=0, max_value=10**9)
requests = st.builds(Requests, counts, counts, counts, counts)


@given(requests, requests)
def test_cost_of_two_requests_is_their_sum(one: Requests, other: Requests) -> None:
    both = S3_STANDARD.requests(one + other)
    assert both == S3_STANDARD.requests(one) + S3_STANDARD.requests(other)
    assert (one + other).total == one.total + other.total
    assert one * 2 == one + one


def test_file_replaces_given_prices_and_keeps_the_rest() -> None:
    text = 'name = "our MinIO"\nas_of = 2026-11-01\nstorage_per_gb_month = 0.01\n'
    assert parse_prices(text, where="minio.toml") == replace(
        S3_STANDARD,
        name="our MinIO",
        as_of="2026-11-01",
        storage_per_gb_month=Decimal("0.01"),
    )


def test_prices_without_name_are_named_after_their_file() -> None:
    prices = parse_prices("gets_and_heads_per_1000 = 0", where="minio.toml")
    assert (prices.name, prices.as_of) == ("minio.toml", "no date")
    assert prices.requests(Requests(gets=MILLION)) == 0


@pytest.mark.parametrize("value", ["-0.01", "nan", "inf", "1e7", "true", '"0.01"', "[0.01]"])
def test_invalid_price_is_refused_with_its_key(value: str) -> None:
    with pytest.raises(InvalidValue, match=r"storage_per_gb_month in here must be a price"):
        parse_prices(f"storage_per_gb_month = {value}", where="here")


def test_unknown_key_is_refused_with_the_known_keys() -> None:
    with pytest.raises(InvalidValue, match=re.escape("'storage'")) as caught:
        parse_prices("storage = 0.01", where="here")
    assert "storage_per_gb_month" in str(caught.value)


def test_name_that_is_not_a_string_is_refused() -> None:
    with pytest.raises(InvalidValue, match="name in here must be a string, not 3"):
        parse_prices("name = 3", where="here")


@pytest.mark.parametrize("text", ["storage", "storage_per_gb_month = 1e99999999999999999999"])
def test_invalid_toml_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="here is not valid TOML"):
        parse_prices(text, where="here")
