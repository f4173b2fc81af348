"""Translation of backend errors into framecache's own.

obstore reports many failures through one generic error, so this module, and no other, examines
its text. The text is only passed on in ``__cause__``: it contains addresses and the server's
response.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import obstore.exceptions

from framecache.errors import StoreFull, StorePermissionDenied, StoreUnavailable
from framecache.store import causes
from framecache.store.base import BlobExists, BlobMissing, CreateUnsupported, UnexpectedResponse
from framecache.store.provider_hints import PROVIDER_HINTS, Action
from framecache.store.urls import Location

OBSTORE_ERRORS: Final = (obstore.exceptions.BaseError, OSError, ValueError, NotImplementedError)
"""Exceptions that obstore raises."""

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
# In an error document, or in the response to a bulk delete as object_store prints it.
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>|\(code: (\w+)\)")
_OUT_OF_RANGE: Final = re.compile(r"status code: 416|[Rr]equested range was invalid|Invalid range:")
_TRUNCATED_RESPONSE: Final = re.compile(r"response body error")
_NO_CREDENTIALS: Final = re.compile(
    r"External AWS credential provider|/latest/api/token|/latest/meta-data"
    r"|[Tt]oken request|No credentials"
)
_WRONG_REGION: Final = re.compile(r"redirect without LOCATION|status code: 301")

_FULL_CODES: Final = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"}
_FULL_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT}
_DENIED_ERRNOS: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_WRONG_TYPE_ERRNOS: Final = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_UNAUTHENTICATED: Final = "401"
_DENIED_STATUSES: Final = {_UNAUTHENTICATED, "403"}
_INSUFFICIENT_STORAGE: Final = "507"
_NOT_IMPLEMENTED: Final = "501"
# Responses of servers to a request or a header that they do not support.
_UNSUPPORTED_REQUEST_STATUSES: Final = {"400", "404", "405", "411", "501"}
_UNSUPPORTED_HEADER_CODES: Final = {"NotImplemented", "InvalidArgument"}
# Codes in responses to unsigned requests, where no credentials can be wrong.
_ANONYMOUS_CODES: Final = {"AccessDenied", "NoAuthenticationInformation"}
_DENIALS: Final = (
    obstore.exceptions.PermissionDeniedError,
    obstore.exceptions.UnauthenticatedError,
)
_REJECTED_CODES: Final = {
    "AuthenticationFailed": "says that the key is wrong or expired, or the signature made with it",
    "InvalidAuthenticationInfo": "says that the token is wrong or expired",
    "InvalidAccessKeyId": "says that the access key does not exist",
    "SignatureDoesNotMatch": "says that the secret key is wrong",
    "ExpiredToken": "says that the session token has expired",
    "InvalidToken": "says that the session token is invalid",
    "TokenRefreshRequired": "says that the session token has expired",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong: set it",
}
_REGION_CODES: Final = {"PermanentRedirect", "AuthorizationHeaderMalformed"}
_MISSING_GCS_BUCKET: Final = "specified bucket does not exist"
# Google's JSON API and its emulator respond with a plain text.
_GCS_MISSING_KEY: Final = re.compile(r'body: Some\(\s*"(?:Not Found\\n|No such object: [^"]*)",')
_MISSING_BUCKET_CODES: Final = {"NoSuchBucket", "ContainerNotFound"}


def is_panic(error: BaseException) -> bool:
    """Return True if obstore panicked, as it does for settings that it cannot send.

    A panic is not an `Exception`.
    """
    return type(error).__module__ == "pyo3_runtime"


def panic_error(what: str) -> StoreUnavailable:
    """Return the error to raise after a panic of obstore."""
    return StoreUnavailable(
        f"{what}: a setting, such as a key, a region or a URL, has characters that cannot be "
        "sent. See framecache doctor --why"
    )


def is_out_of_range(error: Exception) -> bool:
    """Return True if a range was rejected because it starts past the end of the blob."""
    return _OUT_OF_RANGE.search(str(error)) is not None


def is_truncated_response(error: Exception) -> bool:
    """Return True if a response was truncated."""
    return _TRUNCATED_RESPONSE.search(str(error)) is not None


def is_missing_key(error: Exception, location: Location) -> bool:
    """Return True if the server reports, as its protocol defines, that the object is missing."""
    text = str(error)
    code = _CODE.search(text)
    if code is not None:
        return code[1] == PROVIDER_HINTS[location.scheme].missing
    return location.scheme == "gs" and _GCS_MISSING_KEY.search(text) is not None


def is_bulk_delete_unsupported(error: Exception, location: Location) -> bool:
    """Return True if the server does not seem to support bulk deletes."""
    met = _ErrorResponse(error, location=location, action="delete", key="")
    if location.scheme != "s3" or met.code in _MISSING_BUCKET_CODES | _REGION_CODES:
        return False
    return met.status in _UNSUPPORTED_REQUEST_STATUSES and met.code not in _REJECTED_CODES


@contextmanager
def translate_errors(
    location: Location, *, action: Action, key: str, display_name: str | None = None
) -> Iterator[None]:
    """Translate errors of obstore or the system that are raised inside; see `translate`."""
    try:
        yield
    except OBSTORE_ERRORS as error:
        raise translate(
            error, location=location, action=action, key=key, display_name=display_name
        ) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise panic_error(
            f"{display_name or location.url}: cannot {action} {describe_key(key)}"
        ) from error


def translate(
    error: Exception,
    *,
    location: Location,
    action: Action,
    key: str,
    display_name: str | None = None,
) -> Exception:
    """Return the error to raise from ``error``, the failure of one request to a store.

    Args:
        error: the exception that obstore or the system raised.
        location: location of the store.
        action: the attempted action.
        key: key or folder that the action applied to.
        display_name: name of the store in messages; None for its URL.
    """
    if location.scheme == "file":
        return _translate_local(error, location=location, action=action, key=key)
    met = _ErrorResponse(error, location=location, action=action, key=key, place=display_name)
    return (
        _blob_exists(met)
        or _missing_bucket(met)
        or _blob_missing(met)
        or _unsupported(met)
        or _store_full(met)
        or _wrong_region(met)
        or _object_lock(met)
        or _no_credentials(met)
        or _wrong_credentials(met)
        or _permission_denied(met)
        or _unavailable(met)
    )


def _translate_local(
    error: Exception, *, location: Location, action: Action, key: str
) -> Exception:
    number = error.errno if isinstance(error, OSError) else None
    place = f"{location.path}: cannot {action} {describe_key(key)}"
    is_missing = isinstance(error, FileNotFoundError) or number == errno.ENOTDIR
    if is_missing and action in {"read", "delete"}:
        return BlobMissing(key)
    return _local_failure(number=number, message_prefix=place)


def _local_failure(*, number: int | None, message_prefix: str) -> Exception:
    if number in _FULL_ERRNOS:
        return StoreFull(f"{message_prefix}: no space is left. Free some, or use another folder")
    if number in _DENIED_ERRNOS:
        reason = "the file system is read-only" if number == errno.EROFS else "permission denied"
        return StorePermissionDenied(
            f"{message_prefix}: {reason}. Change that, or use another folder"
        )
    if number in _WRONG_TYPE_ERRNOS:
        reason = "there is a file where a folder is needed, or the reverse. Move it away"
        return StoreUnavailable(f"{message_prefix}: {reason}, or use another folder")
    reason = errno.errorcode.get(number or 0, "an unknown error")
    return StoreUnavailable(f"{message_prefix}: {reason}. Check the folder and its file system")


class _ErrorResponse:
    """A server's response, as far as obstore's text shows it."""

    def __init__(
        self,
        error: Exception,
        *,
        location: Location,
        action: Action,
        key: str,
        place: str | None = None,
    ) -> None:
        self.error = error
        self.location = location
        self.action = action
        self.key = key
        self.text = str(error)
        self.remedies = PROVIDER_HINTS[location.scheme]
        self.message_prefix = f"{place or location.url}: cannot {action} {describe_key(key)}"
        status = _STATUS.search(self.text)
        self.status = status[1] if status else None
        code = _CODE.search(self.text)
        self.code = (code[1] or code[2]) if code else None


def _blob_exists(response: _ErrorResponse) -> BlobExists | None:
    lost_race = isinstance(response.error, obstore.exceptions.PreconditionError)
    if isinstance(response.error, obstore.exceptions.AlreadyExistsError) or (
        lost_race and response.action == "create"
    ):
        return BlobExists(response.key)
    return None


def _missing_bucket(response: _ErrorResponse) -> StoreUnavailable | None:
    if response.code not in _MISSING_BUCKET_CODES and _MISSING_GCS_BUCKET not in response.text:
        return None
    return StoreUnavailable(
        f"{response.message_prefix}: bucket {response.location.bucket!r} does not exist. Create "
        f"it, or correct the bucket's name or {response.remedies.settings}"
    )


def _blob_missing(response: _ErrorResponse) -> BlobMissing | StoreUnavailable | None:
    if not isinstance(response.error, FileNotFoundError):
        return None
    if is_missing_key(response.error, response.location):
        return BlobMissing(response.key)
    # A 404 from another kind of server or a proxy says nothing about the blob, and must not make
    # a cache look empty.
    return UnexpectedResponse(
        f"{response.message_prefix}: the response is not that of {response.remedies.server}, which "
        f"reports a missing object with the code {response.remedies.missing}. Check "
        f"{response.remedies.endpoint}"
    )


def _unsupported(response: _ErrorResponse) -> CreateUnsupported | None:
    # obstore raises NotImplementedError if AWS_CONDITIONAL_PUT is "disabled".
    is_unknown = (
        isinstance(response.error, NotImplementedError) or response.status == _NOT_IMPLEMENTED
    )
    if response.action != "create" or not (
        is_unknown or response.code in _UNSUPPORTED_HEADER_CODES
    ):
        return None
    if response.location.scheme != "s3":
        return CreateUnsupported(
            f"{response.message_prefix}: the server does not support conditional creates, as "
            f"{response.remedies.server} does. Check {response.remedies.endpoint}"
        )
    return CreateUnsupported(
        f"{response.message_prefix}: this store does not support If-None-Match. Use one that does "
        "(Amazon S3, Ceph 16 or later, a recent MinIO)"
    )


def _store_full(response: _ErrorResponse) -> StoreFull | None:
    if response.code not in _FULL_CODES and response.status != _INSUFFICIENT_STORAGE:
        return None
    return StoreFull(
        f"{response.message_prefix}: its quota or disk is full. Free some space, or raise the quota"
    )


def _wrong_region(response: _ErrorResponse) -> StoreUnavailable | None:
    is_redirected = response.code in _REGION_CODES or _WRONG_REGION.search(response.text)
    if response.location.scheme != "s3" or not is_redirected:
        return None
    region = causes.find_bucket_region(response.text, bucket=response.location.bucket)
    where = f"region {region}" if region else "another region"
    return StoreUnavailable(
        f"{response.message_prefix}: bucket {response.location.bucket!r} is in {where}: set "
        "AWS_DEFAULT_REGION to it"
    )


def _object_lock(response: _ErrorResponse) -> StorePermissionDenied | None:
    if causes.is_bucket_locked(response.text):
        return StorePermissionDenied(
            f"{response.message_prefix}: object lock protects everything in this bucket. A cache "
            "needs a bucket without a default retention"
        )
    if causes.is_object_locked(response.text):
        return StorePermissionDenied(
            f"{response.message_prefix}: an object lock or retention policy protects it. Wait "
            "until it ends, or use a bucket without one"
        )
    return None


def _no_credentials(response: _ErrorResponse) -> StorePermissionDenied | None:
    credentials = response.remedies.credentials
    if (token_file := causes.missing_token_file(response.text)) is not None:
        return StorePermissionDenied(f"{response.message_prefix}: {token_file}")
    if (failure := causes.boto3_error_type(response.text)) is not None:
        return StorePermissionDenied(
            f"{response.message_prefix}: boto3 found no credentials: it raised {failure}. Check "
            f"its configuration, or set {credentials}"
        )
    if _NO_CREDENTIALS.search(response.text):
        return StorePermissionDenied(
            f"{response.message_prefix}: no credentials were found. Set {credentials}"
        )
    return None


def _wrong_credentials(response: _ErrorResponse) -> StorePermissionDenied | None:
    credentials = response.remedies.credentials
    if response.code in _REJECTED_CODES:
        return StorePermissionDenied(
            f"{response.message_prefix}: the store {_REJECTED_CODES[response.code]} ({credentials})"
        )
    if response.status != _UNAUTHENTICATED or response.code in _ANONYMOUS_CODES:
        return None
    return StorePermissionDenied(
        f"{response.message_prefix}: the store rejects these credentials: they are wrong, or have "
        f"expired. Correct them ({credentials})"
    )


def _permission_denied(response: _ErrorResponse) -> StorePermissionDenied | None:
    is_denied = isinstance(response.error, _DENIALS) or response.code == "AccessDenied"
    if not is_denied and response.status not in _DENIED_STATUSES:
        return None
    permission = response.remedies.permissions.get(response.action, "a permission")
    return StorePermissionDenied(
        f"{response.message_prefix}: these credentials lack {permission}. Grant it, or use others "
        f"({response.remedies.credentials})"
    )


def _unavailable(response: _ErrorResponse) -> StoreUnavailable:
    settings = response.remedies.settings
    if (odd := causes.find_unsupported_key(response.error)) is not None:
        return UnexpectedResponse(
            f"{response.message_prefix}: the key {odd!r} in the listing cannot be read or written "
            "by framecache. Remove it with the program that created it"
        )
    if (difference := causes.find_protocol_violation(response.text, response.remedies)) is not None:
        return UnexpectedResponse(
            f"{response.message_prefix}: {difference}. Use another server, or check {settings} and "
            "what is in between"
        )
    if response.status is None or causes.is_refused_by_proxy(response.text):
        reason, remedy = causes.connection_failure_cause(response.text, response.remedies)
        return StoreUnavailable(
            f"{response.message_prefix}: the server cannot be reached: {reason}. "
            f"{remedy or f'Check the network and {settings}'}"
        )
    answer = f"{response.status} {response.code}" if response.code else response.status
    kind = UnexpectedResponse if response.status.startswith("4") else StoreUnavailable
    return kind(
        f"{response.message_prefix}: the server responded {answer}. Try again, or check {settings}"
    )


def describe_key(key: str) -> str:
    """Return the name of a key or folder for error messages."""
    return repr(key) if key else "its blobs"
