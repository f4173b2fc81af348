"""Settings of a store, each with its source, which error messages name."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, TypeGuard

from framecache.errors import InvalidValue

# The characters of RFC 3986. obstore panics on an address that its HTTP client cannot parse.
_ADDRESS: Final = re.compile(
    r"https?://([\w.~%!$&'()*+,;=:-]*@)?(?P<host>\[[0-9a-f:.]+\]|[\w.-]+)(:(?P<port>[0-9]{1,5}))?"
    r"(/[\w.~%!$&'()*+,;=:@/-]*)?",
    re.IGNORECASE | re.ASCII,
)
_MAX_PORT: Final = 65535
# A host whose last label is a number is valid only if it is an IPv4 address.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_HEADER_VALUE: Final = re.compile(r"[!-~]+")
_HOST_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_PLAIN_HTTP: Final = "http://"
_TRUSTED: Final = b"BEGIN TRUSTED CERTIFICATE"
# Read by the requests library, boto3, and the clients of Azure and Google.
_COMMON_CA_VARIABLE: Final = "REQUESTS_CA_BUNDLE"


@dataclass(frozen=True, slots=True)
class Setting:
    """An explicitly given value and its source."""

    value: str
    source: str
    """An environment variable, a key in a file, or an option of the program."""


def from_environment(*names: str) -> Setting | None:
    """Return the first of the variables that is set and not empty."""
    for name in names:
        if value := os.environ.get(name):
            return Setting(value, name)
    return None


def from_options(options: Mapping[str, str], name: str) -> Setting | None:
    """Return an option that the program gave for this store, or None."""
    value = options.get(name)
    return None if value is None else Setting(value, f"storage_options[{name!r}]")


def is_truthy(setting: Setting | None) -> TypeGuard[Setting]:
    """Return True if one of object_store's switches is on, in any spelling that it accepts."""
    return setting is not None and setting.value.lower() in {"1", "true", "on", "yes", "y"}


def is_aws_true(setting: Setting | None) -> TypeGuard[Setting]:
    """Return True if a switch of the AWS tools is on, for which they accept only ``true``.

    Raises:
        InvalidValue: its value is neither ``true`` nor ``false``; the AWS tools would silently
            take it for ``false``.
    """
    if setting is None:
        return False
    value = setting.value.lower()
    if value not in {"true", "false"}:
        raise InvalidValue(f"{setting.source} must be true or false, not {setting.value!r}")
    return value == "true"


def check_endpoint(setting: Setting) -> str:
    """Check the address of a server and return it without trailing slashes.

    Raises:
        InvalidValue: it is not a valid address.
    """
    found = _ADDRESS.fullmatch(setting.value)
    if found is None or not _is_host(found["host"]) or int(found["port"] or 0) > _MAX_PORT:
        raise InvalidValue(
            f"{setting.source} is not a valid URL: write http://host:port or https://host, in "
            "ASCII characters, and an IPv6 address in brackets"
        )
    return setting.value.rstrip("/")


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif _NUMBER.fullmatch(labels[-1]):
            IPv4Address(host)
        else:
            host.encode().decode("idna")
    except ValueError:
        return False
    return all(labels)


def check_header_value(setting: Setting) -> str:
    """Check and return a setting that is sent unchanged, such as a key or a token.

    Raises:
        InvalidValue: it contains a character that is not allowed in a header or URL.
    """
    if not _HEADER_VALUE.fullmatch(setting.value):
        raise InvalidValue(
            f"{setting.source} contains a space, a line break or another invalid character: "
            "remove it"
        )
    return setting.value


def check_host_label(setting: Setting) -> str:
    """Check and return a setting that becomes part of a host name, such as a region or account.

    Raises:
        InvalidValue: it is not a valid label of a host name, and might lead to another host.
    """
    if not _HOST_LABEL.fullmatch(setting.value):
        raise InvalidValue(
            f"{setting.source} may contain only letters, digits and hyphens, not {setting.value!r}"
        )
    return setting.value


def is_plain_http(endpoint: str) -> bool:
    """Return True if an address explicitly starts with ``http://``."""
    return endpoint.lower().startswith(_PLAIN_HTTP)


def ca_from_environment() -> Setting | None:
    """Return the certificate file that Python's HTTP clients commonly use, if one is named."""
    return from_environment(_COMMON_CA_VARIABLE)


def read_certificates(setting: Setting | None, endpoint: str) -> bytes | None:
    """Read the certificates in a PEM file; None for a plain HTTP endpoint or without a setting.

    Raises:
        InvalidValue: the file cannot be read, or does not contain certificates in plain PEM.
    """
    if setting is None or is_plain_http(endpoint):
        return None
    path = Path(setting.value)
    try:
        data = path.read_bytes()
        # obstore accepts a file without certificates, and then trusts none.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise InvalidValue(
            f"{setting.source}: {path} contains no certificate. Give a file of PEM certificates"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a valid path"
        raise InvalidValue(
            f"{setting.source}: {path} cannot be read: {reason}. Give a file of PEM certificates"
        ) from error
    if _TRUSTED in data:
        raise InvalidValue(
            f"{setting.source}: {path} has a certificate in OpenSSL's own format. Convert it "
            f"to plain PEM: openssl x509 -in {path} -out plain.pem"
        )
    return data
