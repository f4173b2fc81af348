"""Keyboard shortcuts in the browser."""

import pytest
from playwright.sync_api import Route, expect

from viewer.browsing import Page, hold

LAST = 249


@pytest.fixture
def bikes(page: Page) -> Page:
    page.open("?timeline=bikes&frame=30")
    page.shows(30)
    return page


@pytest.mark.parametrize(
    ("key", "sequence"),
    [
        ("d", 29),
        ("f", 31),
        (",", 29),
        (".", 31),
        ("ArrowLeft", 29),
        ("ArrowRight", 31),
        ("c", 20),
        ("v", 40),
        ("Shift+ArrowLeft", 20),
        ("Shift+ArrowRight", 40),
        ("Home", 0),
        ("End", LAST),
        ("0", 0),
        ("5", 125),
        ("9", 224),
    ],
)
def test_key_moves_to_the_expected_frame(bikes: Page, key: str, sequence: int) -> None:
    bikes.press(key)
    bikes.shows(sequence)


def test_control_and_arrow_move_to_the_next_frame_with_an_overlay(bikes: Page) -> None:
    bikes.press("End", "Control+ArrowLeft")
    bikes.shows(59)
    bikes.press("Home", "Control+ArrowRight")
    bikes.shows(20)


def test_overlay_keys_wait_until_the_shown_frame_is_known(page: Page) -> None:
    held: list[Route] = []
    page.tab.route("**/overview*", hold(held))
    page.open("?timeline=bikes&frame=30")
    expect(page.picture).to_have_attribute("data-overlays", "3")
    page.tab.route("**/frames?*", hold(held))
    with page.tab.expect_request("**/frames?*"):
        page.press("End", "Control+ArrowLeft")
    for route in held:
        route.continue_()
    page.tab.unroute_all()
    page.shows(59)


def test_space_plays_and_pauses(bikes: Page) -> None:
    bikes.press(" ")
    expect(bikes.tab.get_by_role("button", name="Pause")).to_be_visible()
    bikes.until("+document.querySelector('.picture canvas').dataset.sequence > 35")
    bikes.press(" ")
    expect(bikes.tab.get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.parametrize(("text", "sequence"), [("77", 77), ("4.2", 105), ("0:08", 200)])
def test_g_opens_a_dialog_that_jumps_to_a_frame_or_time(
    bikes: Page, text: str, sequence: int
) -> None:
    bikes.press("g")
    bikes.tab.get_by_label("Frame or time").fill(text)
    bikes.press("Enter")
    bikes.shows(sequence)


def test_holding_h_hides_the_overlays(bikes: Page) -> None:
    expect(bikes.picture).not_to_have_attribute("data-overlays", "0")
    bikes.tab.keyboard.down("h")
    expect(bikes.picture).to_have_attribute("data-overlays", "0")
    bikes.tab.keyboard.up("h")
    expect(bikes.picture).not_to_have_attribute("data-overlays", "0")


def test_brackets_change_the_opacity(page: Page) -> None:
    page.open("?timeline=bikes&frame=30&show=run-7/edges/canny")
    page.press("[", "[")
    page.address_has("run-7/edges/canny:0.8")
    page.press("]")
    page.address_has("run-7/edges/canny:0.9")


def test_x_cycles_through_the_comparison_modes(bikes: Page) -> None:
    for mode in ("side", "swipe", "blink", "difference"):
        bikes.press("x")
        bikes.address_has(f"compare={mode}")
    bikes.press("x")
    bikes.until("!location.search.includes('compare')")


def test_r_resets_zoom_and_pan(bikes: Page) -> None:
    box = bikes.picture.bounding_box()
    bikes.tab.mouse.move(400, 200)
    bikes.tab.mouse.wheel(0, -300)
    fitted = bikes.tab.get_by_role("button", name="Fit")
    expect(fitted).to_have_attribute("aria-pressed", "false")
    bikes.press("r")
    expect(fitted).to_have_attribute("aria-pressed", "true")
    assert bikes.picture.bounding_box() == box


def test_j_shows_the_metadata(bikes: Page) -> None:
    bikes.press("j")
    expect(bikes.tab.get_by_role("region", name="Metadata of the frame")).to_contain_text(
        "sequence30"
    )


def test_question_mark_shows_the_keys_and_escape_closes_them(bikes: Page) -> None:
    bikes.press("?")
    expect(bikes.tab.get_by_role("dialog", name="Keys")).to_be_visible()
    bikes.press("Escape")
    expect(bikes.tab.get_by_role("dialog")).to_have_count(0)


def test_keys_typed_into_a_field_do_not_move(bikes: Page) -> None:
    bikes.press("g")
    bikes.tab.get_by_label("Frame or time").press_sequentially("fff")
    bikes.press("Escape")
    bikes.shows(30)


@pytest.mark.parametrize(
    "used",
    [
        "select[title^='Keep pace']",
        ".layer select",
        ".layer input[type=range]",
        ".name-row input",
        ".tree summary",
        "[aria-label='One frame forward']",
        ".filmstrip",
    ],
)
def test_keys_move_frames_after_a_click_on_any_control(bikes: Page, used: str) -> None:
    bikes.tab.locator(used).first.click()
    bikes.press("Escape", "Home", "f")
    bikes.shows(1)
    bikes.press("ArrowRight")
    bikes.shows(2)


def test_select_focused_by_keyboard_keeps_its_arrow_keys(bikes: Page) -> None:
    bikes.press("Tab")
    speed = bikes.tab.get_by_label("Speed")
    speed.focus()
    bikes.press("ArrowDown")
    expect(speed).to_have_value("2")
    bikes.shows(30)
    bikes.press("f")
    bikes.shows(31)
