"""What bytes and requests cost on S3: one table, dated, and how a file names other prices. Pure.

Source: the Amazon S3 pricing page, https://aws.amazon.com/s3/pricing/, S3 Standard in US East
(N. Virginia), as of June 2026. The first tier of each price is taken: less is paid a GB from 50 TB
on, and the first 100 GB a month that leave for the internet are free.
"""

import tomllib
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final

from framecache.errors import InvalidValue
from framecache.model import Requests
from framecache.numeric import whole

_GB: Final = 2**30
"""Bytes, as S3 bills them."""
_HIGHEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """What a store costs, in US dollars."""

    name: str
    """Whose prices they are."""
    as_of: str
    """When they were looked up, as a date or a part of one."""
    storage_per_gb_month: Decimal
    puts_and_lists_per_1000: Decimal
    """Also of POST, and so of what begins and ends a multipart upload."""
    gets_and_heads_per_1000: Decimal
    deletes_per_1000: Decimal
    transfer_to_internet_per_gb: Decimal
    transfer_in_region_per_gb: Decimal
    """To machines in the region of the bucket."""

    def storage(self, size_bytes: int) -> Decimal:
        """Of keeping so many bytes for a month."""
        return self.storage_per_gb_month * _bytes(size_bytes) / _GB

    def requests(self, requests: Requests) -> Decimal:
        """Of making these requests once."""
        thousands = (
            (requests.puts + requests.lists) * self.puts_and_lists_per_1000
            + requests.gets * self.gets_and_heads_per_1000
            + requests.deletes * self.deletes_per_1000
        )
        return thousands / 1000

    def transfer_to_internet(self, size_bytes: int) -> Decimal:
        """Of fetching so many bytes from anywhere outside the cloud."""
        return self.transfer_to_internet_per_gb * _bytes(size_bytes) / _GB

    def transfer_in_region(self, size_bytes: int) -> Decimal:
        """Of fetching so many bytes from a machine in the bucket's region."""
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


def parse(text: str, *, where: str) -> Prices:
    """Read a TOML document of prices; those it does not name stay as in `S3_STANDARD`.

    Args:
        text: its keys are the fields of `Prices`.
        where: what messages call the document, and the prices if they have no name.

    Raises:
        InvalidValue: it is no TOML, has a key that is no price, or a value that cannot be one.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError) as error:
        raise InvalidValue(f"{where} is no TOML that can be read: {error}") from error
    known = [field.name for field in fields(Prices)]
    if unknown := sorted(document.keys() - set(known)):
        raise InvalidValue(
            f"{where} has {', '.join(map(repr, unknown))}, which is no price: the keys are "
            f"{', '.join(known)}"
        )
    given = {
        name: _text(value, name, where) if name in {"name", "as_of"} else _price(value, name, where)
        for name, value in document.items()
    }
    defaults = {name: getattr(S3_STANDARD, name) for name in known}
    return Prices(**defaults | {"name": where, "as_of": "no date"} | given)


def _bytes(size_bytes: int) -> int:
    return whole(size_bytes, what="size_bytes")


def _price(value: object, name: str, where: str) -> Decimal:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    price = Decimal(value) if is_number else Decimal("NaN")  # type: ignore[arg-type]
    if not price.is_finite() or not 0 <= price <= _HIGHEST:
        raise InvalidValue(
            f"{name} in {where} is a price in US dollars, from 0 to {_HIGHEST:,}, not {value!s}"
        )
    return price


def _text(value: Any, name: str, where: str) -> str:  # noqa: ANN401 -- anything TOML has
    if not isinstance(value, str | date):
        raise InvalidValue(f"{name} in {where} is a text, not {value!s}")
    return str(value)
