"""Google Cloud Storage: settings for access to a bucket, and the client."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obstore.store import GCSStore

from framecache.errors import InvalidValue
from framecache.store.client_config import client_options, retry_config
from framecache.store.servers import DEFAULT, Server
from framecache.store.settings import (
    Setting,
    ca_from_environment,
    check_endpoint,
    check_header_value,
    from_environment,
    from_options,
    is_plain_http,
    read_certificates,
)
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore.store import GCSConfig, GCSCredential

_GOOGLE: Final = "https://storage.googleapis.com"
_ENDPOINT_VARIABLE: Final = "GOOGLE_BASE_URL"
_EMULATOR_VARIABLE: Final = "STORAGE_EMULATOR_HOST"
# object_store prefers these over any other credentials file.
_KEY_VARIABLE: Final = "GOOGLE_SERVICE_ACCOUNT_KEY"
_ACCOUNT_VARIABLES: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    _KEY_VARIABLE,
)
_UNUSED_ACCOUNT: Final = Path(__file__).with_name("unused_google_account.json")


@dataclass(frozen=True, slots=True)
class GcsSettings:
    """Settings for access to a bucket, except those that object_store finds itself."""

    endpoint: Setting | None
    anonymous: Setting | None
    """Setting that makes requests unsigned: an option, or the address of an emulator."""
    credentials: Setting | None
    """Path of a credentials file."""
    token: Setting | None = field(repr=False)
    ca: Setting | None

    @property
    def server(self) -> Server:
        """Server that requests go to, from the settings or by default."""
        return Server(self.endpoint or Setting(_GOOGLE, DEFAULT))


def gcs_settings(options: Mapping[str, str]) -> GcsSettings:
    """Collect the settings for access to a bucket. Makes no request.

    Raises:
        InvalidValue: settings contradict each other.
    """
    credentials, token = from_options(options, "credentials"), from_options(options, "token")
    if credentials and token:
        raise InvalidValue("storage_options has both 'credentials' and 'token': give one of them")
    before = from_environment(*_ACCOUNT_VARIABLES)
    if credentials and before:
        raise InvalidValue(f"{before.source} would override {credentials.source}: unset it")
    anon = from_options(options, "anon")
    if anon and (credentials or token):
        raise InvalidValue("storage_options has 'anon' together with credentials: give one of them")
    named = from_options(options, "endpoint") or from_environment(_ENDPOINT_VARIABLE)
    emulator = None if named else _emulator_endpoint()
    return GcsSettings(
        endpoint=named or emulator,
        anonymous=anon or (None if credentials or token else emulator),
        credentials=credentials,
        token=token,
        ca=from_options(options, "ca") or ca_from_environment(),
    )


def gcs_client(location: Location, settings: GcsSettings) -> GCSStore:
    """Create a client for a bucket.

    Raises:
        InvalidValue: a setting cannot be used.
    """
    endpoint = check_endpoint(settings.server.endpoint)
    config: GCSConfig = {}
    if settings.endpoint is not None:
        config["base_url"] = endpoint
    if settings.anonymous is not None:
        config["skip_signature"] = True
    if settings.credentials is not None:
        config["application_credentials"] = settings.credentials.value
        config["skip_signature"] = False
    provider = None
    if settings.token is not None:
        provider = _StaticToken(check_header_value(settings.token))
        config["skip_signature"] = False
    if settings.anonymous is not None:
        # It is never called, but keeps object_store from reading a credentials file.
        provider = _StaticToken("")
    if provider is not None:
        config.update(_override_account())
    return GCSStore(
        location.bucket,
        config=config,
        client_options=client_options(
            plain_http=is_plain_http(endpoint),
            certificates=read_certificates(settings.ca, endpoint),
        ),
        retry_config=retry_config(),
        credential_provider=provider,
    )


def _override_account() -> "GCSConfig":
    """Return settings that keep object_store from reading an unused account of the environment."""
    key = from_environment(_KEY_VARIABLE)
    if key is not None:
        return {"service_account_key": _UNUSED_ACCOUNT.read_text()}
    path = from_environment(*_ACCOUNT_VARIABLES)
    return {"service_account": str(_UNUSED_ACCOUNT)} if path else {}


class _StaticToken:
    """Provider of the token that the program gave."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self) -> "GCSCredential":
        return {"token": self._token, "expires_at": None}


def _emulator_endpoint() -> Setting | None:
    """Return the emulator's address from the environment; ``http://`` is added if missing."""
    named = from_environment(_EMULATOR_VARIABLE)
    if named is None or "://" in named.value:
        return named
    return Setting(f"http://{named.value}", named.source)
