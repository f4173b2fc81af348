"""Identity of clients, for limits per client."""

import ipaddress
from dataclasses import dataclass
from typing import Final

_IPV6_PREFIX_BITS: Final = 64
"""Length of the prefix that the addresses of one IPv6 subscriber share."""


@dataclass(frozen=True, slots=True)
class Client:
    """Combination of a token and a subscriber's address."""

    token: str | None
    """Name of the token; None if no token was given or none is required."""
    network: str
    """An IPv4 address, or the network of an IPv6 subscriber."""

    @property
    def name(self) -> str:
        """Name of the token, the same at every address, or of the subscriber without a token."""
        return self.token or self.network


def client_network(address: str) -> str:
    """Return the subscriber of an address: the IPv4 address, or the IPv6 subscriber's network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX_BITS), strict=False))
