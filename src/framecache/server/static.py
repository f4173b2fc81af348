"""HTML pages: the viewer, which holds no data and so needs no token, and the API reference."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

from framecache.server import api_reference

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
    """Add the API reference, and the viewer if it is built, else a page on how to build it."""
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
