"""Credentials for requests to S3, chosen as boto3 would choose them, in the same order.

Cases that object_store handles as boto3 does are left to object_store. For all others, boto3 is
asked at the first request and not before, so that opening a store never waits. boto3 gives up
after 1 s on an instance metadata service that does not answer.
"""

import importlib.util
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from framecache.errors import InvalidValue, StorePermissionDenied
from framecache.store.aws_profile import Profile
from framecache.store.settings import (
    Setting,
    check_header_value,
    from_environment,
    from_options,
    is_aws_true,
    is_truthy,
)
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3CredentialProvider

_CREDENTIALS_LIFETIME: Final = timedelta(minutes=10)
_TOKEN_VARIABLES: Final = ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class StsEndpoint:
    """The STS endpoint where a web identity is exchanged for credentials."""

    endpoint: Setting | None
    """None means Amazon's endpoint; object_store does that exchange itself."""
    ca: Setting | None
    region: str


@dataclass(frozen=True, slots=True)
class Signer:
    """Source of the keys that sign requests."""

    source: str
    """A variable, a file or an option; for error messages and reports."""
    provider: "S3CredentialProvider | None" = None
    """None means that object_store finds the credentials itself."""
    config: "S3Config | None" = field(default=None, repr=False)
    """Configuration that object_store needs for this source."""
    is_anonymous: bool = False
    """True if requests are sent unsigned."""


class _StaticKeys:
    """Provider of explicit keys. Nothing else is mixed in, such as an unrelated token."""

    def __init__(self, key: Setting, secret: Setting, token: Setting | None) -> None:
        self._credential: S3Credential = {
            "access_key_id": check_header_value(key),
            "secret_access_key": check_header_value(secret),
            "token": check_header_value(token) if token else None,
            "expires_at": None,
        }

    def __call__(self) -> "S3Credential":
        return self._credential


class _Boto3Credentials:
    """Provider of what boto3 finds: profiles, SSO, roles, containers, the instance."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        # Any: framecache does not depend on boto3's types.
        self._session: Any = None

    def __call__(self) -> "S3Credential":
        import boto3  # noqa: PLC0415 - optional, and slow to import

        self._session = self._session or boto3.session.Session(profile_name=self._profile)
        credentials = self._session.get_credentials()
        if credentials is None:
            raise LookupError("No credentials")
        return _credential(credentials)


class _WebIdentity:
    """Provider that exchanges a web identity at a server that is not Amazon's."""

    def __init__(self, role: str, token_file: str, exchange: StsEndpoint) -> None:
        self._role = role
        self._token_file = Path(token_file)
        self._exchange = exchange

    def __call__(self) -> "S3Credential":
        import boto3  # noqa: PLC0415 - optional, and slow to import
        from botocore import UNSIGNED  # noqa: PLC0415 - same
        from botocore.config import Config  # noqa: PLC0415 - same

        endpoint, ca = self._exchange.endpoint, self._exchange.ca
        client: Any = boto3.session.Session().client(
            "sts",
            endpoint_url=endpoint.value if endpoint else None,
            region_name=self._exchange.region,
            verify=ca.value if ca else None,
            config=Config(signature_version=UNSIGNED),
        )
        with closing(client):
            answer = client.assume_role_with_web_identity(
                RoleArn=self._role,
                RoleSessionName=os.environ.get("AWS_ROLE_SESSION_NAME") or "framecache",
                WebIdentityToken=self._token_file.read_text(),
            )["Credentials"]
        return {
            "access_key_id": answer["AccessKeyId"],
            "secret_access_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expires_at": answer["Expiration"].astimezone(UTC),
        }


def _credential(credentials: Any) -> "S3Credential":  # noqa: ANN401 - boto3's types are absent
    frozen = credentials.get_frozen_credentials()
    parts = {"access key": frozen.access_key, "secret key": frozen.secret_key}
    if frozen.token:
        parts["session token"] = frozen.token
    for name, value in parts.items():
        check_header_value(Setting(value, f"the {name} that boto3 finds"))
    asked_again = datetime.now(UTC) + _CREDENTIALS_LIFETIME
    # boto3 exposes the expiry of refreshable credentials only through this private attribute.
    expiry: datetime | None = getattr(credentials, "_expiry_time", None)
    return {
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
        "token": frozen.token,
        "expires_at": min(asked_again, expiry.astimezone(UTC)) if expiry else asked_again,
    }


