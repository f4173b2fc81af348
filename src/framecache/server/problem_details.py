"""Error responses: problem details (RFC 9457) with fixed strings.

The strings are fixed on purpose. Messages of the library's errors name stores, keys and folders,
which must not leave this process; they go to the log.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from framecache import errors
from framecache.server.schema import Problem

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_SECONDS: Final = 1
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProblemType:
    """Status, code and text of one kind of failure."""

    status: int
    code: str
    detail: str


# The first match wins, so a subclass stands before its base class.
_PROBLEM_TYPES: Final[tuple[tuple[type[errors.FrameCacheError], ProblemType], ...]] = (
    (
        errors.InvalidId,
        ProblemType(
            422,
            "invalid_id",
            "An id must have 1 to 128 letters, digits, '.', '_' or '-', begin with a letter "
            "or digit, and not contain '..'.",
        ),
    ),
    (errors.InvalidValue, ProblemType(422, "invalid_value", "A value is out of range.")),
    (
        errors.UndecodableFrame,
        ProblemType(404, "undecodable", "The video has no picture for this frame: skip it."),
    ),
    (
        errors.NotCached,
        ProblemType(404, "not_cached", "The timeline does not exist, or does not have this frame."),
    ),
    (
        errors.TimelineCleared,
        ProblemType(
            409, "cleared", "The timeline was cleared or rebuilt in the meantime: start again."
        ),
    ),
    (
        errors.SettingsConflict,
        ProblemType(
            409,
            "settings_conflict",
            "The timeline is cached with other settings or chunks: use those, or rebuild it.",
        ),
    ),
    (
        errors.CorruptFrame,
        ProblemType(
            502,
            "corrupt",
            "Stored data differs from what was committed: verify the timeline and repair it.",
        ),
    ),
    (
        errors.ChunkChanged,
        ProblemType(
            409, "chunk_changed", "A chunk changed since it was extracted: rebuild the timeline."
        ),
    ),
    (
        errors.UnreadableChunk,
        ProblemType(422, "bad_chunk", "A chunk is missing, or is not a readable video."),
    ),
    (
        errors.StorePermissionDenied,
        ProblemType(502, "store_denied", "The store denies access to this service."),
    ),
    (
        errors.MissingPackage,
        ProblemType(
            501,
            "missing_package",
            "This service was installed without the packages for this; its log names them.",
        ),
    ),
    (errors.StoreFull, ProblemType(507, "store_full", "The store is full.")),
    (
        errors.StoreUnavailable,
        ProblemType(503, "store_unavailable", "The store does not respond: try again."),
    ),
)
_INTERNAL_ERROR: Final = ProblemType(500, "internal", "Unexpected error; the log has details.")
_CODES_BY_STATUS: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_value",
}


class ProblemError(HTTPException):
    """Error for a request that this service itself refuses."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code


def too_many_requests(detail: str, *, seconds: float = _RETRY_SECONDS) -> ProblemError:
    """Return a refusal with status 429 that asks the client to try again after `seconds`."""
    headers = {"Retry-After": str(max(1, round(seconds)))}
    return ProblemError(429, "rate_limited", detail, headers)


def problem_type_of(error: BaseException) -> ProblemType:
    """Return the part of an error that a client may know."""
    return next((kind for met, kind in _PROBLEM_TYPES if isinstance(error, met)), _INTERNAL_ERROR)


def problem_response(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a response with problem details."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


def openapi_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses for these statuses and for those common to all operations."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 403, 408, 413, 414, 421, 422, 429, 502, 503, *statuses})
    }


def add_problem_schema(app: FastAPI) -> None:
    """Add the schema of problems to an application's OpenAPI document."""
    undescribed = app.openapi

    def openapi() -> dict[str, Any]:
        document = undescribed()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def add_exception_handlers(app: FastAPI) -> None:
    """Install the exception handlers that respond with problem details."""
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(errors.FrameCacheError, _handle_cache_error)


def _handle_http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if isinstance(error, ProblemError):
        return problem_response(status, error.code, error.detail, headers=error.headers)
    # Raised by FastAPI; its detail may repeat what the client sent.
    phrase = HTTPStatus(status).phrase
    return problem_response(
        status, _CODES_BY_STATUS.get(status, "refused"), f"{phrase}.", headers=error.headers
    )


def _handle_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    places = (".".join(str(part) for part in one["loc"]) for one in error.errors())
    named = ", ".join(sorted(set(places)))[:200]
    return problem_response(422, "invalid_value", f"Invalid value of {named}.")


def _handle_cache_error(request: Request, error: Exception) -> JSONResponse:
    kind = problem_type_of(error)
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error(
            "request failed",
            exc_info=error if kind is _INTERNAL_ERROR else None,
            extra={"fields": {"path": request.url.path, "code": kind.code, "error": str(error)}},
        )
    headers = {"Retry-After": str(_RETRY_SECONDS)} if kind.status == 503 else None  # noqa: PLR2004
    return problem_response(kind.status, kind.code, kind.detail, headers=headers)
