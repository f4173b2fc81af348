"""Causes of failed or malformed responses, derived from the text of obstore's errors.

The text itself is not passed on: the results contain nothing of an address or a response.
"""

import os
import re
from functools import lru_cache
from http.client import HTTPException
from typing import Final, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from obstore.exceptions import InvalidPathError

from framecache.store.provider_hints import ProviderHints
from framecache.store.proxies import Proxy, proxy_to


class Cause(NamedTuple):
    """Reason of a failure, and a remedy."""

    reason: str
    remedy: str
    """Remedy; empty for the general one, which is to check the network and the endpoint.

    In the tables below it contains format fields for what differs between kinds of stores.
    """


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_UNSUPPORTED_PARTS: Final = frozenset({"", ".", ".."})
# A string in Rust's debug format.
_UNSUPPORTED_KEY: Final = re.compile(r'(?:EmptySegment|BadSegment) \{\s*path: "((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-f]+)\}|(.))")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_URI: Final = re.compile(r"uri: Some\(\s*(\S+?),?\s*\)")
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)")
_CA_CERTIFICATE: Final = "CaUsedAsEndEntity"
_CERTIFICATE_ERRORS: Final = {
    "UnknownIssuer": "it is not signed by a trusted certificate authority",
    _CA_CERTIFICATE: "it is the certificate of an authority (CA:TRUE), which a server must not use",
    "Expired": "it has expired",
    "ExpiredContext": "it has expired",
    "NotValidYet": "it is not valid yet",
    "NotValidYetContext": "it is not valid yet",
    "NotValidForName": "it is for another host",
    "NotValidForNameContext": "it is for another host",
    "Revoked": "it was revoked",
}
_UNTRUSTED_REMEDY: Final = (
    "Check the URL and this machine's clock; for your own certificate authority, set "
    "{certificates} to the file of its certificate"
)
_CA_CERTIFICATE_REMEDY: Final = (
    "Give the server a certificate with basicConstraints CA:FALSE, which may be self-signed, "
    "and set {certificates} to its file"
)
_PROXY_LOGIN: Final = re.compile(r"ProxyAuthRequired|status code: 407")
_PROXY_TUNNEL: Final = re.compile(r"TunnelUnsuccessful|TunnelUnexpectedEof|[Ss]ocks")
_NO_CONNECTION: Final = re.compile(r"kind: Connect\b|\bConnectError\(")

# The first match wins.
_CAUSES: Final[tuple[tuple[re.Pattern[str], Cause], ...]] = (
    (
        re.compile(r"InvalidMessage\(|InvalidContentType"),
        Cause(
            "it does not speak TLS",
            "Write http:// instead of https:// in {endpoint}, or correct its port",
        ),
    ),
    (
        re.compile(r"dns error|failed to lookup address"),
        Cause("its host name cannot be resolved", ""),
    ),
    (
        re.compile(r"ConnectionRefused|Connection refused"),
        Cause("it refuses the connection; maybe no server listens there", ""),
    ),
    (
        re.compile(r"HostUnreachable|NetworkUnreachable|No route to host"),
        Cause("there is no route to it", ""),
    ),
    (
        re.compile(r"TimedOut|kind: Timeout|timed out"),
        Cause("it did not respond in time", ""),
    ),
    (
        re.compile(r"ConnectionReset|BrokenPipe|UnexpectedEof|IncompleteMessage|kind: Interrupted"),
        Cause("it closed the connection", ""),
    ),
    (
        re.compile(r"response body error|error decoding response body|IncompleteBody"),
        Cause("its response was incomplete", ""),
    ),
)
_UNKNOWN: Final = Cause("it did not respond, or not in time", "")

_PROTOCOL_VIOLATIONS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"\bNotPartial\b"),
        "the server ignores Range: it sent a whole object when part of it was requested",
    ),
    (re.compile(r"\bMissingEtag\b"), "the server's response has no ETag"),
    (
        re.compile(r"MissingContentLength|NoSize|Content-Length Header missing"),
        "the server's response has no Content-Length",
    ),
    (re.compile(r"MissingLastModified"), "the server's response has no Last-Modified"),
    (
        re.compile(r"InvalidListResponse"),
        "the server's response to a listing is not that of {server}",
    ),
    (
        re.compile(r"Invalid\w+Response"),
        "the server's response is not that of {server}",
    ),
    (
        re.compile(r"ParseContentRange|InvalidContentRange|UnexpectedRange|Invalid\w*Range"),
        "the server sent another part of an object than was requested",
    ),
)

_REGION_TAG: Final = re.compile(r"<Region>([a-z0-9-]{1,32})</Region>|expecting '([a-z0-9-]{1,32})'")
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}")
_REGION_SECONDS: Final = 5

_TOKEN_FILE: Final = re.compile(r"Failed to read (EKS )?token file '([^'\n]*)'")
_TOKEN_VARIABLES: Final = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
# obstore's wording of an error raised by boto3.
_BOTO3_ERROR: Final = re.compile(
    r"External AWS credential provider: (?!LookupError)(\w+): ([^\n]*)"
)
_FILE: Final = re.compile(r"\[Errno \d+\] [^:]*: '([^'\n]*)'")
_LOCKED: Final = re.compile(
    r"protected by object lock|WORM protected|ObjectLocked|BlobImmutableDueToPolicy"
    r"|retention policy|subject to active hold"
)
_LOCKED_BUCKET: Final = re.compile(r"Object Lock parameters")