def find_signer(
    location: Location, profile: Profile, *, is_profile_given: bool, sts: StsEndpoint
) -> Signer:
    """Find the credentials to use when the program gave no keys. Makes no request.

    Args:
        location: the location to be opened, for error messages.
        profile: the active profile.
        is_profile_given: True if the program named the profile; it then takes precedence over
            keys in the environment.
        sts: the endpoint at which a web identity would be exchanged for credentials.

    Raises:
        InvalidValue: only part of the required settings is set.
        StorePermissionDenied: the credentials can only be read by boto3, which is not installed.
    """
    if not is_profile_given and (found := _signer_from_environment()) is not None:
        return found
    if profile.name_source is None and not profile.has_credentials:
        found = _workload_signer(location, sts)
        if found is not None:
            return found
    if _has_boto3():
        return Signer(
            f"profile {profile.name}" if profile.has_credentials else "boto3",
            _Boto3Credentials(profile.name if is_profile_given else None),
            {"skip_signature": False},
        )
    return _instance_signer(location, profile)


def signer_from_options(options: Mapping[str, str]) -> Signer | None:
    """Return the signer that the program's options ask for, or None if they ask for none.

    It signs with the keys in the options, or with ``anon`` not at all.

    Raises:
        InvalidValue: the options have only some of the keys, or contradict each other.
    """
    if "anon" in options:
        if beside := sorted({"key", "secret", "token", "profile"} & options.keys()):
            raise InvalidValue(
                f"storage_options has 'anon' together with {beside[0]!r}: give one of them"
            )
        return Signer("storage_options['anon']", config={"skip_signature": True}, is_anonymous=True)
    names = ("key", "secret", "token")
    key, secret, token = (from_options(options, name) for name in names)
    if (key is None) != (secret is None) or (token is not None and key is None):
        raise InvalidValue(
            "storage_options has only some of 'key', 'secret' and 'token': give key and "
            "secret, and token with temporary credentials"
        )
    if key is None or secret is None:
        return None
    if "profile" in options:
        raise InvalidValue("storage_options has both 'key' and 'profile': give one of them")
    return _static_signer(key, secret, token)


def _static_signer(key: Setting, secret: Setting, token: Setting | None) -> Signer:
    return Signer(key.source, _StaticKeys(key, secret, token), {"skip_signature": False})


def _signer_from_environment() -> Signer | None:
    if is_truthy(from_environment("AWS_SKIP_SIGNATURE")):
        return Signer("AWS_SKIP_SIGNATURE", is_anonymous=True)
    key = from_environment("AWS_ACCESS_KEY_ID")
    secret = from_environment("AWS_SECRET_ACCESS_KEY")
    if key is None or secret is None:
        return None
    return _static_signer(key, secret, from_environment(*_TOKEN_VARIABLES))


def _workload_signer(location: Location, sts: StsEndpoint) -> Signer | None:
    """Return the identity assigned to this container or pod, or None if there is none.

    A container identity given as a full URI is not found here.

    Raises:
        InvalidValue: the token file of a web identity is set, but not its role.
        StorePermissionDenied: exchanging the identity requires boto3, which is not installed.
    """
    token_file = from_environment("AWS_WEB_IDENTITY_TOKEN_FILE")
    if token_file is None:
        relative = from_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        return Signer(relative.source) if relative else None
    role = from_environment("AWS_ROLE_ARN")
    if role is None:
        raise InvalidValue("AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN: set it")
    if sts.endpoint is None:
        return Signer(token_file.source)
    # object_store does not exchange a web identity over plain HTTP.
    if not _has_boto3():
        raise StorePermissionDenied(
            f"{location.url}: exchanging AWS_WEB_IDENTITY_TOKEN_FILE at "
            f"{sts.endpoint.source} needs boto3. Run: pip install 'framecache[aws]'"
        )
    return Signer(
        token_file.source,
        _WebIdentity(role.value, token_file.value, sts),
        {"skip_signature": False},
    )


def _has_boto3() -> bool:
    return importlib.util.find_spec("boto3") is not None


def _instance_signer(location: Location, profile: Profile) -> Signer:
    """Return the identity of the container or instance, for which boto3 is not needed.

    Raises:
        StorePermissionDenied: the settings ask for credentials that only boto3 can read, or the
            instance metadata service is disabled.
    """
    full_uri = from_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if full_uri is not None and from_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        return Signer(full_uri.source)
    wants = (
        f"{profile.name_source} {profile.name!r}"
        if profile.name_source
        else f"the credentials of profile {profile.name!r}"
        if profile.has_credentials
        else full_uri.source
        if full_uri
        else None
    )
    if wants is not None:
        raise StorePermissionDenied(
            f"{location.url}: reading {wants} needs boto3. Run: pip install 'framecache[aws]'"
        )
    if is_aws_true(from_environment("AWS_EC2_METADATA_DISABLED")):
        raise StorePermissionDenied(
            f"{location.url}: no credentials were found. Set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY"
        )
    service = from_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    config: S3Config | None = {"metadata_endpoint": service.value} if service else None
    return Signer("the instance", config=config)
