"""What a backend's error means, in framecache's words.

obstore reports much through one generic error, so its text is read here, and here only. The
text itself goes no further than ``__cause__``: it holds addresses and the server's answer.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import obstore.exceptions

from framecache.errors import StoreDenied, StoreFull, StoreUnavailable
from framecache.store.base import BlobExists, BlobMissing, CreateUnsupported
from framecache.store.urls import Location, Scheme

Action = Literal["read", "write", "create", "list", "delete"]

CAUGHT: Final = (obstore.exceptions.BaseError, OSError, ValueError, NotImplementedError)
"""What obstore raises."""

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
# In an error document, or in a bulk delete's answer as object_store prints it.
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\(code: (\w+)\)")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_OUT_OF_RANGE: Final = re.compile(r"status code: 416|[Rr]equested range was invalid|Invalid range:")
_BROKEN_OFF: Final = re.compile(r"response body error")
_NO_CREDENTIALS: Final = re.compile(
    r"External AWS credential provider|/latest/api/token|/latest/meta-data"
    r"|[Tt]oken request|No credentials"
)
_WRONG_REGION: Final = re.compile(r"redirect without LOCATION|status code: 301")

_FULL_CODES: Final = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"}
_FULL_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT}
_DENIED_ERRNOS: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
# A blob is created by linking it into its place, which object_store calls renaming.
_NO_LINK_ERRNOS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_LINKING: Final = "Unable to rename file"
_MISPLACED_ERRNOS: Final = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_DENIED_STATUSES: Final = {"401", "403"}
_INSUFFICIENT_STORAGE: Final = "507"
_NOT_IMPLEMENTED: Final = "501"
_DENIALS: Final = (
    obstore.exceptions.PermissionDeniedError,
    obstore.exceptions.UnauthenticatedError,
)
_REJECTED_CODES: Final = {
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "finds the secret key wrong",
    "ExpiredToken": "finds the session token expired",
    "InvalidToken": "finds the session token invalid",
    "TokenRefreshRequired": "finds the session token expired",
    "RequestTimeTooSkewed": "finds this machine's clock wrong: set it",
}
_REGION_CODES: Final = {"PermanentRedirect", "AuthorizationHeaderMalformed"}
_MISSING_GCS_BUCKET: Final = "specified bucket does not exist"
_MISSING_BUCKET_CODES: Final = {"NoSuchBucket", "ContainerNotFound"}

_PERMISSIONS: Final[dict[Scheme, dict[Action, str]]] = {
    "s3": {
        "read": "s3:GetObject (and s3:ListBucket, to tell a missing object from a refused one)",
        "write": "s3:PutObject",
        "create": "s3:PutObject",
        "list": "s3:ListBucket",
        "delete": "s3:DeleteObject",
    },
    "gs": {
        "read": "storage.objects.get",
        "write": "storage.objects.create and storage.objects.delete",
        "create": "storage.objects.create",
        "list": "storage.objects.list",
        "delete": "storage.objects.delete",
    },
    "az": {
        "read": "the role Storage Blob Data Reader",
        "write": "the role Storage Blob Data Contributor",
        "create": "the role Storage Blob Data Contributor",
        "list": "the role Storage Blob Data Reader",
        "delete": "the role Storage Blob Data Contributor",
    },
    "memory": {},
    "file": {},
}
CREDENTIALS: Final[dict[Scheme, str]] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with framecache[aws]",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "memory": "",
    "file": "",
}
_ENDPOINTS: Final[dict[Scheme, str]] = {
    "s3": "AWS_ENDPOINT_URL and AWS_REGION",
    "gs": "GOOGLE_BASE_URL",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
    "memory": "",
    "file": "",
}


def is_out_of_range(error: Exception) -> bool:
    """Whether a range was refused because the blob ends before it."""
    return _OUT_OF_RANGE.search(str(error)) is not None


def is_broken_off(error: Exception) -> bool:
    """Whether an answer ended before it was whole."""
    return _BROKEN_OFF.search(str(error)) is not None


@contextmanager
def translated(location: Location, *, action: Action, key: str) -> Iterator[None]:
    """Raise what `translate` makes of an error that obstore or the system raises inside."""
    try:
        yield
    except CAUGHT as error:
        raise translate(error, location=location, action=action, key=key) from error


def translate(error: Exception, *, location: Location, action: Action, key: str) -> Exception:
    """The error to raise from ``error``, which one request on ``key`` of a store met."""
    if location.scheme == "file":
        return _translate_local(error, location=location, action=action, key=key)
    met = _Answer(error, location=location, action=action, key=key)
    return (
        _existing(met)
        or _missing_bucket(met)
        or _missing_key(met)
        or _unsupported(met)
        or _used_up(met)
        or _other_region(met)
        or _denial(met)
        or _failure(met)
    )


def _translate_local(
    error: Exception, *, location: Location, action: Action, key: str
) -> Exception:
    number = _errno(error)
    place = f"{location.path}: cannot {action} {_subject(key)}"
    if isinstance(error, obstore.exceptions.AlreadyExistsError):
        return BlobExists(key)
    is_missing = isinstance(error, FileNotFoundError) or number == errno.ENOTDIR
    if is_missing and action in {"read", "delete"}:
        return BlobMissing(key)
    if action == "create" and number in _NO_LINK_ERRNOS and _LINKING in str(error):
        return CreateUnsupported(
            f"{place}: its file system has no hard links. Use a folder on one that has"
        )
    return _local_failure(error, number=number, place=place)


def _local_failure(error: Exception, *, number: int | None, place: str) -> Exception:
    if number in _FULL_ERRNOS:
        return StoreFull(f"{place}: no space is left there. Free some, or use another folder")
    if number in _DENIED_ERRNOS or isinstance(error, obstore.exceptions.PermissionDeniedError):
        reason = "the file system is read-only" if number == errno.EROFS else "permission denied"
        return StoreDenied(f"{place}: {reason}. Change that, or use another folder")
    if number in _MISPLACED_ERRNOS:
        reason = "a file stands where a folder is needed, or the reverse. Move it away"
        return StoreUnavailable(f"{place}: {reason}, or use another folder")
    reason = errno.errorcode.get(number or 0, "an unknown error")
    return StoreUnavailable(f"{place}: {reason}. Check the folder and its file system")


class _Answer:
    """What a server's answer says, as far as obstore's text tells."""

    def __init__(self, error: Exception, *, location: Location, action: Action, key: str) -> None:
        self.error = error
        self.location = location
        self.action = action
        self.key = key
        self.text = str(error)
        self.place = f"{location.url}: cannot {action} {_subject(key)}"
        status = _STATUS.search(self.text)
        self.status = status[1] if status else None
        code = _CODE.search(self.text)
        self.code = (code[1] or code[2]) if code else None


def _existing(met: _Answer) -> BlobExists | None:
    lost_race = isinstance(met.error, obstore.exceptions.PreconditionError)
    if isinstance(met.error, obstore.exceptions.AlreadyExistsError) or (
        lost_race and met.action == "create"
    ):
        return BlobExists(met.key)
    return None


def _missing_bucket(met: _Answer) -> StoreUnavailable | None:
    if met.code not in _MISSING_BUCKET_CODES and _MISSING_GCS_BUCKET not in met.text:
        return None
    return StoreUnavailable(
        f"{met.place}: bucket {met.location.bucket!r} does not exist. Create it, or correct the "
        f"bucket's name or {_ENDPOINTS[met.location.scheme]}"
    )


def _missing_key(met: _Answer) -> BlobMissing | StoreUnavailable | None:
    if not isinstance(met.error, FileNotFoundError):
        return None
    # Every S3 server names the missing key. Another kind of server, or a proxy, that answers
    # 404 says nothing about the blob, and must not make a cache look empty.
    if met.location.scheme == "s3" and met.code != "NoSuchKey":
        return StoreUnavailable(
            f"{met.place}: the answer is not one of an S3 server. Check AWS_ENDPOINT_URL"
        )
    return BlobMissing(met.key)


def _unsupported(met: _Answer) -> CreateUnsupported | None:
    # obstore itself says so when AWS_CONDITIONAL_PUT is "disabled".
    is_unknown = isinstance(met.error, NotImplementedError) or met.status == _NOT_IMPLEMENTED
    if met.action != "create" or not (is_unknown or met.code == "NotImplemented"):
        return None
    return CreateUnsupported(
        f"{met.place}: this store does not implement If-None-Match. Use one that does "
        f"(Amazon S3, Ceph 16 or later, a recent MinIO)"
    )


def _used_up(met: _Answer) -> StoreFull | None:
    if met.code not in _FULL_CODES and met.status != _INSUFFICIENT_STORAGE:
        return None
    return StoreFull(f"{met.place}: its quota or disk is used up. Free some space, or raise it")


def _other_region(met: _Answer) -> StoreUnavailable | None:
    if met.code not in _REGION_CODES and not _WRONG_REGION.search(met.text):
        return None
    return StoreUnavailable(
        f"{met.place}: bucket {met.location.bucket!r} is in another region. "
        f"Set AWS_REGION to that one"
    )


def _denial(met: _Answer) -> StoreDenied | None:
    credentials = CREDENTIALS[met.location.scheme]
    if _NO_CREDENTIALS.search(met.text):
        return StoreDenied(f"{met.place}: no credentials were found. Set {credentials}")
    if met.code in _REJECTED_CODES:
        return StoreDenied(f"{met.place}: the store {_REJECTED_CODES[met.code]} ({credentials})")
    is_denied = isinstance(met.error, _DENIALS) or met.code == "AccessDenied"
    if is_denied or met.status in _DENIED_STATUSES:
        permission = _PERMISSIONS[met.location.scheme].get(met.action, "a permission")
        return StoreDenied(
            f"{met.place}: these credentials lack {permission}. Grant it, or use others "
            f"({credentials})"
        )
    return None


def _failure(met: _Answer) -> StoreUnavailable:
    settings = _ENDPOINTS[met.location.scheme]
    if met.status is None:
        return StoreUnavailable(
            f"{met.place}: the server cannot be reached, or did not answer in time. "
            f"Check the network and {settings}"
        )
    answer = f"{met.status} {met.code}" if met.code else met.status
    return StoreUnavailable(
        f"{met.place}: the server answered {answer}. Try again, or check {settings}"
    )


def _subject(key: str) -> str:
    return repr(key) if key else "its blobs"


def is_without_folder(error: BaseException | None) -> bool:
    """Whether a write on local disk failed because the folder it goes into is not there."""
    return isinstance(error, CAUGHT) and _errno(error) == errno.ENOENT


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _OS_ERROR.search(str(error))
    return int(match[1]) if match else None
