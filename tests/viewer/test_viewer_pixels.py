"""Zoom in real pixels, the pixel under the pointer, and the values of each layer."""

from pathlib import Path

import clips
import numpy as np
import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from framecache import FrameCache
from viewer.browsing import PHONE, Page, opened, serving

WIDTH = 640
"""Width of the frames, in pixels; tests have screens of one pixel a point."""
LYING: ViewportSize = {"width": 844, "height": 390}
LEAST_PART = 0.45
"""Part of a phone's height that the frame has."""


def test_z_shows_the_frame_at_100_percent(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    page.press("z")
    expect(page.tab.locator(".zoom")).to_have_text("100 %")
    box = page.picture.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(WIDTH, abs=0.5)
    page.press("z")
    expect(page.tab.get_by_role("button", name="Fit")).to_have_attribute("aria-pressed", "true")


def test_zoom_is_shown_relative_to_screen_pixels(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    box = page.picture.bounding_box()
    assert box is not None
    expect(page.tab.locator(".zoom")).to_have_text(f"{100 * box['width'] / WIDTH:.0f} %")


def test_pixel_under_the_pointer_is_shown_with_its_color(page: Page) -> None:
    page.open("?timeline=bikes&frame=30&show=run-7/boxes/cars")
    expect(page.picture).to_have_attribute("data-overlays", "1")
    box = page.picture.bounding_box()
    assert box is not None
    scale = box["width"] / WIDTH
    page.tab.mouse.move(box["x"] + 200.5 * scale, box["y"] + 60.5 * scale)
    expect(page.tab.locator(".pointed")).to_have_text("x 200 y 60RGB 255 80 80")


def test_pixel_under_the_pointer_has_the_color_of_the_difference(page: Page) -> None:
    page.open("?timeline=bikes&frame=30&compare=difference&a=run-7/boxes&b=run-7/boxes")
    for picture in (page.picture, page.other):
        expect(picture).to_have_attribute("data-overlays", "2")
    box = page.picture.bounding_box()
    assert box is not None
    page.tab.mouse.move(box["x"] + 200.5 * box["width"] / WIDTH, box["y"] + 60)
    expect(page.tab.locator(".pointed")).to_contain_text("RGB 0 0 0")


@pytest.mark.parametrize(
    ("name", "color"), [("cars", "rgb(255, 80, 80)"), ("canny", "rgb(255, 255, 255)")]
)
def test_swatch_has_the_drawn_color(page: Page, name: str, color: str) -> None:
    page.open("?timeline=bikes&frame=30")
    layer = page.tab.locator(".layer").filter(has_text=name)
    expect(layer.locator(".swatch")).to_have_css("background-color", color)


def test_overlay_of_other_size_than_its_frame_shows_its_size(
    browser: Browser, tmp_path: Path
) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.clip())
    drawn = timeline.overlays(job_id="run-7", stage="edges")
    half = np.full((clips.HEIGHT // 2, clips.WIDTH // 2), 255, np.uint8)
    drawn.save(0, {"half": half, "whole": np.zeros((clips.HEIGHT, clips.WIDTH), np.uint8)})
    with serving(tmp_path) as url, opened(browser, url) as page:
        page.open("?timeline=t")
        badges = page.tab.locator(".layer .badge")
        expect(badges).to_have_text([f"{clips.WIDTH // 2} × {clips.HEIGHT // 2}"])
        assert page.errors == []


def test_w_toggles_the_frame_only_view(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    page.press("w")
    expect(page.tab.get_by_role("banner")).to_be_hidden()
    page.press("f")
    page.shows(31)
    page.press("w")
    expect(page.tab.get_by_role("banner")).to_be_visible()


@pytest.mark.parametrize("viewport", [PHONE, LYING], ids=["upright", "lying"])
def test_phone_layout_shows_frame_and_stage_names(
    browser: Browser, service: str, viewport: ViewportSize
) -> None:
    with opened(browser, service, viewport=viewport, has_touch=True) as page:
        page.open("?timeline=bikes&frame=30")
        stage = page.tab.get_by_role("region", name="Frame").bounding_box()
        assert stage is not None
        assert stage["height"] >= LEAST_PART * viewport["height"]
        label = page.tab.locator(".row-label").first
        expect(label).to_be_visible()
        expect(label).to_have_text("run-7/boxes")
        expect(label).to_be_in_viewport()
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
