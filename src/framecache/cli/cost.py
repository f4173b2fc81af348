"""Costs of a timeline: prices from a file, and amounts as text and as JSON."""

import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from framecache._core.prices import S3_STANDARD, Prices, parse_prices
from framecache._estimate import Footprint
from framecache.cli.output import format_count, format_money, format_size
from framecache.errors import InvalidValue
from framecache.model import Requests
from framecache.store import Store, is_amazon_s3

_VARIABLE: Final = "FRAMECACHE_PRICES"


def load_prices() -> Prices:
    """Return the prices from the file ``$FRAMECACHE_PRICES``, else those of S3.

    Raises:
        InvalidValue: the file cannot be read, or does not contain prices.
    """
    name = os.environ.get(_VARIABLE)
    if not name:
        return S3_STANDARD
    where = f"{name} (${_VARIABLE})"
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidValue(f"{where} cannot be read: {error.strerror}; give a TOML file") from error
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{where} is not a text file: give a TOML file") from error
    return parse_prices(text, where=where)


def is_priced(store: Store) -> bool:
    """Return whether the prices in use apply to a store.

    They do if it is on Amazon S3, or if a file of prices is given.
    """
    if os.environ.get(_VARIABLE):
        return True
    return is_amazon_s3(store.url, store.options)


def footprint_fields(
    footprint: Footprint, other: Footprint | None, prices: Prices
) -> list[tuple[str, str]]:
    """Return names and values of a timeline's cost, and of the requests in another layout."""
    blobs = format_count(footprint.blobs, "blob")
    facts = [("per month", f"{_storage(footprint.stored_bytes, prices)} in {blobs}")]
    if footprint.fill is not None:
        facts.append(("to extract", format_requests(footprint.fill, prices)))
    facts.append(reading_field(footprint, prices))
    facts.append(("one frame", format_requests(footprint.read_one, prices)))
    if other is not None:
        facts.append(other_layout_field(footprint, other))
    return [*facts, prices_field(prices)]


def format_requests(requests: Requests, prices: Prices) -> str:
    """Format requests and their price, as in ``1,523 requests, $0.0076``."""
    return f"{format_count(requests.total, 'request')}, {format_money(prices.requests(requests))}"


def storage_field(size_bytes: int, prices: Prices) -> tuple[str, str]:
    """Return the monthly cost of bytes that are not stored yet."""
    return "per month", f"about {_storage(size_bytes, prices)}"


def reading_field(footprint: Footprint, prices: Prices, *, about: str = "") -> tuple[str, str]:
    """Return the requests and the cost of reading every frame once."""
    requests = prices.requests(footprint.read_all)
    near = requests + prices.transfer_in_region(footprint.read_bytes)
    far = requests + prices.transfer_to_internet(footprint.read_bytes)
    words = (
        f"{about}{format_count(footprint.read_all.total, 'request')}, {format_money(near)} within "
        f"the region, {format_money(far)} over the internet"
    )
    return "to read", words


def other_layout_field(
    footprint: Footprint, other: Footprint, *, about: str = ""
) -> tuple[str, str]:
    """Return the number of requests in another layout, compared with the present one."""
    reading = f"{other.read_all.total:,} requests to read instead of {footprint.read_all.total:,}"
    if footprint.fill is None or other.fill is None:
        return f"as {other.layout}", f"{about}{reading}"
    filling = f"{other.fill.total:,} to extract instead of {footprint.fill.total:,}"
    return f"as {other.layout}", f"{about}{reading}, {filling}"


def prices_field(prices: Prices) -> tuple[str, str]:
    """Return the name and date of the prices."""
    return "prices", (f"{prices.name}, {prices.as_of}; ${_VARIABLE} names a file with other prices")


def to_json(footprints: Sequence[Footprint], prices: Prices) -> dict[str, Any]:
    """Return the cost in each layout as JSON."""
    return {
        "prices": prices_to_json(prices),
        "layouts": {one.layout: _footprint_to_json(one, prices) for one in footprints},
    }


def prices_to_json(prices: Prices) -> dict[str, Any]:
    """Return the prices as JSON, with amounts in US dollars."""
    values = {field.name: getattr(prices, field.name) for field in fields(prices)}
    return {"currency": "USD"} | {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
    }


def requests_to_json(requests: Requests, prices: Prices) -> dict[str, Any]:
    """Return the number of requests of each kind, and their total cost."""
    return asdict(requests) | {
        "total": requests.total,
        "dollars": float(prices.requests(requests)),
    }


def _footprint_to_json(footprint: Footprint, prices: Prices) -> dict[str, Any]:
    requests = prices.requests(footprint.read_all)
    in_region = prices.transfer_in_region(footprint.read_bytes)
    to_internet = prices.transfer_to_internet(footprint.read_bytes)
    return {
        "frame_count": footprint.frame_count,
        "blobs": footprint.blobs,
        "stored_bytes": footprint.stored_bytes,
        "read_bytes": footprint.read_bytes,
        "fill": footprint.fill and requests_to_json(footprint.fill, prices),
        "read_all": requests_to_json(footprint.read_all, prices),
        "read_one": requests_to_json(footprint.read_one, prices),
        "dollars_a_month": float(prices.storage(footprint.stored_bytes)),
        "dollars_to_read_in_region": float(requests + in_region),
        "dollars_to_read_over_internet": float(requests + to_internet),
    }


def _storage(size_bytes: int, prices: Prices) -> str:
    return f"{format_money(prices.storage(size_bytes))} for {format_size(size_bytes)}"
