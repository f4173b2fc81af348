"""What operators and browsers ask of any service."""

from typing import Final

from fastapi import APIRouter, Request, Response

from framecache._version import __version__
from framecache.http import schema
from framecache.http.metrics import CONTENT_TYPE
from framecache.http.problems import Refusal, documented
from framecache.http.state import Accessing, Service, Serving
from framecache.http.tokens import COOKIE, SESSION_SECONDS, Access

router = APIRouter(tags=["service"])

_PROBLEMS: Final = documented()


@router.get("/healthz", responses={429: _PROBLEMS[429], 421: _PROBLEMS[421]})
async def get_health() -> schema.Health:
    """Whether the service answers; the store is not asked."""
    return schema.Health()


@router.get(
    "/metrics",
    response_class=Response,
    responses=_PROBLEMS | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(service: Serving) -> Response:
    """What Prometheus reads."""
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/api/session", responses=_PROBLEMS)
async def get_session(service: Serving, access: Accessing) -> schema.Session:
    """What the one who asks may do here."""
    return _session(service, access)


@router.post("/api/session", responses=documented(400))
async def begin_session(
    request: Request, response: Response, service: Serving, credentials: schema.Credentials
) -> schema.Session:
    """Exchange a token for a cookie that scripts cannot read."""
    address = request.client.host if request.client else "unknown"
    service.check_guesses(address)
    tokens = service.settings.tokens
    access, value = tokens.access(credentials.token), tokens.session(credentials.token)
    if access is None or value is None:
        service.note_refusal(address)
        raise Refusal(401, "bad_token", "This token is not one of this service.")
    response.set_cookie(
        COOKIE,
        value,
        max_age=SESSION_SECONDS,
        path=service.settings.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _session(service, access)


@router.delete("/api/session", status_code=204, responses=_PROBLEMS)
async def end_session(response: Response, service: Serving) -> None:
    """Have the browser forget the cookie."""
    response.delete_cookie(
        COOKIE, path=service.settings.root_path or "/", httponly=True, samesite="strict"
    )


def _session(service: Service, access: Access) -> schema.Session:
    may_write = "write" in access.scopes and not service.settings.read_only
    return schema.Session(
        scopes=list(access.scopes),
        read_only=service.settings.read_only,
        upload=may_write and service.settings.limits.upload_bytes > 0,
        max_upload_bytes=service.settings.limits.upload_bytes,
        version=__version__,
    )
