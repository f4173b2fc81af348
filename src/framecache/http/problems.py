"""What a client is told when something goes wrong: RFC 9457, in words that are always the same.

The texts are fixed on purpose. Errors of the library name stores, keys and folders, which are
nobody's business beyond this process; they go to the log.
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
from framecache.http.schema import Problem

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_SECONDS: Final = 1
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which a request can fail."""

    status: int
    code: str
    detail: str


# The first that fits counts, so a child stands before its parent.
_KINDS: Final[tuple[tuple[type[errors.FrameCacheError], Kind], ...]] = (
    (
        errors.InvalidId,
        Kind(
            422,
            "invalid_id",
            "An id has 1 to 128 letters, digits, '.', '_' or '-', begins with a letter or digit, "
            "and holds no '..'.",
        ),
    ),
    (errors.InvalidValue, Kind(422, "invalid_value", "A value is out of its range.")),
    (
        errors.UndecodableFrame,
        Kind(404, "undecodable", "The video has no picture for this frame: skip it."),
    ),
    (
        errors.NotCached,
        Kind(404, "not_cached", "There is no such timeline, or it has no such frame."),
    ),
    (
        errors.Cleared,
        Kind(409, "cleared", "The timeline was cleared or rebuilt in the meantime: start again."),
    ),
    (
        errors.SettingsConflict,
        Kind(
            409,
            "settings_conflict",
            "The timeline is cached with other settings or chunks: rebuild it, or use those.",
        ),
    ),
    (
        errors.CorruptFrame,
        Kind(
            502,
            "corrupt",
            "What is stored is not what was committed: verify the timeline and repair it.",
        ),
    ),
    (
        errors.ChunkChanged,
        Kind(409, "chunk_changed", "A chunk is not the one that was described: rebuild."),
    ),
    (
        errors.BadChunk,
        Kind(422, "bad_chunk", "A chunk is missing, or is no video that can be read."),
    ),
    (errors.StoreDenied, Kind(502, "store_denied", "The store refuses this service.")),
    (errors.StoreFull, Kind(507, "store_full", "The store has no room left.")),
    (
        errors.StoreUnavailable,
        Kind(503, "store_unavailable", "The store does not answer: try again."),
    ),
)
_UNEXPECTED: Final = Kind(500, "internal", "Something unexpected happened; the log tells what.")
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_value",
}


class Refusal(HTTPException):
    """A request that this service itself refuses."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code


def too_many(detail: str, *, seconds: float = _RETRY_SECONDS) -> Refusal:
    """The client is to try again later."""
    headers = {"Retry-After": str(max(1, round(seconds)))}
    return Refusal(429, "too_many", detail, headers)


def kind_of(error: BaseException) -> Kind:
    """What a client may know of an error."""
    return next((kind for met, kind in _KINDS if isinstance(error, met)), _UNEXPECTED)


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer that tells of a problem."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, code=code, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of an operation, as its documentation has them."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 403, 408, 413, 421, 422, 429, 502, 503, *statuses})
    }


def describe(app: FastAPI) -> None:
    """Have the OpenAPI document of an application say what a problem is."""
    undescribed = app.openapi

    def openapi() -> dict[str, Any]:
        document = undescribed()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def install(app: FastAPI) -> None:
    """Have an application answer with problems."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(errors.FrameCacheError, _failed)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if isinstance(error, Refusal):
        return problem(status, error.code, error.detail, headers=error.headers)
    # FastAPI's own: its detail may repeat what was sent.
    phrase = HTTPStatus(status).phrase
    return problem(status, _CODES.get(status, "refused"), f"{phrase}.", headers=error.headers)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    places = (".".join(str(part) for part in one["loc"]) for one in error.errors())
    named = ", ".join(sorted(set(places)))[:200]
    return problem(422, "invalid_value", f"Not a value that is possible here: {named}.")


def _failed(request: Request, error: Exception) -> JSONResponse:
    kind = kind_of(error)
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error(
            "request failed",
            exc_info=error if kind is _UNEXPECTED else None,
            extra={"fields": {"path": request.url.path, "code": kind.code, "error": str(error)}},
        )
    headers = {"Retry-After": str(_RETRY_SECONDS)} if kind.status == 503 else None  # noqa: PLR2004
    return problem(kind.status, kind.code, kind.detail, headers=headers)
