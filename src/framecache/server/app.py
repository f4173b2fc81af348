"""ASGI application: routes, middleware, startup and shutdown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

from framecache._version import __version__
from framecache.cache import FrameCache
from framecache.server import api_reference, problem_details
from framecache.server.middleware import add_middleware
from framecache.server.routes import (
    operations,
    overlays,
    pictures,
    runs,
    sprites,
    system,
    timelines,
    vlm,
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
        vlm.router,
        overlays.router,
        operations.router,
        system.router,
    ):
        app.include_router(router)
    problem_details.add_problem_schema(app)
    add_pages(app)
    add_middleware(app, service)
    return app


VIEWER_FOLDER: Final = Path(__file__).parent / "viewer"

_VIEWER_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>framecache</title>
<h1>framecache</h1>
<p>The service runs; the viewer is not part of this installation. In a source tree,
<code>make viewer</code> builds it.</p>
<p><a href="docs">What the service offers</a></p>
</html>
"""


def add_pages(app: FastAPI) -> None:
    """Add the API reference, and the viewer if it is built, else a page on how to build it.

    These pages hold no data, so they need no token.
    """
    viewer = VIEWER_FOLDER

    @app.get("/", include_in_schema=False)
    def get_page() -> Response:
        index = viewer / "index.html"
        if not index.is_file():
            return HTMLResponse(_VIEWER_NOT_BUILT)
        return FileResponse(index, media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    def get_reference() -> Response:
        return HTMLResponse(api_reference.render(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    def get_reference_style() -> Response:
        return Response(api_reference.stylesheet(), media_type="text/css")

    if (viewer / "assets").is_dir():
        app.mount("/assets", StaticFiles(directory=viewer / "assets"), name="assets")
