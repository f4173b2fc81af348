"""Strings of error messages that differ between kinds of stores: variables and permissions."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from framecache.store.urls import Scheme

Action = Literal["read", "write", "create", "list", "delete"]


class ProviderHints(NamedTuple):
    """Strings for one kind of store."""

    server: str
    """Description of a server of this kind, with an article."""
    credentials: str
    """Variables that contain the credentials."""
    endpoint: str
    """Variable that contains the server's address."""
    settings: str
    """Variables that determine the server, including ``endpoint``."""
    certificates: str
    """Variable that names a file of trusted certificates."""
    missing: str
    """Error code of a server of this kind for a missing object."""
    permissions: Mapping[Action, str]


_AMAZON: Final = ProviderHints(
    server="an S3 server",
    credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with framecache[aws]",
    endpoint="AWS_ENDPOINT_URL",
    settings="AWS_ENDPOINT_URL and AWS_DEFAULT_REGION",
    certificates="AWS_CA_BUNDLE",
    missing="NoSuchKey",
    permissions={
        "read": "s3:GetObject (and s3:ListBucket, which distinguishes missing objects from "
        "denied ones)",
        "write": "s3:PutObject",
        "create": "s3:PutObject",
        "list": "s3:ListBucket",
        "delete": "s3:DeleteObject",
    },
)
_GOOGLE: Final = ProviderHints(
    server="a server of Google Cloud Storage",
    credentials="GOOGLE_APPLICATION_CREDENTIALS",
    endpoint="GOOGLE_BASE_URL",
    settings="GOOGLE_BASE_URL",
    certificates="REQUESTS_CA_BUNDLE",
    missing="NoSuchKey",
    permissions={
        "read": "storage.objects.get",
        "write": "storage.objects.create and storage.objects.delete",
        "create": "storage.objects.create",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
    },
)
_AZURE: Final = ProviderHints(
    server="a server of Azure Blob Storage",
    credentials="AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    endpoint="AZURE_STORAGE_ENDPOINT",
    settings="AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
    certificates="REQUESTS_CA_BUNDLE",
    missing="BlobNotFound",
    permissions={
        "read": "the role Storage Blob Data Reader",
        "write": "the role Storage Blob Data Contributor",
        "create": "the role Storage Blob Data Contributor",
        "list": "the role Storage Blob Data Reader",
        "delete": "the role Storage Blob Data Contributor",
    },
)
_LOCAL: Final = ProviderHints("a folder", "", "", "", "", "", {})
PROVIDER_HINTS: Final[Mapping[Scheme, ProviderHints]] = {
    "s3": _AMAZON,
    "gs": _GOOGLE,
    "az": _AZURE,
    "memory": _LOCAL,
    "file": _LOCAL,
}
