"""How each backend is reached: settings from the environment, deadlines, credentials.

A request gives up after `_SILENCE` without an answer, an upload included, which is why `put`
sends large blobs in parts. A request that failed for a passing reason is sent again, at most
`_RETRIES` times, as long as `_RETRY_WINDOW` since its first attempt has not gone by. So a
refused connection fails within about 3 s, an unreachable address within about 11 s, and a
server that accepts and stays silent after 20 s. The backend's own defaults are 10 retries in
3 minutes: too long for a reader that waits.
"""

import importlib.util
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import obstore.exceptions
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from framecache.errors import InvalidValue, StoreDenied
from framecache.store.faults import CREDENTIALS
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

Client = S3Store | GCSStore | AzureStore | LocalStore | MemoryStore

_CONNECT: Final = timedelta(seconds=3)
_SILENCE: Final = timedelta(seconds=20)
_WHOLE_REQUEST: Final = timedelta(seconds=60)
_RETRIES: Final = 5
_RETRY_WINDOW: Final = timedelta(seconds=8)
_FIRST_BACKOFF: Final = timedelta(milliseconds=100)
_LONGEST_BACKOFF: Final = timedelta(seconds=2)

# The order in which the AWS tools look; the last name is object_store's own.
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINT: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?", re.IGNORECASE)
# With any of these object_store finds credentials itself, without asking the instance.
_CREDENTIAL_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_CREDENTIALS_LIFE: Final = timedelta(minutes=10)

_memory_stores: dict[str, MemoryStore] = {}


def connect(location: Location) -> Client:
    """A client for the bucket or folder of a location. Sends nothing yet.

    Raises:
        InvalidValue: a variable of the environment cannot be used.
        StoreDenied: credentials are asked for that cannot be had.
    """
    try:
        return _connect(location)
    except obstore.exceptions.BaseError as error:
        raise StoreDenied(
            f"{location.url} cannot be opened with the settings found. "
            f"Set {CREDENTIALS[location.scheme]}"
        ) from error


def _connect(location: Location) -> Client:
    match location.scheme:
        case "s3":
            return _s3(location)
        case "gs":
            return GCSStore(
                location.bucket,
                client_options=_client_options(),
                retry_config=_retry_config(),
            )
        case "az":
            return AzureStore(
                location.bucket,
                client_options=_client_options(),
                retry_config=_retry_config(),
            )
        case "memory":
            # setdefault is atomic, so two threads that open one name share one store.
            return _memory_stores.setdefault(location.bucket, MemoryStore())
        case "file":
            # Without cleanup, folders emptied by a delete would stay and be listed.
            return LocalStore(location.path, automatic_cleanup=True)


def _s3(location: Location) -> S3Store:
    config: S3Config = {}
    endpoint = _endpoint()
    if endpoint is not None:
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint
    provider = _profile_credentials(location)
    if provider is not None and provider.region is not None and not _has_region():
        config["region"] = provider.region
    return S3Store(
        location.bucket,
        config=config,
        client_options=_client_options(plain_http=_is_plain_http(endpoint)),
        retry_config=_retry_config(),
        credential_provider=provider,
    )


def _endpoint() -> str | None:
    for name in _ENDPOINT_VARIABLES:
        value = os.environ.get(name, "")
        if not value:
            continue
        # obstore panics at an address that is no URL, so it must not see one.
        if not _ENDPOINT.fullmatch(value):
            raise InvalidValue(f"{name} is not an address: write http://host:port or https://host")
        return value.rstrip("/")
    return None


def _is_plain_http(endpoint: str | None) -> bool:
    return endpoint is not None and endpoint.lower().startswith("http://")


def _has_region() -> bool:
    return any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))


class _ProfileCredentials:
    """The credentials that the AWS tools would find: profiles, SSO, roles, the instance's.

    They are looked up at the first request, not before: opening a store waits for nobody. And
    boto3 gives up on an instance that does not answer after 1 s.
    """

    def __init__(self) -> None:
        import boto3  # noqa: PLC0415 - optional, and slow to import

        # Any: boto3's types are no dependency of framecache.
        self._session: Any = boto3.session.Session()
        self.region: str | None = self._session.region_name

    def __call__(self) -> "S3Credential":
        credentials = self._session.get_credentials()
        if credentials is None:
            raise LookupError("No credentials")
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIFE,
        }


def _profile_credentials(location: Location) -> _ProfileCredentials | None:
    if any(os.environ.get(name) for name in _CREDENTIAL_VARIABLES):
        return None
    if importlib.util.find_spec("boto3") is not None:
        return _open_profile(location)
    if profile := os.environ.get("AWS_PROFILE"):
        raise StoreDenied(
            f"{location.url}: reading AWS_PROFILE {profile!r} needs boto3. "
            f"Run: pip install 'framecache[aws]'"
        )
    return None


def _open_profile(location: Location) -> _ProfileCredentials:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - optional

    try:
        return _ProfileCredentials()
    except BotoCoreError as error:
        profile = os.environ.get("AWS_PROFILE")
        raise StoreDenied(
            f"{location.url}: AWS_PROFILE {profile!r} cannot be used. "
            f"Check its name and the file it is in (~/.aws/config)"
        ) from error


def _client_options(*, plain_http: bool = False) -> "ClientConfig":
    return {
        "allow_http": plain_http,
        "connect_timeout": _CONNECT,
        "read_timeout": _SILENCE,
        "timeout": _WHOLE_REQUEST,
    }


def _retry_config() -> "RetryConfig":
    return {
        "max_retries": _RETRIES,
        "retry_timeout": _RETRY_WINDOW,
        "backoff": {
            "init_backoff": _FIRST_BACKOFF,
            "max_backoff": _LONGEST_BACKOFF,
            "base": 2,
        },
    }
