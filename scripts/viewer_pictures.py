"""Make the pictures of the viewer that the documentation site shows.

    python scripts/viewer_pictures.py FOLDER

It extracts the first video of the demo, runs the two jobs of the demo on it, serves the cache on
loopback, and saves what Chromium shows. It needs the built viewer, the videos of ``make clips``,
Chromium, and the development tools. The cache is kept, so a second run only saves pictures.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import demo  # noqa: E402 -- found in the line above

from framecache import FrameCache  # noqa: E402

VIDEO: Final = ROOT / ".cache" / "clips" / "bikes.mp4"
VIEWER: Final = ROOT / "src" / "framecache" / "server" / "viewer" / "index.html"
WIDTH: Final = 1280
DEADLINE_SECONDS: Final = 60
POLL_SECONDS: Final = 0.05
PICTURES: Final = {
    "viewer-list.png": ("", 260),
    "viewer-frame.png": (
        "?timeline=bikes&frame=150&show=sensitive/edges/canny:0.5,sensitive/motion/boxes",
        800,
    ),
    "viewer-compare.png": (
        "?timeline=bikes&frame=150&compare=swipe&a=strict/edges&b=sensitive/edges",
        800,
    ),
}
"""Query of the viewer, and height in pixels, by the names of the pictures."""
CHROMIUM: Final = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""The one without windows opens a page in less than half of the CPU time."""
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing_requirements() -> list[str]:
    """Return what has to be installed or made before pictures can be."""
    return [
        name
        for name, is_there in (
            ("chromium", CHROMIUM is not None),
            ("make viewer", VIEWER.is_file()),
            ("make clips", VIDEO.is_file()),
        )
        if not is_there
    ]


def make_pictures(folder: Path) -> None:
    """Save all pictures in a folder; the cache they show is kept in its ``cache`` folder."""
    cache = FrameCache(folder / "cache")
    for name in ("bikes", "bikes-5fps"):
        cache.timeline(name).extract([VIDEO], fps=5 if name == "bikes-5fps" else None)
    for job in demo.JOBS:
        demo.run(job, cache.timeline("bikes"))
    with _serving(folder) as url, launched() as browser:
        page = browser.new_page(color_scheme="dark", base_url=url)
        for name, (query, height) in PICTURES.items():
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.goto(f"./{query}", wait_until="networkidle")
            page.screenshot(path=folder / name)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start Chromium; without the flags it looks up hosts that are not there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve the cache in a folder in another process; yield its address."""
    command = [sys.executable, "-m", "framecache", "serve", "--port", "0"]
    said = folder / "service.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [*command, "--read-only", "--cache", str(folder / "cache")], stdout=log, stderr=log
        )
        try:
            yield _await_address(process, said)
        finally:
            process.terminate()
            process.wait()


def _await_address(process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", said.read_text()):
            return found[0]
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"the service did not start: {said.read_text()}")


if __name__ == "__main__":
    if missing := missing_requirements():
        sys.exit(f"pictures of the viewer need: {', '.join(missing)}")
    os.environ.pop("FRAMECACHE_URL", None)
    make_pictures(Path(sys.argv[1]))
