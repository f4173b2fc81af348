"""The address contains the whole view."""

from playwright.sync_api import Browser, expect

from viewer.browsing import Page, opened

VIEWS = (
    "?timeline=bikes&frame=30&show=run-7/edges/canny:0.5,run-7/boxes/cars"
    "&compare=swipe&a=run-7/edges&b=run-8/edges"
)


def test_copied_link_shows_the_same_view(page: Page, browser: Browser, service: str) -> None:
    page.open(VIEWS)
    page.shows(30)
    page.tab.get_by_role("button", name="Copy link").click()
    link = page.tab.evaluate("navigator.clipboard.readText()")
    assert link == f"{service}{VIEWS}"
    with opened(browser, service) as other:
        other.tab.goto(link)
        other.shows(30)
        expect(other.picture).to_have_attribute("data-overlays", "1")
        expect(other.tab.get_by_role("button", name="Swipe")).to_have_attribute(
            "aria-pressed", "true"
        )
        assert other.pixels() == page.pixels()


def test_stepping_changes_the_url_but_not_the_history(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    before = page.tab.evaluate("history.length")
    page.press("f", "f", "f")
    page.address_has("frame=33")
    assert page.tab.evaluate("history.length") == before


def test_back_returns_to_the_frame_before_a_jump(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    page.press("g")
    page.tab.get_by_label("Frame or time").fill("200")
    page.press("Enter")
    page.shows(200)
    page.address_has("frame=200")
    page.tab.go_back()
    page.shows(30)


def test_back_returns_from_a_timeline_to_the_list(page: Page) -> None:
    page.open("")
    page.tab.get_by_role("link", name="bikes-5fps").click()
    page.shows(0)
    page.tab.go_back()
    expect(page.tab.get_by_role("list", name="Timelines")).to_be_visible()
    page.tab.go_forward()
    page.shows(0)


def test_url_of_frame_after_the_last_offers_the_last_frame(page: Page) -> None:
    page.tab.goto("./?timeline=bikes&frame=9999")
    expect(page.tab.get_by_role("alert")).to_contain_text("There is no frame 9\u202f999")
    expect(page.tab.get_by_role("alert")).to_contain_text("The last frame of bikes is 249.")
    page.tab.get_by_role("button", name="Show the last frame").click()
    expect(page.tab.get_by_role("alert")).to_have_count(0)
    page.shows(249)


def test_url_of_invalid_timeline_id_offers_the_list(page: Page) -> None:
    page.tab.goto("./?timeline=a..b")
    expect(page.tab.get_by_text("“a..b” is not a valid timeline id")).to_be_visible()
    page.tab.get_by_role("link", name="Show all timelines").click()
    expect(page.tab.get_by_role("link", name="bikes-5fps")).to_be_visible()
    assert "a..b" not in page.tab.url


def test_invalid_url_parameters_are_ignored(page: Page) -> None:
    page.open("?timeline=bikes&frame=-1&show=../x,run-7/edges/canny:7&compare=magic")
    page.shows(0)
