"""Prices of bytes and requests on S3, as a dated table, and the parsing of other prices. Pure.

Source: the Amazon S3 pricing page, https://aws.amazon.com/s3/pricing/, S3 Standard in US East
(N. Virginia), as of June 2026. Each price is that of the first tier: storage above 50 TB costs
less per GB, and the first 100 GB per month transferred to the internet are free.
"""

import tomllib
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final

from framecache._core.numeric import require_int
from framecache.errors import InvalidValue
from framecache.model import Requests

_GB: Final = 2**30
"""Bytes per billed GB of S3."""
_MAX_PRICE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a store in US dollars."""

    name: str
    """Name of the store or price list."""
    as_of: str
    """Date of the prices, possibly without day or month."""
    storage_per_gb_month: Decimal
    puts_and_lists_per_1000: Decimal
    """Price that also applies to POST, which creates and completes a multipart upload."""
    gets_and_heads_per_1000: Decimal
    deletes_per_1000: Decimal
    transfer_to_internet_per_gb: Decimal
    transfer_in_region_per_gb: Decimal
    """Price of transfers to machines in the bucket's region."""

    def storage(self, size_bytes: int) -> Decimal:
        """Return the price of storing ``size_bytes`` for a month."""
        return self.storage_per_gb_month * _bytes(size_bytes) / _GB

    def requests(self, requests: Requests) -> Decimal:
        """Return the price of making these requests once."""
        thousands = (
            (requests.puts + requests.lists) * self.puts_and_lists_per_1000
            + requests.gets * self.gets_and_heads_per_1000
            + requests.deletes * self.deletes_per_1000
        )
        return thousands / 1000

    def transfer_to_internet(self, size_bytes: int) -> Decimal:
        """Return the price of fetching ``size_bytes`` from outside the cloud."""
        return self.transfer_to_internet_per_gb * _bytes(size_bytes) / _GB

    def transfer_in_region(self, size_bytes: int) -> Decimal:
        """Return the price of fetching ``size_bytes`` from a machine in the bucket's region."""
        return self.transfer_in_region_per_gb * _bytes(size_bytes) / _GB


S3_STANDARD: Final = Prices(
    name="Amazon S3 Standard, us-east-1",
    as_of="2026-06",
    storage_per_gb_month=Decimal("0.023"),
    puts_and_lists_per_1000=Decimal("0.005"),
    gets_and_heads_per_1000=Decimal("0.0004"),
    deletes_per_1000=Decimal(0),
    transfer_to_internet_per_gb=Decimal("0.09"),
    transfer_in_region_per_gb=Decimal(0),
)


def parse_prices(text: str, *, where: str) -> Prices:
    """Parse a TOML document of prices; missing ones are taken from `S3_STANDARD`.

    Args:
        text: TOML whose keys are fields of `Prices`.
        where: name of the document for messages, and of the prices if the document gives none.

    Raises:
        InvalidValue: the text is not TOML, or has an unknown key or an invalid value.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError) as error:
        raise InvalidValue(f"{where} is not valid TOML: {error}") from error
    known = [field.name for field in fields(Prices)]
    if unknown := sorted(document.keys() - set(known)):
        raise InvalidValue(
            f"{where} has {', '.join(map(repr, unknown))}, which is not a price: the keys are "
            f"{', '.join(known)}"
        )
    given = {
        name: _text(value, name, where) if name in {"name", "as_of"} else _price(value, name, where)
        for name, value in document.items()
    }
    defaults = {name: getattr(S3_STANDARD, name) for name in known}
    return Prices(**defaults | {"name": where, "as_of": "no date"} | given)


def _bytes(size_bytes: int) -> int:
    return require_int(size_bytes, what="size_bytes")


def _price(value: object, name: str, where: str) -> Decimal:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    price = Decimal(value) if is_number else Decimal("NaN")  # type: ignore[arg-type]
    if not price.is_finite() or not 0 <= price <= _MAX_PRICE:
        raise InvalidValue(
            f"{name} in {where} must be a price in US dollars, from 0 to {_MAX_PRICE:,}, not "
            f"{value!s}"
        )
    return price


def _text(value: Any, name: str, where: str) -> str:  # noqa: ANN401 -- anything TOML has
    if not isinstance(value, str | date):
        raise InvalidValue(f"{name} in {where} must be a string, not {value!s}")
    return str(value)
