"""What a timeline costs: prices from a file, amounts in words, and as JSON."""

import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from framecache.cli.show import count, money, size
from framecache.errors import InvalidValue
from framecache.footprint import Footprint
from framecache.model import Requests
from framecache.prices import S3_STANDARD, Prices, parse

_VARIABLE: Final = "FRAMECACHE_PRICES"


def prices_in_use() -> Prices:
    """Those of the file that ``$FRAMECACHE_PRICES`` names, else those of S3.

    Raises:
        InvalidValue: the file cannot be read, or is not one of prices.
    """
    name = os.environ.get(_VARIABLE)
    if not name:
        return S3_STANDARD
    where = f"{name} (${_VARIABLE})"
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidValue(f"{where} cannot be read: {error.strerror}; name a TOML file") from error
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{where} is no text: name a TOML file") from error
    return parse(text, where=where)


def footprint_facts(
    footprint: Footprint, other: Footprint | None, prices: Prices
) -> list[tuple[str, str]]:
    """Names and values that tell what a timeline costs, and what another layout would change."""
    blobs = count(footprint.blobs, "blob")
    facts = [("a month", f"{_storage(footprint.stored_bytes, prices)} in {blobs}")]
    if footprint.fill is not None:
        facts.append(("to fill", in_words(footprint.fill, prices)))
    facts.append(reading_fact(footprint, prices))
    facts.append(("one frame", in_words(footprint.read_one, prices)))
    if other is not None:
        facts.append(other_fact(footprint, other))
    return [*facts, prices_fact(prices)]


def in_words(requests: Requests, prices: Prices) -> str:
    """``1,523 requests, $0.0076``."""
    return f"{count(requests.total, 'request')}, {money(prices.requests(requests))}"


def storage_fact(size_bytes: int, prices: Prices) -> tuple[str, str]:
    """What it costs to keep so many bytes that are not stored yet."""
    return "a month", f"about {_storage(size_bytes, prices)}"


def reading_fact(footprint: Footprint, prices: Prices, *, about: str = "") -> tuple[str, str]:
    """What it takes to read every frame once."""
    requests = prices.requests(footprint.read_all)
    near = requests + prices.transfer_in_region(footprint.read_bytes)
    far = requests + prices.transfer_to_internet(footprint.read_bytes)
    words = (
        f"{about}{count(footprint.read_all.total, 'request')}, {money(near)} within the region, "
        f"{money(far)} over the internet"
    )
    return "to read", words


def other_fact(footprint: Footprint, other: Footprint, *, about: str = "") -> tuple[str, str]:
    """How many requests another layout would take instead."""
    reading = f"{other.read_all.total:,} requests to read instead of {footprint.read_all.total:,}"
    if footprint.fill is None or other.fill is None:
        return f"as {other.layout}", f"{about}{reading}"
    filling = f"{other.fill.total:,} to fill instead of {footprint.fill.total:,}"
    return f"as {other.layout}", f"{about}{reading}, {filling}"


def prices_fact(prices: Prices) -> tuple[str, str]:
    """Whose prices they are."""
    return "prices", f"{prices.name}, {prices.as_of}; ${_VARIABLE} names a file of others"


def to_json(footprints: Sequence[Footprint], prices: Prices) -> dict[str, Any]:
    """What JSON documents say of the cost, in each layout."""
    return {
        "prices": prices_to_json(prices),
        "layouts": {one.layout: _footprint_to_json(one, prices) for one in footprints},
    }


def prices_to_json(prices: Prices) -> dict[str, Any]:
    """The prices, amounts in US dollars."""
    values = {field.name: getattr(prices, field.name) for field in fields(prices)}
    return {"currency": "USD"} | {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
    }


def requests_to_json(requests: Requests, prices: Prices) -> dict[str, Any]:
    """How many there are of each kind, and what they cost together."""
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
    return f"{money(prices.storage(size_bytes))} for {size(size_bytes)}"
