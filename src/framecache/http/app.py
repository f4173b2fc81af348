"""The application: its routes, its guard, and what it starts and ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI

from framecache._version import __version__
from framecache.cache import FrameCache
from framecache.http import page, problems
from framecache.http.guard import Guard
from framecache.http.routes import overlays, pictures, sprites, system, timelines, working
from framecache.http.settings import ServiceSettings
from framecache.http.state import Service

_GRACE_SECONDS: Final = 10.0
"""For work that cannot be left in the midst."""


def create_app(cache: FrameCache, settings: ServiceSettings | None = None) -> FastAPI:
    """A service over a cache, as an ASGI application.

    Args:
        cache: whose timelines are served.
        settings: None: those for one person on loopback.
    """
    chosen = settings or ServiceSettings()
    service = Service(cache, chosen)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = chosen.limits.threads
        service.start()
        yield
        service.stop()
        await to_thread.run_sync(service.tasks.join, _GRACE_SECONDS)

    app = FastAPI(
        title="framecache",
        version=__version__,
        summary="Frames of video timelines, their overlays, and the work that makes them.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        root_path_in_servers=False,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    problems.install(app)
    # A picture's route has an ending that a frame's would take for a part of its number.
    for router in (
        pictures.router,
        sprites.router,
        timelines.router,
        overlays.router,
        working.router,
        system.router,
    ):
        app.include_router(router)
    problems.describe(app)
    page.install(app)
    app.add_middleware(Guard, service=service)
    return app
