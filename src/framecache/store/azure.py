"""Azure Blob Storage: the account, its endpoint and credentials, and the client."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.store import AzureStore

from framecache.errors import InvalidValue
from framecache.store.azure_credentials import AzureSigner, StaticSecret, signer_from_environment
from framecache.store.client_config import client_options, retry_config
from framecache.store.servers import DEFAULT, Server
from framecache.store.settings import (
    Setting,
    ca_from_environment,
    check_endpoint,
    check_host_label,
    from_environment,
    from_options,
    is_plain_http,
    is_truthy,
    read_certificates,
)
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore.store import AzureConfig

_CONNECTION_VARIABLE: Final = "AZURE_STORAGE_CONNECTION_STRING"
_ACCOUNT_VARIABLE: Final = "AZURE_STORAGE_ACCOUNT_NAME"
_ENDPOINT_VARIABLES: Final = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_EMULATOR_VARIABLE: Final = "AZURE_STORAGE_USE_EMULATOR"
_EMULATOR_ADDRESS_VARIABLE: Final = "AZURITE_BLOB_STORAGE_URL"
_EMULATOR: Final = "http://127.0.0.1:10000"
_AZURE_ENDPOINT: Final = re.compile(r"https?://([a-z0-9]+)(?:-secondary)?\.blob\.", re.IGNORECASE)
_DEVELOPMENT: Final = "usedevelopmentstorage"
# Every emulator has this account. Its key is public and works nowhere else.
_DEVELOPMENT_ACCOUNT: Final = {
    "accountname": "devstoreaccount1",
    "accountkey": (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    ),
    "blobendpoint": f"{_EMULATOR}/devstoreaccount1",
}


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """Settings for access to a container."""

    account: Setting | None
    endpoint: Setting | None
    signer: AzureSigner
    ca: Setting | None

    @property
    def server(self) -> Server:
        """Server that requests go to, from the settings or by default."""
        name = self.account.value if self.account else "none"
        return Server(self.endpoint or Setting(f"https://{name}.blob.core.windows.net", DEFAULT))


@dataclass(frozen=True, slots=True)
class _PartialSettings:
    """Settings from one source: the program or the environment."""

    account: Setting | None = None
    endpoint: Setting | None = None
    signer: AzureSigner | None = None


def azure_settings(options: Mapping[str, str]) -> AzureSettings:
    """Collect the settings for access to a container. Makes no request.

    Raises:
        InvalidValue: a setting cannot be used, or contradicts another.
    """
    own = _settings_from_options(options)
    named = _account_from_environment()
    if own.account and named and own.account.value != named.value:
        rest = _PartialSettings(signer=_signer_for_other_account(own, named))
    else:
        rest = _settings_from_environment()
    account = own.account or rest.account
    if account:
        check_host_label(account)
    return AzureSettings(
        account=account,
        endpoint=own.endpoint or rest.endpoint,
        signer=own.signer or rest.signer or signer_from_environment(),
        ca=from_options(options, "ca") or ca_from_environment(),
    )


def azure_client(location: Location, settings: AzureSettings) -> AzureStore:
    """Create a client for a container.

    Raises:
        InvalidValue: a setting cannot be used.
    """
    endpoint = check_endpoint(settings.server.endpoint)
    # Set everything explicitly: object_store reads what is missing from the environment.
    config: AzureConfig = {
        "endpoint": endpoint,
        "skip_signature": settings.signer.kind == "anonymous",
        "use_emulator": False,
    }
    if settings.account is not None:
        config["account_name"] = settings.account.value
    return AzureStore(
        location.bucket,
        config=config,
        client_options=client_options(
            plain_http=is_plain_http(endpoint),
            certificates=read_certificates(settings.ca, endpoint),
        ),
        retry_config=retry_config(),
        credential_provider=StaticSecret(settings.signer) if settings.signer.secret else None,
    )


def _settings_from_options(options: Mapping[str, str]) -> _PartialSettings:
    key, sas = from_options(options, "key"), from_options(options, "sas")
    account, endpoint = from_options(options, "account"), from_options(options, "endpoint")
    if key and sas:
        raise InvalidValue("storage_options has both 'key' and 'sas': give one of them")
    secret = key or sas
    if secret and not account:
        raise InvalidValue(f"{secret.source} is given, but no 'account': give both")
    anon = from_options(options, "anon")
    if anon and secret:
        raise InvalidValue(
            f"storage_options has 'anon' together with {secret.source}: give one of them"
        )
    anonymous = AzureSigner("anonymous", anon.source) if anon else None
    connection = from_options(options, "connection_string")
    if connection and account:
        raise InvalidValue(
            "storage_options has both 'account' and 'connection_string': give one of them"
        )
    if connection:
        connected = _parse_connection_string(connection)
        return replace(
            connected,
            endpoint=endpoint or connected.endpoint,
            signer=anonymous or connected.signer,
        )
    if account is None and endpoint and (there := _account_from_azure_endpoint(endpoint.value)):
        account = Setting(there, endpoint.source)
    signer = AzureSigner.with_secret("key" if key else "sas", secret) if secret else None
    return _PartialSettings(account, endpoint, anonymous or signer)


def _settings_from_environment() -> _PartialSettings:
    """Return the settings in the environment variables.

    Raises:
        InvalidValue: the variables name two different accounts.
    """
    account = from_environment(_ACCOUNT_VARIABLE)
    if (connection := from_environment(_CONNECTION_VARIABLE)) is None:
        if is_truthy(emulator := from_environment(_EMULATOR_VARIABLE)):
            return _emulator_settings(emulator, account)
        return _PartialSettings(account, from_environment(*_ENDPOINT_VARIABLES))
    connected = _parse_connection_string(connection)
    if account and connected.account and account.value != connected.account.value:
        raise InvalidValue(
            f"{connection.source} is for account {connected.account.value!r}, but "
            f"{account.source} is {account.value!r}: unset one of them"
        )
    return connected


def _emulator_settings(switch: Setting, account: Setting | None) -> _PartialSettings:
    """Return object_store's settings for the emulator; ``account`` overrides its usual account."""
    account = account or Setting(_DEVELOPMENT_ACCOUNT["accountname"], switch.source)
    base = from_environment(_EMULATOR_ADDRESS_VARIABLE) or Setting(_EMULATOR, switch.source)
    signer = signer_from_environment()
    if signer.secret is None:
        signer = AzureSigner("key", switch.source, _DEVELOPMENT_ACCOUNT["accountkey"])
    endpoint = Setting(f"{base.value.rstrip('/')}/{account.value}", base.source)
    return _PartialSettings(account, endpoint, signer)


