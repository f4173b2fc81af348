"""Routes for operators and browsers: health, metrics and sessions."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

from framecache._version import __version__
from framecache.server import schema
from framecache.server.auth import SESSION_COOKIE, SESSION_SECONDS, Scope
from framecache.server.metrics import CONTENT_TYPE
from framecache.server.problem_details import ProblemError, openapi_responses
from framecache.server.state import Service, ServiceDep

router = APIRouter(tags=["service"])

_PROBLEMS: Final = openapi_responses()


@router.get("/healthz", responses={429: _PROBLEMS[429], 421: _PROBLEMS[421]})
async def get_health() -> schema.Health:
    """Report that the service responds; the store is not checked."""
    return schema.Health()


@router.get(
    "/metrics",
    response_class=Response,
    responses=_PROBLEMS | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(service: ServiceDep) -> Response:
    """Return metrics for Prometheus."""
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/api/v1/session", responses=_PROBLEMS)
async def get_session(request: Request, service: ServiceDep) -> schema.Session:
    """Return the permissions of the client."""
    return _session(service, request.auth.scopes)


@router.post("/api/v1/session", responses=openapi_responses(400))
async def begin_session(
    request: Request, response: Response, service: ServiceDep, credentials: schema.Credentials
) -> schema.Session:
    """Exchange a token for a cookie that scripts cannot read."""
    address = request.client.host if request.client else "unknown"
    service.check_auth_failures(address)
    tokens = service.settings.tokens
    access, value = tokens.authenticate(credentials.token), tokens.create_session(credentials.token)
    if access is None or value is None:
        service.record_auth_failure(address)
        raise ProblemError(401, "invalid_token", "The token is not valid for this service.")
    response.set_cookie(
        SESSION_COOKIE,
        value,
        max_age=SESSION_SECONDS,
        path=service.settings.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _session(service, access.scopes)


@router.delete("/api/v1/session", status_code=204, responses=_PROBLEMS)
async def end_session(response: Response, service: ServiceDep) -> None:
    """Delete the session cookie."""
    response.delete_cookie(
        SESSION_COOKIE, path=service.settings.root_path or "/", httponly=True, samesite="strict"
    )


def _session(service: Service, scopes: Sequence[Scope]) -> schema.Session:
    may_write = "write" in scopes and not service.settings.read_only
    return schema.Session(
        scopes=list(scopes),
        read_only=service.settings.read_only,
        upload=may_write and service.settings.limits.upload_bytes > 0,
        max_upload_bytes=service.settings.limits.upload_bytes,
        version=__version__,
    )