def is_unsupported_key(key: str) -> bool:
    """Return True if obstore cannot represent a key."""
    return not _UNSUPPORTED_PARTS.isdisjoint(key.split("/")) or _CONTROL.search(key) is not None


def find_unsupported_key(error: Exception) -> str | None:
    """Return the key that ended a listing; None if the error has another cause."""
    found = _UNSUPPORTED_KEY.search(str(error)) if isinstance(error, InvalidPathError) else None
    if found is None:
        return None
    return _ESCAPE.sub(_unescape, found[1])


def connection_failure_cause(text: str, remedies: ProviderHints) -> Cause:
    """Return the cause of a request that got no response."""
    if (at_proxy := _proxy_failure_cause(text, _find_proxy(text))) is not None:
        return at_proxy
    found = _certificate_failure_cause(text) or next(
        (cause for pattern, cause in _CAUSES if pattern.search(text)), _UNKNOWN
    )
    remedy = found.remedy.format(certificates=remedies.certificates, endpoint=remedies.endpoint)
    return Cause(found.reason, remedy)


def is_refused_by_proxy(text: str) -> bool:
    """Return True if a proxy demands authentication."""
    return _PROXY_LOGIN.search(text) is not None


def find_protocol_violation(text: str, remedies: ProviderHints) -> str | None:
    """Return how a response deviates from the store's protocol; None if in no known way."""
    found = next((words for pattern, words in _PROTOCOL_VIOLATIONS if pattern.search(text)), None)
    return found and found.format(server=remedies.server)


def missing_token_file(text: str) -> str | None:
    """Return a message about a token file that cannot be read; None for any other error."""
    if found := _TOKEN_FILE.search(text):
        variable = _TOKEN_VARIABLES[0 if found[1] else 1]
        return (
            f"the token file {found[2]!r} that {variable} names cannot be read. Correct "
            "that variable"
        )
    met = _BOTO3_ERROR.search(text)
    if met is None or (file := _FILE.search(met[2])) is None:
        return None
    # The file is named by an environment variable or by the profile.
    named = next((name for name in _TOKEN_VARIABLES if os.environ.get(name) == file[1]), None)
    if named is None:
        return f"the credentials file {file[1]!r} cannot be read. Correct its path"
    return f"the token file {file[1]!r} that {named} names cannot be read. Correct that variable"


def boto3_error_type(text: str) -> str | None:
    """Return the type of the error that boto3 raised while finding credentials, or None."""
    found = _BOTO3_ERROR.search(text)
    return found[1] if found else None


def is_object_locked(text: str) -> bool:
    """Return True if an object lock or a policy prevents deleting or replacing an object."""
    return _LOCKED.search(text) is not None


def is_bucket_locked(text: str) -> bool:
    """Return True if a bucket locks new objects, for which it requires a checksum on upload."""
    return _LOCKED_BUCKET.search(text) is not None


def find_bucket_region(text: str, *, bucket: str) -> str | None:
    """Return the region of a bucket after a request to a wrong region; None if unknown.

    A response without a body does not name the region, so it is requested from S3, unsigned.
    """
    if named := _REGION_TAG.search(text):
        return named[1] or named[2]
    uri = _URI.search(text)
    return _request_region(_bucket_url(uri[1], bucket)) if uri else None


def _bucket_url(uri: str, bucket: str) -> str:
    parts = urlsplit(uri)
    first = parts.path.split("/")[1:2]
    path = f"/{bucket}" if first == [bucket] else "/"
    return f"{parts.scheme}://{parts.netloc}{path}"


@lru_cache(maxsize=64)
def _request_region(bucket_url: str) -> str | None:
    request = Request(bucket_url, method="HEAD")  # noqa: S310 -- obstore spoke http or https to it
    try:
        with urlopen(request, timeout=_REGION_SECONDS) as answer:  # noqa: S310 -- same
            region = answer.headers.get("x-amz-bucket-region")
    except HTTPError as error:
        with error:
            region = error.headers.get("x-amz-bucket-region")
    except (OSError, HTTPException, ValueError):
        return None
    return region if region is not None and _REGION.fullmatch(region) else None


def _find_proxy(text: str) -> Proxy | None:
    uri = _URI.search(text)
    return proxy_to(uri[1]) if uri else None


def _proxy_failure_cause(text: str, proxy: Proxy | None) -> Cause | None:
    name = f"the proxy in {proxy.variable}" if proxy else "a proxy on the way"
    remedy = f"Correct {proxy.variable}, or name the server in NO_PROXY" if proxy else ""
    if _PROXY_LOGIN.search(text):
        return Cause(f"{name} requires a different user and password", remedy)
    if _PROXY_TUNNEL.search(text):
        return Cause(f"{name} does not connect to it", remedy)
    if proxy is not None and _NO_CONNECTION.search(text) and not _CERTIFICATE.search(text):
        return Cause(f"{name} cannot be reached", remedy)
    return None


def _certificate_failure_cause(text: str) -> Cause | None:
    met = _CERTIFICATE.search(text)
    if met is None:
        return None
    fault = _CERTIFICATE_ERRORS.get(met[1], f"it is not accepted ({met[1]})")
    remedy = _CA_CERTIFICATE_REMEDY if met[1] == _CA_CERTIFICATE else _UNTRUSTED_REMEDY
    return Cause(f"its certificate is not trusted: {fault}", remedy)


def _unescape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _ESCAPES.get(escape[2], escape[2])
