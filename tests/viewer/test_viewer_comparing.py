"""Two stages, jobs or timelines next to each other."""

import pytest
from playwright.sync_api import expect

from viewer.browsing import OTHER, PICTURE, Page

STAGES = "&a=run-7/edges&b=run-8/edges"


@pytest.mark.parametrize("mode", ["side", "swipe", "blink", "difference"])
def test_comparison_shows_same_frame_with_overlays_of_each_side(page: Page, mode: str) -> None:
    page.open(f"?timeline=bikes&frame=30&compare={mode}{STAGES}")
    for picture in (page.picture, page.other):
        expect(picture).to_have_attribute("data-sequence", "30")
        expect(picture).to_have_attribute("data-overlays", "1")
    assert page.pixels(PICTURE) != page.pixels(OTHER)


def test_swiped_image_starts_at_the_border(page: Page) -> None:
    page.open(f"?timeline=bikes&frame=30&compare=swipe{STAGES}")
    page.tab.get_by_role("slider", name="Border").fill("25")
    clip = page.tab.locator(".pane.over").evaluate("pane => getComputedStyle(pane).clipPath")
    assert clip == "inset(0px 0px 0px 25%)"


def test_blink_comparison_alternates_the_images(page: Page) -> None:
    page.open(f"?timeline=bikes&frame=30&compare=blink{STAGES}")
    over = page.tab.locator(".pane.over")
    expect(over).to_be_visible()
    expect(over).to_be_hidden()
    expect(over).to_be_visible()


def test_equal_images_have_no_difference(page: Page) -> None:
    page.open(f"?timeline=bikes&frame=31&compare=difference{STAGES}")
    expect(page.other).to_have_attribute("data-overlays", "1")
    assert page.pixels(PICTURE) == page.pixels(OTHER)
    mixed = page.tab.locator(".pane.over").evaluate("pane => getComputedStyle(pane).mixBlendMode")
    assert mixed == "difference"


def test_next_and_previous_difference_are_found(page: Page) -> None:
    page.open(f"?timeline=bikes&frame=31&compare=side{STAGES}")
    page.tab.get_by_role("button", name="Next difference").click()
    page.shows(40)
    page.press("n")
    page.shows(50)
    page.press("p")
    page.shows(40)


@pytest.mark.parametrize(("match", "there"), [("sequence", 10), ("time", 2)])
def test_compared_timelines_are_matched_by_sequence_or_time(
    page: Page, match: str, there: int
) -> None:
    page.open(f"?timeline=bikes&frame=10&compare=side&with=bikes-5fps&match={match}")
    expect(page.other).to_have_attribute("data-sequence", str(there))
