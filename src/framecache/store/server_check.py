"""Recognition of servers as stores, which is required before an empty listing is accepted.

A login page, a proxy or another web server may respond to any request with a page and status 200,
which looks like an empty listing. So an empty listing is only accepted from a server that has
listed an object, or has reported a missing one as its protocol defines. If necessary, an object
that cannot exist is requested from it.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from framecache.errors import StorePermissionDenied
from framecache.store.base import BlobMissing, UnexpectedResponse
from framecache.store.errors import describe_key
from framecache.store.provider_hints import PROVIDER_HINTS
from framecache.store.urls import Location

_verified: Final[set[tuple[str, str]]] = set()
"""Recognized buckets, each with the name of its server."""


class ServerCheck:
    """Recognition of a bucket's server as a store, shared by the whole process."""

    def __init__(self, location: Location, server: str) -> None:
        """Prepare for a bucket.

        Args:
            location: the bucket, or a location in it.
            server: name of the server.
        """
        self._bucket = (location.root_url, server)
        self._remedies = PROVIDER_HINTS[location.scheme]

    @property
    def is_verified(self) -> bool:
        """True if the server has responded as a store."""
        return self._bucket in _verified

    def mark_verified(self) -> None:
        """Record that the server is a store."""
        _verified.add(self._bucket)

    @contextmanager
    def verify_by_response(self, display_name: str, prefix: str) -> Iterator[None]:
        """Test the server by its response to a request, made inside, for `random_absent_key`.

        Args:
            display_name: name of the store.
            prefix: the listed prefix, for error messages.

        Raises:
            UnexpectedResponse: the server returns an object, or does not respond as a store.
        """
        cause = None
        try:
            yield
        except (BlobMissing, StorePermissionDenied):
            self.mark_verified()
            return
        except UnexpectedResponse as error:
            cause = error
        raise UnexpectedResponse(
            f"{display_name}: cannot list {describe_key(prefix)}: the response is not that of "
            f"{self._remedies.server}. It lists nothing, but returns a page or an object for "
            "a key that cannot exist, as a login page or a proxy does. Check "
            f"{self._remedies.settings} and what is in between"
        ) from cause


def random_absent_key() -> str:
    """Return a random key under which no blob exists."""
    return f"cache/absent-{uuid.uuid4().hex}"
