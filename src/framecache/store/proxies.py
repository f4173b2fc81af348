"""The proxy for requests to a server, chosen as obstore's HTTP client chooses it."""

import os
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

# In the HTTP client's order: the first variable that is set applies, even if it is empty.
_VARIABLES: Final = {"http": ("HTTP_PROXY", "http_proxy"), "https": ("HTTPS_PROXY", "https_proxy")}
_ANY_SCHEME: Final = ("ALL_PROXY", "all_proxy")
_NO_PROXY: Final = ("NO_PROXY", "no_proxy")
# In a CGI program HTTP_PROXY may come from a request header, so the HTTP client uses no proxy.
_CGI: Final = "REQUEST_METHOD"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the environment variable that names it."""

    url: str
    """URL without user and password."""
    variable: str


def proxy_to(url: str) -> Proxy | None:
    """Return the proxy for requests to a URL; None if they are sent directly."""
    parts = urlsplit(url)
    if parts.hostname is None or _CGI in os.environ or _is_bypassed(parts.hostname):
        return None
    for names in (_VARIABLES.get(parts.scheme, ()), _ANY_SCHEME):
        variable = _first_set(names)
        if variable is not None and (value := os.environ[variable]):
            return Proxy(without_credentials(value), variable)
    return None


def without_credentials(url: str) -> str:
    """Return a URL without user and password, even if it is malformed."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _first_set(names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in os.environ), None)


def _is_bypassed(host: str) -> bool:
    variable = _first_set(_NO_PROXY)
    entries = os.environ[variable].split(",") if variable else []
    return any(_is_match(entry.strip().lower(), host.lower()) for entry in entries)


def _is_match(entry: str, host: str) -> bool:
    """Return True if an entry of `NO_PROXY` matches a host: its network, its domain, or ``*``."""
    try:
        address = ip_address(host)
    except ValueError:
        domain = entry.removeprefix(".")
        return bool(domain) and (entry == "*" or host == domain or host.endswith(f".{domain}"))
    try:
        # The HTTP client accepts a network whose host bits are set.
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False
