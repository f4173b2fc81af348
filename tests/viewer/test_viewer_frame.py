"""Display of a timeline in the viewer."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from viewer.browsing import GAP, Page, answers


def test_shown_frame_has_its_sequence_and_time(page: Page) -> None:
    page.open("?timeline=bikes&frame=105")
    page.shows(105)
    expect(page.tab.get_by_test_id("time")).to_have_text("0:04.200")
    expect(page.picture).to_have_attribute("aria-label", "bikes: Frame 105, 4.200 seconds")


def test_shown_image_is_the_stored_jpeg(page: Page, service: str) -> None:
    page.open("?timeline=bikes&frame=105")
    stored = answers(f"{service}api/v1/timelines/bikes/frames/105.jpg")
    decoded = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    shown = page.tab.evaluate(
        """() => {
          const canvas = document.querySelector(".picture canvas");
          const middle = canvas.getContext("2d").getImageData(320, 136, 1, 1).data;
          return [canvas.width, canvas.height, ...middle];
        }"""
    )
    assert shown[:2] == [640, 272]
    assert np.abs(np.array(shown[2:5], int) - decoded[136, 320]).max() <= 4


def test_selected_overlay_is_drawn_on_the_frame(page: Page) -> None:
    page.open("?timeline=bikes&frame=30&show=")
    bare = page.pixels()
    page.tab.get_by_role("checkbox", name="cars").check()
    expect(page.picture).to_have_attribute("data-overlays", "1")
    assert page.pixels() != bare


def test_layers_are_drawn_in_the_chosen_order(page: Page) -> None:
    page.open("?timeline=bikes&frame=30&show=run-7/edges/canny:1:normal,run-7/boxes/cars")
    one = page.pixels()
    page.tab.get_by_role("button", name="Move run-7/edges/canny up").click()
    page.address_has("show=run-7/boxes/cars,run-7/edges/canny")
    page.until("location.search.includes('cars,run-7')")
    assert page.pixels() != one


def test_each_stage_has_a_row_of_marks(page: Page) -> None:
    page.open("?timeline=bikes")
    expect(page.tab.locator("canvas.marks")).to_have_count(3)
    expect(page.tab.locator(".row-label")).to_have_text(
        ["run-7/boxes", "run-7/edges", "run-8/edges"]
    )


def test_scrubber_has_position_sequence_and_time(page: Page) -> None:
    page.open("?timeline=bikes&frame=50")
    slider = page.tab.get_by_role("slider", name="Position on the timeline")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    expect(slider).to_have_attribute("aria-valuetext", "Frame 50, 2.000 seconds")


def test_click_on_the_scrubber_moves_to_that_frame(page: Page) -> None:
    page.open("?timeline=bikes")
    box = page.tab.get_by_role("slider", name="Position on the timeline").bounding_box()
    assert box is not None
    page.tab.mouse.click(box["x"] + box["width"] * 100.5 / 250, box["y"] + 20)
    page.shows(100)


def test_step_skips_a_gap_in_the_sequences(page: Page, long_timeline: str) -> None:
    page.open(f"?timeline={long_timeline}&frame={GAP.start - 1}")
    page.press("f")
    page.shows(GAP.stop)


def test_url_of_missing_frame_shows_the_next_one(page: Page, long_timeline: str) -> None:
    page.open(f"?timeline={long_timeline}&frame={GAP.start + 3}")
    page.shows(GAP.stop)


def test_visual_change_chart_is_shown(page: Page) -> None:
    page.open("?timeline=bikes")
    expect(page.tab.locator(".chart canvas")).to_be_visible()


def test_filmstrip_thumbnails_come_from_sprite_sheets(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    page.tab.wait_for_load_state("load")
    page.until(
        "performance.getEntriesByType('resource').some(({name}) => name.includes('/sprites/'))"
    )
    assert page.asked("width=") == []


def test_downloaded_frame_is_the_stored_jpeg(page: Page, service: str, tmp_path: Path) -> None:
    page.open("?timeline=bikes&frame=30")
    with page.tab.expect_download() as downloading:
        page.tab.get_by_role("button", name="Save frame").click()
    downloading.value.save_as(tmp_path / "frame.jpg")
    assert downloading.value.suggested_filename == "bikes-30.jpg"
    stored = answers(f"{service}api/v1/timelines/bikes/frames/30.jpg")
    assert (tmp_path / "frame.jpg").read_bytes() == stored


def test_downloaded_frame_includes_its_overlays(page: Page, tmp_path: Path) -> None:
    page.open("?timeline=bikes&frame=30&show=run-7/boxes/cars")
    expect(page.picture).to_have_attribute("data-overlays", "1")
    with page.tab.expect_download() as downloading:
        page.tab.get_by_role("button", name="Save with overlays").click()
    downloading.value.save_as(tmp_path / "shown.png")
    picture = cv2.imread(str(tmp_path / "shown.png"), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    assert picture.shape == (272, 640, 3)
    assert tuple(picture[60, 200]) == (255, 80, 80)


def test_double_click_zooms_the_image(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    fitted = page.picture.bounding_box()
    page.picture.dblclick(position={"x": 50, "y": 50})
    expect(page.tab.get_by_role("button", name="Fit")).to_have_attribute("aria-pressed", "false")
    zoomed = page.picture.bounding_box()
    assert fitted is not None
    assert zoomed is not None
    assert zoomed["width"] == pytest.approx(4 * fitted["width"])
