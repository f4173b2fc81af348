"""Parsing of the URLs of stores and blobs."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, unquote_to_bytes

from framecache.errors import InvalidValue

Scheme = Literal["s3", "gs", "az", "memory", "file"]

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# Mistyped URLs that would otherwise be mistaken for paths: s3:/bucket, s3:bucket, s3//bucket,
# s3;//bucket, and s3://bucket after a space.
_NEAR_URL: Final = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9+.-]+:/(?!/)|(s3|gs|az|memory|file)(:(?!//)|\W?//)|[^/]*://).*",
    re.DOTALL | re.IGNORECASE,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_ACCEPTED: Final = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, memory://name, "
_SHOWN_CHARACTERS: Final = 80
_FILE: Final = "file://"


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed URL: a location in a backend."""

    scheme: Scheme
    bucket: str
    """Bucket, container, or name of a memory store, which may be empty; empty for ``file``."""
    path: str
    """Key or prefix in the bucket, without leading or trailing slash; absolute for ``file``."""

    @property
    def url(self) -> str:
        """Normalized URL. Only local paths are percent-encoded; keys in buckets are not."""
        if self.scheme == "file":
            return url_of_path(self.path)
        return f"{self.scheme}://{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def root_url(self) -> str:
        """URL of the bucket that contains the location."""
        return Location(self.scheme, self.bucket, "").url


def parse(url: str) -> Location:
    """Parse the URL of a store or blob, or a local path, in which ``~`` is expanded.

    Raises:
        InvalidValue: the URL is malformed, names no bucket, or has an unsupported scheme; or its
            path cannot be the key of a blob.
    """
    match = _URL.fullmatch(url)
    scheme, rest = (match[1].lower(), match[2]) if match else ("file", "")
    # Only local names may contain bytes that are not valid text.
    if not url or "\0" in url or (scheme != "file" and not is_text(url)):
        raise InvalidValue(
            f"{_shown(url)} is not the URL of a store: give {_ACCEPTED}or a local path"
        )
    if match is None and _NEAR_URL.fullmatch(url):
        raise InvalidValue(
            f"{_shown(url)} may be a URL or a path: give {_ACCEPTED}or, if it is a local "
            f"path, {shlex.quote(f'./{url}')}"
        )
    if match is None:
        return _local(url)
    if scheme == "file":
        return _file(url, rest)
    if scheme not in get_args(Scheme):
        raise InvalidValue(
            f"{_shown(url)}: {scheme}:// URLs are not supported; give {_ACCEPTED}or a local path"
        )
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) and not (scheme == "memory" and not bucket):
        raise InvalidValue(
            f"{_shown(url)} has no valid bucket name: {scheme}:// must be followed by 1 to "
            "222 letters, digits, '.', '_' or '-'"
        )
    path = path.removesuffix("/")
    if path and not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidValue(
            f"{_shown(url)} has an empty, '.' or '..' part, which framecache does not support "
            "in keys: copy the object to another key"
        )
    if _CONTROL.search(path):
        raise InvalidValue(
            f"{_shown(url)} has a control character, which framecache does not support in "
            "keys: copy the object to another key"
        )
    return Location(cast("Scheme", scheme), bucket, path)


def _file(url: str, rest: str) -> Location:
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"} or not slash:
        raise InvalidValue(
            f"{_shown(url)} is not on this machine: a file URL has three slashes, file:///folder"
        )
    return _local(path_of_url(f"{_FILE}/{path}"))


def url_of_path(path: str) -> str:
    """Return the URL of a local path, with all special characters percent-encoded."""
    return f"{_FILE}{quote(os.fsencode(path))}"


def path_of_url(url: str) -> str:
    """Return the path of a URL, the inverse of :func:`url_of_path`.

    Bytes that are not valid text are represented as in Python's paths (surrogate escapes).

    Raises:
        InvalidValue: no file can have this path.
    """
    path = os.fsdecode(unquote_to_bytes(_bytes_of(url.removeprefix(_FILE))))
    if "\0" in path:
        raise InvalidValue(f"{_shown(url)} is not a valid path: it has a zero byte")
    return path


def _local(path: str) -> Location:
    _bytes_of(path)
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        # A file's name may also begin with a tilde.
        expanded = Path(path)
        if not os.path.lexists(expanded):
            raise InvalidValue(f"{_shown(path)}: this user has no home folder") from error
    return Location("file", "", os.path.abspath(expanded))  # noqa: PTH100 - resolve() follows links


def is_text(url: str) -> bool:
    """Return True if a string is valid text, without surrogates that stand for other bytes."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes_of(path: str) -> bytes:
    """Return a path as the bytes that the system uses.

    Raises:
        InvalidValue: it contains characters that cannot be encoded.
    """
    try:
        return os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"{_shown(path)} is not a valid path: it cannot be encoded as bytes"
        ) from error


def _shown(url: str) -> str:
    return repr(url if len(url) <= _SHOWN_CHARACTERS else f"{url[:_SHOWN_CHARACTERS]}…")
