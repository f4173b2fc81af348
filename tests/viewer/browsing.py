"""Actions and observations of a person who uses the viewer."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Locator, Request, Route, ViewportSize, expect
from playwright.sync_api import Page as Tab

import framecache
from benchmarks.server import free_ports

ROOT: Final = Path(__file__).parents[2]
BIKES: Final = ROOT / ".cache" / "clips" / "bikes.mp4"
VIEWER: Final = Path(framecache.__file__).parent / "server" / "viewer" / "index.html"
DEADLINE_SECONDS: Final = 60
POLL_MILLISECONDS: Final = 20
LONG_FRAMES: Final = 20_000
GAP: Final = range(9_000, 9_010)
"""Sequences that the long timeline lacks."""
DESK: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
PICTURE: Final = ".pane:first-child .picture canvas"
OTHER: Final = ".pane ~ .pane .picture canvas"


class Page:
    """Tab of the browser, and its requests."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.requests: list[Request] = []
        self.cancelled: list[str] = []
        self.errors: list[str] = []
        tab.on("request", self._note)
        tab.on("requestfailed", lambda request: self.cancelled.append(request.url))
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type == "error" else None,
        )

    def open(self, search: str) -> None:
        """Go to an address of the viewer, and wait for its first picture."""
        self.tab.goto(f"./{search}")
        if "timeline=" in search:
            expect(self.picture).not_to_have_attribute("data-sequence", "")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def shows(self, sequence: int) -> None:
        """Require the picture of a frame on screen, and its number next to it."""
        expect(self.picture).to_have_attribute("data-sequence", str(sequence))
        expect(self.tab.get_by_test_id("sequence")).to_have_text(
            f"{sequence:,}".replace(",", "\u202f")
        )

    def address_has(self, part: str) -> None:
        self.until(f"location.search.includes({json.dumps(part)})")

    def until(self, expression: str) -> None:
        """Wait for an expression to hold. Playwright's own wait is refused by the page's policy."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self.tab.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.tab.wait_for_timeout(POLL_MILLISECONDS)

    @property
    def picture(self) -> Locator:
        return self.tab.locator(PICTURE)

    @property
    def other(self) -> Locator:
        """The second picture of a comparison."""
        return self.tab.locator(OTHER)

    def pixels(self, selector: str = PICTURE) -> int:
        """Return a number that changes with any pixel of a picture."""
        total = self.tab.evaluate(
            """selector => {
              const canvas = document.querySelector(selector);
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return data.reduce((sum, value) => (sum * 31 + value) % 1000000007, 7);
            }""",
            selector,
        )
        return int(total)

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def asked(self, part: str) -> list[str]:
        """Return the requested URLs that contain a string."""
        return [request.url for request in self.requests if part in request.url]


@contextmanager
def opened(
    browser: Browser, url: str, *, viewport: ViewportSize = DESK, has_touch: bool = False
) -> Iterator[Page]:
    context = browser.new_context(
        viewport=viewport, has_touch=has_touch, base_url=url, color_scheme="dark"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    try:
        yield Page(context.new_page())
    finally:
        context.close()


def hold(held: list[Route]) -> Callable[[Route], None]:
    """Keep requests from proceeding until they are released."""

    def keep(route: Route) -> None:
        held.append(route)

    return keep


@contextmanager
def serving(folder: Path, *settings: str, port: int | None = None) -> Iterator[str]:
    """Run ``framecache serve`` in a separate process."""
    chosen = port or free_ports(1)[0]
    command = [sys.executable, "-m", "framecache", "serve", "--cache", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(chosen), *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_answer(process, chosen)
        yield f"http://127.0.0.1:{chosen}/"
    finally:
        process.kill()
        process.wait()


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service did not start"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(POLL_MILLISECONDS / 1000)
    raise TimeoutError("the service does not answer")


def answers(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
        content: bytes = answer.read()
        return content
