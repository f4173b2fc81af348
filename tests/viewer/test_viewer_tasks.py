"""Tasks of the service in the viewer."""

import re
import threading
from itertools import count
from pathlib import Path
from typing import Final

import clips
from playwright.sync_api import Browser, expect
from served import over, serving

from framecache import FrameCache
from framecache.server import ServiceSettings
from framecache.testing import HookedStore
from viewer.browsing import opened

FRAMES: Final = 45
HELD_FROM: Final = 10
"""Frames that are stored before the rest waits."""
ALLOWING: Final = ServiceSettings(allowed_chunks=(str(clips.clip().parent),))


class HeldStore:
    """Cache that stores some frames, and the others when the test lets it continue."""

    def __init__(self, folder: Path) -> None:
        self.may_continue = threading.Event()
        self._numbers = count()
        store = FrameCache(folder).store
        self.cache = over(HookedStore(store, before=self._before))

    def _before(self, action: str, key: str) -> None:
        if action == "put" and "/frames/" in key and next(self._numbers) >= HELD_FROM:
            assert self.may_continue.wait(60)


def test_task_of_another_client_is_shown_with_its_progress(
    browser: Browser, tmp_path: Path
) -> None:
    held = HeldStore(tmp_path)
    with serving(held.cache, ALLOWING) as service, opened(browser, service.url) as page:
        page.open("")
        expect(page.tab.get_by_text("No timelines yet")).to_be_visible()
        page.tab.evaluate("window.isTheSamePage = true")
        body = {"chunks": [clips.clip().as_uri()]}
        assert service.client.post("api/v1/timelines/t/extract", json=body).status_code == 202
        work = page.tab.get_by_role("list", name="Tasks")
        expect(work.get_by_role("listitem")).to_contain_text(re.compile(f"[1-9][0-9]? of {FRAMES}"))
        held.may_continue.set()
        expect(page.tab.get_by_role("link", name="t")).to_contain_text("complete")
        expect(work.get_by_role("progressbar")).to_have_count(0)
        assert page.tab.evaluate("window.isTheSamePage")
        assert page.errors == []


def test_rebuild_button_completes_a_cleared_timeline(browser: Browser, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    cache.timeline("t").extract(clips.clip())
    cache.timeline("t").clear()
    with serving(cache, ALLOWING) as service, opened(browser, service.url) as page:
        page.tab.goto("./?timeline=t")
        expect(page.tab.get_by_text("No frame is cached here")).to_be_visible()
        page.tab.get_by_role("button", name="Rebuild").click()
        expect(page.tab.locator(".facts .state")).to_have_text("complete")
        expect(page.tab.get_by_role("button", name="Rebuild")).to_have_count(0)
        page.press("End")
        page.shows(FRAMES - 1)
        assert page.errors == []


def test_cancelled_extraction_is_shown_as_cancelled(browser: Browser, tmp_path: Path) -> None:
    held = HeldStore(tmp_path)
    with serving(held.cache, ALLOWING) as service, opened(browser, service.url) as page:
        page.open("")
        body = {"chunks": [clips.clip().as_uri()]}
        assert service.client.post("api/v1/timelines/t/extract", json=body).status_code == 202
        work = page.tab.get_by_role("list", name="Tasks")
        # Until the service knows, the extraction may not continue: it could end before.
        with page.tab.expect_response(lambda response: response.request.method == "DELETE"):
            work.get_by_role("button", name="Cancel").click()
        held.may_continue.set()
        expect(work.get_by_role("listitem")).to_contain_text("cancelled")
        assert page.errors == []
