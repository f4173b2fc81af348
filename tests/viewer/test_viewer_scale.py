"""Number of requests that viewing takes."""

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Route, expect

from framecache import Frame, FrameCache
from viewer.browsing import LONG_FRAMES, VIEWER, Page, hold, opened, serving

MOST_REQUESTS = 6
MOST_SCRIPT_BYTES = 150_000
MOST_FRAME_BYTES = 256 * 2**20
COUNT_BITMAPS = """
  window.decoded = {};
  const close = ImageBitmap.prototype.close;
  const noted = new WeakSet();
  const note = (bitmap) => {
    if (noted.has(bitmap)) return bitmap;
    noted.add(bitmap);
    const bytes = bitmap.width * bitmap.height * 4;
    const counted = (window.decoded[bitmap.width] ??= { all: 0, open: 0, most: 0 });
    counted.all += bytes;
    counted.open += bytes;
    bitmap.close = () => {
      if (bitmap.width > 0) counted.open -= bytes;
      close.call(bitmap);
    };
    // After the code that waited for it has received it.
    setTimeout(() => { counted.most = Math.max(counted.most, counted.open); });
    return bitmap;
  };
  const make = window.createImageBitmap;
  window.createImageBitmap = async (...given) => note(await make(...given));
  const given = Object.getOwnPropertyDescriptor(MessageEvent.prototype, "data");
  Object.defineProperty(MessageEvent.prototype, "data", {
    get() {
      const data = given.get.call(this);
      if (data?.bitmap instanceof ImageBitmap) note(data.bitmap);
      return data;
    },
  });
"""
"""Has the page count the bytes of bitmaps that it holds, of its workers too, by their width."""


def test_first_frame_takes_few_requests_and_little_script(page: Page) -> None:
    held: list[Route] = []
    page.tab.route("**/api/v1/session", hold(held))
    page.tab.route("**/overview*", hold(held))
    page.open("?timeline=bikes&frame=120&show=")
    urls = [request.url for request in page.requests]
    first_picture = next(i for i, url in enumerate(urls) if ".jpg" in url)
    assert first_picture < MOST_REQUESTS
    scripts = {Path(url).name for url in urls[: first_picture + 1] if url.endswith(".js")}
    assert (
        sum((VIEWER.parent / "assets" / name).stat().st_size for name in scripts)
        < MOST_SCRIPT_BYTES
    )
    for route in held:
        route.continue_()
    page.tab.unroute_all()


def test_opening_a_long_timeline_fetches_few_row_pages(page: Page, long_timeline: str) -> None:
    page.open(f"?timeline={long_timeline}&frame={LONG_FRAMES // 2}")
    expect(page.tab.locator(".chart canvas")).to_be_visible()
    assert len(page.asked("/frames?")) <= 3


def test_requests_for_frames_scrubbed_past_are_cancelled(page: Page, long_timeline: str) -> None:
    page.open(f"?timeline={long_timeline}")
    held: list[Route] = []
    page.tab.route("**/frames/*.jpg*", hold(held))
    asked = []
    for key, sequence in (("1", 1999), ("2", 3998), ("3", 5997), ("4", 7996), ("5", 10_005)):
        with page.tab.expect_request(f"**/frames/{sequence}.jpg*") as asking:
            page.press(key)
        asked.append(asking.value.url)
    for route in held:
        route.continue_()
    page.tab.unroute_all()
    page.shows(10_005)
    assert set(asked[:-1]) <= set(page.cancelled)


def test_scrubbing_leaves_no_elements_behind(page: Page, long_timeline: str) -> None:
    page.open(f"?timeline={long_timeline}")
    page.shows(0)
    before = page.tab.evaluate("document.querySelectorAll('*').length")
    for key in "123456789" * 3:
        page.press(key)
    page.press("Home")
    page.shows(0)
    assert page.tab.evaluate("document.querySelectorAll('*').length") < before + 100


def test_decoded_frames_stay_within_their_memory_limit(browser: Browser, tmp_path: Path) -> None:
    width, height, count = 3000, 2000, 24
    plain = (np.full((height, width, 3), 10 * number, np.uint8) for number in range(count))
    FrameCache(tmp_path).timeline("large").write(
        Frame(number, 0, number / 25, image) for number, image in enumerate(plain)
    )
    with serving(tmp_path) as url, opened(browser, url) as page:
        page.tab.add_init_script(COUNT_BITMAPS)
        page.open("?timeline=large")
        for sequence in range(1, count):
            page.press("f")
            page.shows(sequence)
        decoded = page.tab.evaluate(f"window.decoded[{width}]")
        assert page.errors == []
    assert decoded["all"] > 2 * MOST_FRAME_BYTES
    assert decoded["most"] <= MOST_FRAME_BYTES


def test_fast_scrubbing_changes_the_url_rarely(page: Page) -> None:
    page.open("?timeline=bikes")
    page.tab.evaluate(
        """() => {
          window.changes = 0;
          const replace = history.replaceState.bind(history);
          history.replaceState = (...given) => { window.changes += 1; replace(...given); };
        }"""
    )
    for _ in range(60):
        page.press("f")
    page.address_has("frame=60")
    assert page.tab.evaluate("window.changes") < 60


def test_timeline_list_renders_only_visible_rows(page: Page) -> None:
    timelines = [
        {
            "timeline_id": f"match-{number:04d}", "state": "complete", "frame_count": 1,
            "cached_count": 1, "undecodable_count": 0, "duration_seconds": 1.0, "size_bytes": 1,
            "width": 1, "height": 1, "layout": "objects", "chunk_count": 1, "chunks_cached": 1,
            "poster": None, "problem": None,
        }
        for number in range(1000)
    ]  # fmt: skip
    page.tab.route(
        "**/api/v1/timelines?*",
        lambda route: route.fulfill(json={"timelines": timelines, "next": None}),
    )
    page.open("")
    expect(page.tab.get_by_role("link", name="match-0000")).to_be_visible()
    assert page.tab.locator(".timeline-row").count() < 40
