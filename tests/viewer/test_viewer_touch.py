"""The viewer on a touch screen."""

import pytest
from playwright.sync_api import CDPSession, expect

from viewer.browsing import Page

Point = tuple[float, float]
STEPS = 5


class Fingers:
    """Touches of the screen, through the browser's own input."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.tab.context.new_cdp_session(page.tab)

    def slide(self, *ways: tuple[Point, Point]) -> None:
        """Move fingers in straight lines over the screen."""
        self._touch("touchStart", [start for start, _ in ways])
        for step in range(1, STEPS + 1):
            part = step / STEPS
            self._touch(
                "touchMove",
                [(a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part) for a, b in ways],
            )
        self._touch("touchEnd", [])

    def _touch(self, kind: str, points: list[Point]) -> None:
        touches = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


@pytest.fixture
def fingers(phone: Page) -> Fingers:
    phone.open("?timeline=bikes&frame=30")
    phone.shows(30)
    return Fingers(phone)


def middle(page: Page) -> Point:
    box = page.picture.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_pinch_zooms_in_proportion_to_finger_distance(phone: Page, fingers: Fingers) -> None:
    x, y = middle(phone)
    fitted = phone.picture.bounding_box()
    assert fitted is not None
    percent = 100 * fitted["width"] / 640
    fingers.slide(((x - 20, y), (x - 40, y)), ((x + 20, y), (x + 40, y)))
    expect(phone.tab.locator(".zoom")).to_have_text(f"{2 * percent:.0f} %")
    fingers.slide(((x - 30, y), (x - 60, y)), ((x + 30, y), (x + 60, y)))
    expect(phone.tab.locator(".zoom")).to_have_text(f"{4 * percent:.0f} %")


def test_one_finger_pans_a_zoomed_image(phone: Page, fingers: Fingers) -> None:
    x, y = middle(phone)
    fingers.slide(((x - 20, y), (x - 80, y)), ((x + 20, y), (x + 80, y)))
    expect(phone.tab.get_by_role("button", name="Fit")).to_have_attribute("aria-pressed", "false")
    before = phone.picture.bounding_box()
    fingers.slide(((x, y), (x - 40, y)))
    after = phone.picture.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] - before["x"] == pytest.approx(-40, abs=2)
    assert after["width"] == pytest.approx(before["width"])


def test_tap_on_the_scrubber_moves_to_that_frame(phone: Page, fingers: Fingers) -> None:
    del fingers
    area = phone.tab.get_by_role("slider", name="Position on the timeline")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    phone.tab.touchscreen.tap(box["x"] + box["width"] * 100.5 / 250, box["y"] + 20)
    phone.shows(100)


def test_finger_drag_scrubs(phone: Page, fingers: Fingers) -> None:
    area = phone.tab.get_by_role("slider", name="Position on the timeline")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    start, stop = (box["x"] + box["width"] * part for part in (0.25, 200.5 / 250))
    fingers.slide(((start, box["y"] + 20), (stop, box["y"] + 20)))
    phone.shows(200)
