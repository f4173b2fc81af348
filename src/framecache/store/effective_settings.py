"""The settings used for access to a store and their sources, for debugging. Shows no secret."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from framecache.store.aws_credentials import Signer
from framecache.store.azure import azure_settings
from framecache.store.gcs import gcs_settings
from framecache.store.options import NO_OPTIONS, StorageOptions
from framecache.store.proxies import proxy_to, without_credentials
from framecache.store.s3 import s3_settings
from framecache.store.servers import DEFAULT, Server
from framecache.store.settings import Setting, check_endpoint, from_environment
from framecache.store.urls import Location, parse

_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")
_SHOWN_KEY_CHARACTERS: Final = 4
_MIN_KEY_LENGTH: Final = 16
_GOOGLE_SIGNERS: Final = (
    *("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SKIP_SIGNATURE"),
)
_AZURE_SIGNERS: Final = {
    "token": "a secret",
    "key": "a secret",
    "sas": "a secret",
    "anonymous": "none (unsigned)",
    "identity": "an identity in the directory, or that of this machine",
}
_PATHS: Final = frozenset({"GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"}) | {
    "GOOGLE_APPLICATION_CREDENTIALS",
}


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One of the settings used for access to a store."""

    name: str
    """``endpoint``, ``region``, ``signer``, ``CA``, ``proxy`` or ``folder``."""
    value: str
    """The value; of a key, no more than a few characters."""
    source: str
    """An environment variable, a profile, or ``the default``."""


def explain_settings(url: str, options: StorageOptions = NO_OPTIONS) -> list[EffectiveSetting]:
    """Collect the settings used for access to the store at a URL.

    If boto3 provides the credentials, it is asked for them.

    Args:
        url: URL of the store.
        options: settings for access, in addition to the environment.

    Raises:
        InvalidValue: the URL or an environment variable cannot be used.
        StorePermissionDenied: the settings ask for credentials that are not available.
    """
    location = parse(url)
    own = options.for_location(location)
    match location.scheme:
        case "s3":
            return _s3_settings_used(location, own)
        case "gs":
            return _gcs_settings_used(own)
        case "az":
            return _azure_settings_used(own)
        case "file" | "memory":
            return [EffectiveSetting("folder", _folder_of(location), "the URL")]


def is_amazon_s3(url: str, options: StorageOptions) -> bool:
    """Return True if a URL leads to Amazon S3, and not to another S3-compatible server.

    Makes no request.

    Raises:
        InvalidValue: the URL or a setting cannot be used.
        StorePermissionDenied: the settings ask for credentials that are not available.
    """
    location = parse(url)
    if location.scheme != "s3":
        return False
    endpoint = s3_settings(location, options.for_location(location)).endpoint
    host = "" if endpoint is None else urlsplit(endpoint.value).hostname or ""
    return endpoint is None or host.endswith(_AMAZON)


def shorten_key_id(key_id: str) -> str:
    """Shorten an access key ID to the few characters by which its owner recognizes it."""
    if len(key_id) < _MIN_KEY_LENGTH:
        return f"{key_id[: len(key_id) // 4]}…"
    return f"{key_id[:_SHOWN_KEY_CHARACTERS]}…{key_id[-_SHOWN_KEY_CHARACTERS:]}"


def _s3_settings_used(location: Location, options: Mapping[str, str]) -> list[EffectiveSetting]:
    settings = s3_settings(location, options)
    check_endpoint(settings.server.endpoint)
    signer = EffectiveSetting("signer", _describe_signer(settings.signer), settings.signer.source)
    return _bucket_settings_used(settings.server, signer, settings.ca)


def _describe_signer(signer: Signer) -> str:
    """Return the shortened key ID of a signer, or a description of its identity."""
    if signer.source == "AWS_ACCESS_KEY_ID":
        return shorten_key_id(os.environ[signer.source])
    if signer.is_anonymous:
        return "none (unsigned)"
    if signer.provider is None:
        return (
            "the identity that this variable names"
            if signer.source.isupper()
            else "the identity of this machine"
        )
    try:
        credential = signer.provider()
    except Exception as error:  # noqa: BLE001 -- boto3's, of many types, and LookupError
        return f"none: {type(error).__name__}"
    assert isinstance(credential, dict)
    return shorten_key_id(str(credential["access_key_id"]))


def _gcs_settings_used(options: Mapping[str, str]) -> list[EffectiveSetting]:
    settings = gcs_settings(options)
    server = settings.server
    signer = _signer_from_variables(_GOOGLE_SIGNERS)
    if settings.credentials is not None:
        signer = EffectiveSetting("signer", settings.credentials.value, settings.credentials.source)
    if settings.token is not None:
        signer = EffectiveSetting("signer", "a secret", settings.token.source)
    if settings.anonymous is not None:
        signer = EffectiveSetting("signer", "none (unsigned)", settings.anonymous.source)
    return _bucket_settings_used(server, signer, settings.ca)


def _azure_settings_used(options: Mapping[str, str]) -> list[EffectiveSetting]:
    settings = azure_settings(options)
    account = settings.account or Setting("none", DEFAULT)
    signer = EffectiveSetting(
        "signer", _AZURE_SIGNERS[settings.signer.kind], settings.signer.source
    )
    found = _bucket_settings_used(settings.server, signer, settings.ca)
    return [found[0], EffectiveSetting("account", account.value, account.source), *found[1:]]


def _signer_from_variables(variables: Sequence[str]) -> EffectiveSetting:
    named = from_environment(*variables)
    if named is None:
        return EffectiveSetting("signer", "the identity of this machine, if it has one", DEFAULT)
    if named.source in _PATHS:
        return EffectiveSetting("signer", named.value, named.source)
    is_anonymous = named.source.endswith("SKIP_SIGNATURE")
    return EffectiveSetting(
        "signer", "none (unsigned)" if is_anonymous else "a secret", named.source
    )


def _bucket_settings_used(
    server: Server, signer: EffectiveSetting, ca: Setting | None
) -> list[EffectiveSetting]:
    endpoint, region = server.endpoint, server.region
    found = proxy_to(endpoint.value)
    proxy = (found.url, found.variable) if found else ("none", DEFAULT)
    trusted = ca or Setting("the system's certificate authorities", DEFAULT)
    return [
        EffectiveSetting("endpoint", without_credentials(endpoint.value), endpoint.source),
        *([EffectiveSetting("region", region.value, region.source)] if region else []),
        signer,
        EffectiveSetting("CA", trusted.value, trusted.source),
        EffectiveSetting("proxy", *proxy),
    ]


def _folder_of(location: Location) -> str:
    return location.path if location.scheme == "file" else "the memory of this process"
