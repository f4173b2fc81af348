"""ASGI application: routes, middleware, startup and shutdown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI

from framecache._version import __version__
from framecache.cache import FrameCache
from framecache.server import problem_details, static
from framecache.server.middleware import SecurityMiddleware
from framecache.server.routes import (
    operations,
    overlays,
    pictures,
    runs,
    sprites,
    system,
    timelines,
)
from framecache.server.settings import ServiceSettings
from framecache.server.state import Service

_SHUTDOWN_TIMEOUT_SECONDS: Final = 10.0
"""Time allowed at shutdown for tasks that cannot be interrupted."""


def create_app(cache: FrameCache, settings: ServiceSettings | None = None) -> FastAPI:
    """Create the ASGI application that serves a cache.

    Args:
        cache: the cache whose timelines are served.
        settings: settings of the service; None for the defaults, made for one person on loopback.
    """
    chosen = settings or ServiceSettings()
    service = Service(cache, chosen)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = chosen.limits.threads
        service.start()
        yield
        service.stop()
        await to_thread.run_sync(service.tasks.join, _SHUTDOWN_TIMEOUT_SECONDS)

    app = FastAPI(
        title="framecache",
        version=__version__,
        summary="Frames and overlays of video timelines, and the tasks that extract them.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        root_path_in_servers=False,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    problem_details.add_exception_handlers(app)
    # First, because a frame's route would take the file ending of a picture's route for a part of
    # the frame's number.
    for router in (
        pictures.router,
        runs.router,
        sprites.router,
        timelines.router,
        overlays.router,
        operations.router,
        system.router,
    ):
        app.include_router(router)
    problem_details.add_problem_schema(app)
    static.add_pages(app)
    app.add_middleware(SecurityMiddleware, service=service)
    return app
