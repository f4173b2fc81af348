"""What a URL of a store or of a blob means."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, unquote_to_bytes

from framecache.errors import InvalidValue

Scheme = Literal["s3", "gs", "az", "memory", "file"]

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_ACCEPTED: Final = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, memory://name, "
_SHOWN_CHARACTERS: Final = 80
_FILE: Final = "file://"


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
            return url_of_path(self.path)
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
    match = _URL.fullmatch(url)
    scheme, rest = (match[1].lower(), match[2]) if match else ("file", "")
    # The bytes of a local name need not be text; those of all others do.
    if not url or "\0" in url or (scheme != "file" and not is_text(url)):
        raise InvalidValue(f"{_shown(url)} is no place for blobs: give {_ACCEPTED}or a local path")
    if match is None:
        return _local(url)
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
    path = path.removesuffix("/")
    if path and not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidValue(
            f"{_shown(url)} has an empty, '.' or '..' part, which no key can have that is to be "
            f"read or written here: copy the object to another key"
        )
    if _CONTROL.search(path):
        raise InvalidValue(
            f"{_shown(url)} has a control character, which no key can have that is to be read or "
            f"written here: copy the object to another key"
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
    """The URL of a local path: each byte that is no plain character is percent-encoded."""
    return f"{_FILE}{quote(os.fsencode(path))}"


def path_of_url(url: str) -> str:
    """The inverse of :func:`url_of_path`; bytes that are no text are as Python's paths have them.

    Raises:
        InvalidValue: no file can have such a path.
    """
    path = os.fsdecode(unquote_to_bytes(_bytes_of(url.removeprefix(_FILE))))
    if "\0" in path:
        raise InvalidValue(f"{_shown(url)} is no local path: it has a zero byte")
    return path


def _local(path: str) -> Location:
    _bytes_of(path)
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        # A name may begin with a tilde, too.
        expanded = Path(path)
        if not os.path.lexists(expanded):
            raise InvalidValue(f"{_shown(path)}: there is no such user's home folder") from error
    return Location("file", "", os.path.abspath(expanded))  # noqa: PTH100 - resolve() follows links


def is_text(url: str) -> bool:
    """Whether it is text, and not bytes of a file name that are no text."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes_of(path: str) -> bytes:
    """A path as the system has it.

    Raises:
        InvalidValue: it has characters that stand for no bytes.
    """
    try:
        return os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InvalidValue(f"{_shown(path)} is no local path: it stands for no bytes") from error


def _shown(url: str) -> str:
    return repr(url if len(url) <= _SHOWN_CHARACTERS else f"{url[:_SHOWN_CHARACTERS]}…")
