"""Listings requested directly from an S3 server, for keys that obstore cannot represent.

obstore signs the requests, with the same credentials as all others. The responses are parsed here
and may contain any keys.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Final, Literal, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode
from urllib.request import HTTPSHandler, Request, build_opener
from xml.etree import ElementTree as ET

# S3 lists at most this many keys per request.
_PAGE_SIZE: Final = 1000
_TIMEOUT_SECONDS: Final = 20
_MAX_ATTEMPTS: Final = 5
_INITIAL_BACKOFF_SECONDS: Final = 0.1
_SERVER_ERROR: Final = 500
_MAX_RESPONSE_BYTES: Final = 16 << 20
_MAX_ERROR_BODY_BYTES: Final = 4096


Method = Literal["GET", "DELETE"]


class ListedObject(NamedTuple):
    """An object in a listing."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class ListingPage(NamedTuple):
    """A page of a listing."""

    objects: list[ListedObject]
    folders: list[str]
    """Folders, each with its trailing slash."""
    token: str | None
    """Continuation token for the next page; None on the last one."""


@dataclass(frozen=True, slots=True)
class S3Lister:
    """Lister of a bucket, page by page. It also removes objects with a slash at the key's end."""

    bucket_url: str
    sign: Callable[[Method, str, str], str]
    """Function that returns a signed URL for a method, an address and a query."""
    certificates: bytes | None
    """Certificates in PEM, trusted in addition to those of the system."""

    def pages(self, prefix: str, *, after: str = "", delimiter: str = "") -> Iterator[ListingPage]:
        """Yield the pages of all keys that start with ``prefix``, sorted by key.

        Args:
            prefix: prefix of the keys.
            after: list only keys that sort after this one.
            delimiter: end of a folder's name; if empty, keys are not grouped into folders.

        Raises:
            OSError: there was no response, or it is not a listing.
        """
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        query["max-keys"] = str(_PAGE_SIZE)
        query |= {"start-after": after} if after else {}
        query |= {"delimiter": delimiter} if delimiter else {}
        token: str | None = ""
        while token is not None:
            asked = query | ({"continuation-token": token} if token else {})
            words = urlencode(asked, quote_via=quote, safe="")
            page = _parse_page(self._request_with_retries("GET", self.bucket_url, words))
            yield page
            token = page.token

    def remove(self, key: str) -> None:
        """Remove the object with this key, if it exists.

        Raises:
            OSError: there was no response, or it reports a failure.
        """
        self._request_with_retries("DELETE", f"{self.bucket_url}/{quote(key)}", "")

    def _request_with_retries(self, method: Method, address: str, query: str) -> bytes:
        pause_seconds = _INITIAL_BACKOFF_SECONDS
        for _ in range(_MAX_ATTEMPTS - 1):
            try:
                return self._request(method, address, query)
            except (_TransientError, TimeoutError, ConnectionError):
                time.sleep(pause_seconds)
                pause_seconds *= 2
        return self._request(method, address, query)

    def _request(self, method: Method, address: str, query: str) -> bytes:
        context = ssl.create_default_context()
        if self.certificates is not None:
            context.load_verify_locations(cadata=self.certificates.decode())
        opener = build_opener(HTTPSHandler(context=context))
        # The URL is that of a server that obstore accesses too, over HTTP or HTTPS.
        request = Request(self.sign(method, address, query), method=method)  # noqa: S310
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                body = bytes(answer.read(_MAX_RESPONSE_BYTES))
        except HTTPError as error:
            with error:
                said = error.read(_MAX_ERROR_BODY_BYTES).decode(errors="replace")
            kind = _TransientError if error.code >= _SERVER_ERROR else OSError
            # obstore's wording, which the translation of errors expects.
            raise kind(f"non-2xx status code: {error.code} {said}") from error
        except HTTPException as error:
            raise ConnectionError("its answer ended: response body error") from error
        return body


class _TransientError(OSError):
    """The server reported a temporary failure."""


def _parse_page(answer: bytes) -> ListingPage:
    try:
        root = ET.fromstring(answer)  # noqa: S314 - expat limits entity expansion
        is_last = _text(root, "IsTruncated") != "true"
        return ListingPage(
            [_parse_object(element) for element in root.iterfind("{*}Contents")],
            [unquote(_text(one, "Prefix")) for one in root.iterfind("{*}CommonPrefixes")],
            None if is_last else _text(root, "NextContinuationToken"),
        )
    except (ET.ParseError, ValueError) as error:
        raise OSError("InvalidListResponse") from error


def _parse_object(element: ET.Element) -> ListedObject:
    return ListedObject(
        unquote(_text(element, "Key")),
        int(_text(element, "Size")),
        element.findtext("{*}ETag", ""),
        datetime.fromisoformat(_text(element, "LastModified")),
    )


def _text(element: ET.Element, name: str) -> str:
    text = element.findtext(f"{{*}}{name}")
    if text is None:
        raise ValueError(f"no {name}")
    return text
