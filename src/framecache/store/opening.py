"""Which store a URL opens."""

from framecache.store.base import Store
from framecache.store.local import LocalStore
from framecache.store.objects import RemoteStore
from framecache.store.urls import parse


def open_store(url: str) -> Store:
    """Open the store of a URL; it is reached, and a local folder created, when first needed.

    ``s3://bucket/prefix``, ``gs://``, ``az://``, ``memory://name`` (shared by the whole
    process), ``file:///folder`` or a plain path, in which ``~`` is expanded. The standard
    variables apply: ``AWS_*``, ``GOOGLE_*``, ``AZURE_*``. Plain http is spoken only to an
    endpoint that ``AWS_ENDPOINT_URL`` names with ``http://``.

    Raises:
        InvalidValue: the URL, or a variable of the environment, cannot be used.
        StoreDenied: the environment asks for credentials that cannot be had.
    """
    location = parse(url)
    return LocalStore(location) if location.scheme == "file" else RemoteStore(location)
