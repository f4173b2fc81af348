"""What a URL of a store or of a blob means. Pure: no I/O but the current folder's name."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, unquote

from framecache.errors import InvalidValue

Scheme = Literal["s3", "gs", "az", "memory", "file"]

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_ACCEPTED: Final = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, memory://name, "
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a backend."""

    scheme: Scheme
    bucket: str
    """Bucket, container, or name of a memory store, which may be empty; empty for ``file``."""
    path: str
    """Key or prefix in the bucket, without slashes at its ends; absolute for ``file``."""

    @property
    def url(self) -> str:
        """The normalised URL. Only local paths are percent-encoded: a bucket's keys are not."""
        if self.scheme == "file":
            return f"file://{quote(self.path)}"
        return f"{self.scheme}://{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def root_url(self) -> str:
        """The URL of the bucket this lies in."""
        return Location(self.scheme, self.bucket, "").url


def parse(url: str) -> Location:
    """Read the URL of a store or blob; a plain path is a local one, and ``~`` is expanded.

    Raises:
        InvalidValue: it names no bucket, or a kind of store framecache does not read.
    """
    if not url or "\0" in url or not _is_encodable(url):
        raise InvalidValue(f"{_shown(url)} is no place for blobs: give {_ACCEPTED}or a local path")
    match = _URL.fullmatch(url)
    if match is None:
        return _local(url)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return _file(url, rest)
    if scheme not in get_args(Scheme):
        raise InvalidValue(
            f"{_shown(url)}: framecache does not read {scheme}:// addresses; "
            f"give {_ACCEPTED}or a local path"
        )
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) and not (scheme == "memory" and not bucket):
        raise InvalidValue(
            f"{_shown(url)} names no bucket: after {scheme}:// comes a name of 1 to 222 letters, "
            f"digits, '.', '_' or '-'"
        )
    path = path.strip("/")
    if path and not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidValue(f"{_shown(url)} has an empty, '.' or '..' part: no key has such")
    return Location(cast("Scheme", scheme), bucket, path)


def _file(url: str, rest: str) -> Location:
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"} or not slash:
        raise InvalidValue(
            f"{_shown(url)} is not on this machine: a file URL has three slashes, file:///folder"
        )
    return _local(f"/{unquote(path)}")


def _local(path: str) -> Location:
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidValue(f"{_shown(path)}: there is no such user's home folder") from error
    return Location("file", "", os.path.abspath(expanded))  # noqa: PTH100 - resolve() follows links


def _is_encodable(url: str) -> bool:
    """Whether it is text, and not bytes of a file name that are no text."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(url: str) -> str:
    return repr(url if len(url) <= _SHOWN_CHARACTERS else f"{url[:_SHOWN_CHARACTERS]}…")
