"""The viewer: one page and its assets, which hold no data and so need no token."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

VIEWER: Final = Path(__file__).parent / "viewer"

_UNBUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>framecache</title>
<h1>framecache</h1>
<p>The service runs; the viewer is not part of this installation. In a source tree,
<code>make viewer</code> builds it.</p>
<p><a href="docs">What the service offers</a></p>
</html>
"""


def install(app: FastAPI, viewer: Path = VIEWER) -> None:
    """Serve the viewer where it is built, else a page that says how to build it."""

    @app.get("/", include_in_schema=False)
    def get_page() -> Response:
        index = viewer / "index.html"
        if not index.is_file():
            return HTMLResponse(_UNBUILT)
        return FileResponse(index, media_type="text/html", headers={"Cache-Control": "no-cache"})

    if (viewer / "assets").is_dir():
        app.mount("/assets", StaticFiles(directory=viewer / "assets"), name="assets")
