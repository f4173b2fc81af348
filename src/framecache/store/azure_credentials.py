"""Credentials for requests to Azure, chosen in object_store's order.

The choice is passed to object_store explicitly, so that it does not find another one.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

from framecache.errors import InvalidValue
from framecache.store.servers import DEFAULT
from framecache.store.settings import Setting, check_header_value, from_environment, is_truthy

if TYPE_CHECKING:
    from obstore.store import AzureAccessKey, AzureBearerToken, AzureSASToken

# All names under which object_store accepts each setting.
_TOKEN: Final = ("AZURE_STORAGE_TOKEN",)
_KEY: Final = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
)
_SAS: Final = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
_CLIENT: Final = ("AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID")
_CLIENT_SECRET: Final = ("AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET")
_TENANT: Final = (
    "AZURE_TENANT_ID",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_AUTHORITY_ID",
    "AZURE_STORAGE_AUTHORITY_ID",
)
_FEDERATED: Final = "AZURE_FEDERATED_TOKEN_FILE"
_AZURE_CLI: Final = "AZURE_USE_AZURE_CLI"
_ANONYMOUS: Final = "AZURE_SKIP_SIGNATURE"
_CREDENTIAL_TYPE: Final = "AZURE_CREDENTIAL_TYPE"
_ANY: Final = "auto"

SignerKind = Literal["token", "key", "sas", "identity", "anonymous"]


@dataclass(frozen=True, slots=True)
class AzureSigner:
    """Credentials that sign requests."""

    kind: SignerKind
    """``identity`` is an identity in Microsoft Entra ID, which may have access to any account.

    ``anonymous`` sends requests unsigned.
    """
    source: str
    """A variable, an option, or the default; for error messages and reports."""
    secret: str | None = field(default=None, repr=False)

    @staticmethod
    def with_secret(kind: SignerKind, secret: Setting) -> "AzureSigner":
        """Return a signer that uses the secret of one account."""
        return AzureSigner(kind, secret.source, secret.value)


def signer_from_environment() -> AzureSigner:
    """Return the signer used when neither the program nor a connection string gives a secret."""
    if is_truthy(anonymous := from_environment(_ANONYMOUS)):
        return AzureSigner("anonymous", anonymous.source)
    command_line = from_environment(_AZURE_CLI)
    candidates: tuple[tuple[str, SignerKind, Setting | None], ...] = (
        ("bearer_token", "token", from_environment(*_TOKEN)),
        ("access_key", "key", from_environment(*_KEY)),
        ("", "identity", _named_identity()),
        ("sas_token", "sas", from_environment(*_SAS)),
        ("azure_cli", "identity", command_line if is_truthy(command_line) else None),
    )
    choice = from_environment(_CREDENTIAL_TYPE)
    for name, kind, setting in candidates:
        if setting and (choice is None or choice.value in {_ANY, name}):
            secret = None if kind == "identity" else setting.value
            return AzureSigner(kind, setting.source, secret)
    return AzureSigner("identity", choice.source if choice else DEFAULT)


def _named_identity() -> Setting | None:
    if from_environment(*_CLIENT) is None or from_environment(*_TENANT) is None:
        return None
    return from_environment(_FEDERATED, *_CLIENT_SECRET)


class StaticSecret:
    """Provider of one account's secret. It ignores variables, which may be of another account."""

    def __init__(self, signer: AzureSigner) -> None:
        """Check the secret.

        Raises:
            InvalidValue: the secret is malformed.
        """
        self._kind = signer.kind
        self._secret = check_header_value(Setting(signer.secret or "", signer.source))
        if self._kind == "key":
            _check_key(self._secret, signer.source)
        if self._kind == "sas":
            self._secret = self._secret.removeprefix("?")
            _check_signature(self._secret, signer.source)

    def __call__(self) -> "AzureAccessKey | AzureBearerToken | AzureSASToken":
        """Return the secret in the form that obstore expects."""
        if self._kind == "key":
            return {"access_key": self._secret, "expires_at": None}
        if self._kind == "sas":
            return {"sas_token": self._secret, "expires_at": None}
        return {"token": self._secret, "expires_at": None}


def _check_key(key: str, source: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise InvalidValue(f"{source} is not an account key, which is base64") from error


def _check_signature(signature: str, source: str) -> None:
    try:
        parse_qsl(signature, strict_parsing=True, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidValue(
            f"{source} is not a shared access signature, which has the form name=value, joined by &"
        ) from error
