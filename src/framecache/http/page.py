"""Pages for people: the viewer, which holds no data and so needs no token, and the reference."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

from framecache.http import reference

VIEWER: Final = Path(__file__).parent / "viewer"

_UNBUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>framecache</title>
<h1>framecache</h1>
<p>The service runs; the viewer is not part of this installation. In a source tree,
<code>make viewer</code> builds it.</p>
<p><a href="docs">What the service offers</a></p>
</html>
"""


def install(app: FastAPI) -> None:
    """Serve the viewer where it is built, else a page that says how to build it."""
    viewer = VIEWER

    @app.get("/", include_in_schema=False)
    def get_page() -> Response:
        index = viewer / "index.html"
        if not index.is_file():
            return HTMLResponse(_UNBUILT)
        return FileResponse(index, media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    def get_reference() -> Response:
        return HTMLResponse(reference.page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    def get_reference_style() -> Response:
        return Response(reference.style(), media_type="text/css")

    if (viewer / "assets").is_dir():
        app.mount("/assets", StaticFiles(directory=viewer / "assets"), name="assets")
