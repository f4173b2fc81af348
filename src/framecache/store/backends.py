"""Clients for each kind of store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import obstore.exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from framecache.errors import InvalidValue, StorePermissionDenied
from framecache.store.azure import azure_client, azure_settings
from framecache.store.errors import is_panic
from framecache.store.gcs import gcs_client, gcs_settings
from framecache.store.options import StorageOptions
from framecache.store.provider_hints import PROVIDER_HINTS
from framecache.store.s3 import s3_client, s3_lister, s3_settings
from framecache.store.s3_listing import S3Lister
from framecache.store.servers import Server
from framecache.store.urls import Location

Client = S3Store | GCSStore | AzureStore


class StoreConnection(NamedTuple):
    """A client and the server that its requests go to."""

    client: Client
    server: Server
    lister: S3Lister | None = None
    """S3 only: lists buckets that the client cannot list."""


def connect(
    location: Location, options: StorageOptions, *, deletes_in_bulk: bool = True
) -> StoreConnection:
    """Create a client for the bucket of a location. Makes no request.

    Args:
        location: the location to be accessed.
        options: settings for access, in addition to the environment.
        deletes_in_bulk: S3 only: delete many objects with one request.

    Raises:
        InvalidValue: an option or an environment variable cannot be used.
        StorePermissionDenied: the settings ask for credentials that are not available.
    """
    own = options.for_location(location)
    match location.scheme:
        case "s3":
            s3 = s3_settings(location, own)
            with _translate_settings_errors(location, s3.server):
                client: Client = s3_client(location, s3, deletes_in_bulk=deletes_in_bulk)
            return StoreConnection(client, s3.server, s3_lister(location, s3))
        case "gs":
            gcs = gcs_settings(own)
            with _translate_settings_errors(location, gcs.server):
                client = gcs_client(location, gcs)
            return StoreConnection(client, gcs.server)
        case "az":
            azure = azure_settings(own)
            with _translate_settings_errors(location, azure.server):
                client = azure_client(location, azure)
            return StoreConnection(client, azure.server)
        case "memory" | "file":
            raise AssertionError(f"{location.scheme} needs no client")


@contextmanager
def _translate_settings_errors(location: Location, server: Server) -> Iterator[None]:
    """Raise `StorePermissionDenied` if the client does not accept its settings."""
    try:
        yield
    except InvalidValue:
        raise
    except BaseException as error:
        # obstore raises ValueError for certificates that it cannot read.
        if not isinstance(error, obstore.exceptions.BaseError | ValueError) and not is_panic(error):
            raise
        raise StorePermissionDenied(
            f"{location.url} ({server}) cannot be opened with these settings. Set "
            f"{PROVIDER_HINTS[location.scheme].credentials}"
        ) from error
