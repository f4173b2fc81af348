"""Settings common to all clients: timeouts, retries, trusted certificates.

A request times out after `_READ_TIMEOUT` without a response. This includes uploads, which is why
`put` sends large blobs in parts. A request that failed for a transient reason is retried at most
`_MAX_RETRIES` times, and only within `_RETRY_WINDOW` of its first attempt. So a refused connection
fails within about 3 s, an unreachable address within about 11 s, and a server that accepts the
connection but does not respond after 20 s. The backend's own defaults are 10 retries in 3 minutes:
too long for a waiting reader.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_CONNECT_TIMEOUT: Final = timedelta(seconds=3)
_READ_TIMEOUT: Final = timedelta(seconds=20)
_REQUEST_TIMEOUT: Final = timedelta(seconds=60)
_MAX_RETRIES: Final = 5
_RETRY_WINDOW: Final = timedelta(seconds=8)
_INITIAL_BACKOFF: Final = timedelta(milliseconds=100)
_MAX_BACKOFF: Final = timedelta(seconds=2)


def client_options(*, plain_http: bool, certificates: bytes | None) -> "ClientConfig":
    """Return the options for sending requests.

    Args:
        plain_http: allow unencrypted requests.
        certificates: certificates in PEM, trusted in addition to those of the system.
    """
    options: ClientConfig = {
        "allow_http": plain_http,
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "timeout": _REQUEST_TIMEOUT,
    }
    if certificates is not None:
        options["root_certificate"] = certificates
    return options


def retry_config() -> "RetryConfig":
    """Return the options for retrying requests."""
    return {
        "max_retries": _MAX_RETRIES,
        "retry_timeout": _RETRY_WINDOW,
        "backoff": {
            "init_backoff": _INITIAL_BACKOFF,
            "max_backoff": _MAX_BACKOFF,
            "base": 2,
        },
    }
