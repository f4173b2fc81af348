"""Playback shows frames with all their overlays, and marks incomplete pictures."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from viewer.browsing import Page, hold, opened

DRAWN = range(20, 60)
"""Sequences with overlays."""
FRAMES_A_SECOND = 25
COUNT_DECODES = """
  window.decodedHere = 0;
  const make = window.createImageBitmap;
  window.createImageBitmap = (...given) => {
    window.decodedHere += 1;
    return make(...given);
  };
  window.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (data === "ready") window.hasDecoder = true;
      });
    }
  };
"""
"""Script that counts the pictures that the page decodes, and signals that its worker can."""
WATCH = """() => {
  window.shownPictures = [];
  const canvas = document.querySelector(".picture canvas");
  const note = () => {
    const { sequence, overlays, whole } = canvas.dataset;
    window.shownPictures.push([Number(sequence), Number(overlays), whole, performance.now()]);
  };
  new MutationObserver(note).observe(canvas, {
    attributes: true, attributeFilter: ["data-sequence", "data-overlays", "data-whole"],
  });
}"""


def is_shown_whole(shown_pictures: list[Any]) -> bool:
    """Return True if each picture had all the overlays of its frame."""
    return all(
        whole == "true" and overlays == (3 if sequence == 30 else 1)
        for sequence, overlays, whole, _ in shown_pictures
    )


def play_until(page: Page, sequence: int) -> list[Any]:
    """Play until a frame is shown; return the pictures on screen."""
    page.tab.evaluate(WATCH)
    page.press(" ")
    page.until(f"window.shownPictures.some(([sequence]) => sequence >= {sequence})")
    page.press(" ")
    shown_pictures: list[Any] = page.tab.evaluate("window.shownPictures")
    return [one for one in shown_pictures if one[0] in DRAWN]


def test_playback_shows_every_frame_with_all_its_overlays(page: Page) -> None:
    page.open("?timeline=bikes&frame=24")
    page.tab.get_by_label("Playback when").select_option("every")
    shown_pictures = play_until(page, 50)
    sequences = list(dict.fromkeys(sequence for sequence, *_ in shown_pictures))
    assert sequences == list(range(25, sequences[-1] + 1))
    assert is_shown_whole(shown_pictures)


def test_playback_fetches_frames_and_overlays_in_few_requests(page: Page) -> None:
    page.open("?timeline=bikes&frame=22")
    page.tab.evaluate(WATCH)
    page.press(" ")
    page.until("window.shownPictures.some(([sequence]) => sequence >= 50)")
    runs = page.asked("/run?")
    alone = [*page.asked("/frames/"), *page.asked("canny.png")]
    last = page.tab.evaluate("window.shownPictures.at(-1)[0]")
    # Requests for the first two seconds, and then one for each second.
    assert 1 <= len(runs) <= 3 + (last - 22) / FRAMES_A_SECOND
    assert "overlay=run-7%2Fedges%2Fcanny" in runs[0]
    # Around the frame at rest.
    beside = {str(sequence) for sequence in range(20, 25)}
    assert {url.split("/")[-1].split(".")[0] for url in alone if "/frames/" in url} <= beside
    assert {url.split("/")[-2] for url in alone if "canny" in url} <= beside


def test_playback_is_never_ahead_of_the_frame_rate(page: Page) -> None:
    page.open("?timeline=bikes&frame=22")
    page.tab.evaluate(WATCH)
    began = page.tab.evaluate("performance.now()")
    shown_pictures = play_until(page, 55)
    assert is_shown_whole(shown_pictures)
    sequences = [sequence for sequence, *_ in shown_pictures]
    assert sequences == sorted(sequences)
    # On a busy machine frames may be late, but never early.
    due = [22 + (at - began) / 1000 * FRAMES_A_SECOND for *_, at in shown_pictures]
    assert all(sequence <= most for sequence, most in zip(sequences, due, strict=True))


def test_played_frames_are_decoded_in_a_worker(browser: Browser, service: str) -> None:
    with opened(browser, service) as page:
        page.tab.add_init_script(COUNT_DECODES)
        page.open("?timeline=bikes&frame=22")
        page.until("window.hasDecoder")
        page.tab.evaluate("window.decodedHere = 0")
        shown_pictures = play_until(page, 50)
        assert len({sequence for sequence, *_ in shown_pictures}) > 1
        assert page.tab.evaluate("window.decodedHere") == 0
        assert page.errors == []


def test_page_without_workers_plays_too(browser: Browser, service: str) -> None:
    with opened(browser, service) as page:
        page.tab.route("**/decoder-*.js", lambda route: route.abort())
        page.open("?timeline=bikes&frame=22")
        assert is_shown_whole(play_until(page, 50))


def test_playback_waits_for_delayed_overlays(page: Page) -> None:
    held: list[Route] = []
    page.open("?timeline=bikes&frame=24")
    page.tab.route("**/run?*", hold(held))
    page.tab.evaluate(WATCH)
    with page.tab.expect_request("**/run?*"):
        page.press(" ")
    for route in held:
        route.continue_()
    page.tab.unroute_all()
    page.until("window.shownPictures.some(([sequence]) => sequence >= 45)")
    shown_pictures = [one for one in page.tab.evaluate("window.shownPictures") if one[0] in DRAWN]
    assert is_shown_whole(shown_pictures)


@pytest.fixture
def failing(browser: Browser, service: str) -> Iterator[Page]:
    """A page whose overlays cannot be loaded."""
    with opened(browser, service) as page:
        page.tab.route("**/canny.png", lambda route: route.fulfill(status=404))
        yield page


def test_failed_layer_is_reported(failing: Page) -> None:
    failing.open("?timeline=bikes&frame=40&show=run-7/edges/canny")
    expect(failing.tab.get_by_text("Without edges canny")).to_be_visible()
    expect(failing.picture).to_have_attribute("data-whole", "false")


def test_image_with_failed_layer_is_not_saved(failing: Page) -> None:
    failing.open("?timeline=bikes&frame=40&show=run-7/edges/canny")
    failing.tab.get_by_role("button", name="Save with overlays").click()
    expect(failing.tab.get_by_text("not on screen with all its overlays")).to_be_visible()


def test_thumbnail_in_place_of_a_frame_is_labeled_as_preview(page: Page) -> None:
    # Held from the start: on a busy machine, a request right after the call is not intercepted.
    held: list[Route] = []
    page.tab.route("**/frames/40.jpg*", hold(held))
    page.open("?timeline=bikes&frame=30")
    page.until(
        "performance.getEntriesByType('resource').some(({name}) => name.includes('/sprites/'))"
    )
    page.press("v")
    note = page.tab.get_by_text("Preview, without overlays")
    expect(note).to_be_visible()
    expect(page.picture).to_have_attribute("data-whole", "false")
    for route in held:
        route.continue_()
    page.tab.unroute_all()
    page.shows(40)
    expect(note).to_have_count(0)