def _account_from_environment() -> Setting | None:
    """Return the account that the secrets in the environment belong to; None if unknown."""
    connection = from_environment(_CONNECTION_VARIABLE)
    if connection is not None:
        return _parse_connection_string(connection).account
    named = from_environment(_ACCOUNT_VARIABLE)
    return named or (
        _settings_from_environment().account if from_environment(_EMULATOR_VARIABLE) else None
    )


def _signer_for_other_account(own: _PartialSettings, named: Setting) -> AzureSigner:
    """Return the signer for an account that is not the one in the environment.

    Raises:
        InvalidValue: the only secret found belongs to the account in the environment.
    """
    if own.signer is not None:
        return own.signer
    found = signer_from_environment()
    if found.secret is not None and own.account is not None:
        raise InvalidValue(
            f"{found.source} is a secret of the account {named.value!r}, but "
            f"{own.account.source} names another: give 'account' and 'key' or 'sas' in "
            "storage_options"
        )
    return found


def _parse_connection_string(connection: Setting) -> _PartialSettings:
    """Return the settings in a connection string.

    Raises:
        InvalidValue: it is not a valid connection string.
    """
    parts = _split_connection_string(connection)
    if parts.get(_DEVELOPMENT, "").lower() == "true":
        parts = _DEVELOPMENT_ACCOUNT
    blobs = parts.get("blobendpoint")
    account = parts.get("accountname") or _account_from_host(blobs or "")
    if not account:
        raise InvalidValue(
            f"{connection.source} has neither AccountName nor BlobEndpoint: copy it whole"
        )
    if blobs is None:
        protocol = parts.get("defaultendpointsprotocol", "https")
        suffix = parts.get("endpointsuffix", "core.windows.net")
        blobs = f"{protocol}://{account}.blob.{suffix}"
    source = connection.source
    signer = None
    if key := parts.get("accountkey"):
        signer = AzureSigner("key", f"AccountKey in {source}", key)
    elif sas := parts.get("sharedaccesssignature"):
        signer = AzureSigner("sas", f"SharedAccessSignature in {source}", sas)
    return _PartialSettings(
        Setting(account, f"AccountName in {source}"),
        Setting(blobs, f"BlobEndpoint in {source}"),
        signer,
    )


def _account_from_azure_endpoint(endpoint: str) -> str | None:
    """Return the account named by an endpoint at Azure; None for other endpoints."""
    found = _AZURE_ENDPOINT.match(endpoint)
    return found[1].lower() if found else None


def _account_from_host(endpoint: str) -> str:
    """Return the first label of the endpoint's host name, which is the account at Azure.

    Used for connection strings without AccountName, which have a shared access signature.
    """
    return (urlsplit(endpoint).hostname or "").partition(".")[0]


def _split_connection_string(connection: Setting) -> dict[str, str]:
    """Split a connection string into its parts, keyed by lower-case name."""
    parts = {}
    for part in connection.value.strip().strip(";").split(";"):
        name, separator, value = part.partition("=")
        if not separator:
            raise InvalidValue(
                f"{connection.source} is not a connection string, which has the form "
                "Name=value, separated by semicolons"
            )
        parts[name.strip().lower()] = value.strip()
    return parts
