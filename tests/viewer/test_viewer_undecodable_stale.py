"""Viewer with frames without a picture, and with overlays of other pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

import clips
import numpy as np
import pytest
import served
from playwright.sync_api import Browser, expect

from framecache import FrameCache
from framecache.server import Limits, ServiceSettings
from viewer.browsing import Page, opened, serving

SOUND = 20
"""Frames of the damaged clip before its noise."""
FRAMES = 45
STALE, FRESH = 4, 8
"""Sequences with overlays from before and after the frames were extracted again."""


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("flawed")
    cache = FrameCache(folder)
    cache.timeline("damaged").extract(clips.ends_in_garbage())
    rebuilt = cache.timeline("rebuilt")
    rebuilt.extract(clips.clip())
    edges = rebuilt.overlays(job_id="run-7", stage="edges")
    mask = np.zeros((clips.HEIGHT, clips.WIDTH), np.uint8)
    edges.save(STALE, {"canny": mask})
    file = folder / f"cache/timelines/rebuilt/overlays/run-7/edges/{STALE}_canny.png"
    os.utime(file, (0, 0))  # the store's clock has whole seconds
    rebuilt.rebuild(every=4)
    edges.save(FRESH, {"canny": mask})
    with serving(folder) as url:
        yield url


@pytest.fixture
def page(browser: Browser, flawed: str) -> Iterator[Page]:
    with opened(browser, flawed) as page:
        yield page
        assert page.errors == []


def test_undecodable_frame_shows_a_message_in_its_place(page: Page) -> None:
    page.open(f"?timeline=damaged&frame={SOUND}")
    page.shows(SOUND)
    expect(page.tab.get_by_role("region", name="Frame")).to_contain_text(
        f"Frame {SOUND} has no picture"
    )


def test_stepping_enters_and_leaves_undecodable_frames(page: Page) -> None:
    page.open(f"?timeline=damaged&frame={SOUND - 1}")
    message = page.tab.get_by_text("has no picture")
    page.shows(SOUND - 1)
    for sequence in (SOUND, SOUND + 1):
        page.press("f")
        page.shows(sequence)
        expect(message).to_contain_text(f"Frame {sequence} ")
    page.press("d", "d")
    page.shows(SOUND - 1)
    expect(message).to_have_count(0)


def test_undecodable_frame_clears_the_previous_image(page: Page) -> None:
    page.open(f"?timeline=damaged&frame={SOUND - 1}")
    page.shows(SOUND - 1)
    page.press("f")
    page.shows(SOUND)
    assert page.tab.evaluate(
        """() => {
          const canvas = document.querySelector(".picture canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.every((value) => value === 0);
        }"""
    )


def test_playback_continues_over_undecodable_frames(page: Page) -> None:
    page.open(f"?timeline=damaged&frame={SOUND - 2}")
    page.shows(SOUND - 2)
    page.press(" ")
    page.shows(FRAMES - 1)


def test_scrubber_marks_undecodable_frames(page: Page) -> None:
    page.open("?timeline=damaged")
    area = page.tab.get_by_role("slider", name="Position on the timeline").bounding_box()
    mark = page.tab.get_by_title("Undecodable frames").bounding_box()
    assert area is not None
    assert mark is not None
    assert mark["x"] == pytest.approx(area["x"] + area["width"] * SOUND / FRAMES, abs=1)
    assert mark["x"] + mark["width"] == pytest.approx(area["x"] + area["width"], abs=1)


@pytest.mark.parametrize(("sequence", "flags"), [(STALE, 1), (FRESH, 0)])
def test_stale_overlay_has_a_badge(page: Page, sequence: int, flags: int) -> None:
    page.open(f"?timeline=rebuilt&frame={sequence}")
    expect(page.picture).to_have_attribute("data-overlays", "1")
    shown = page.tab.locator(".layer")
    expect(shown.get_by_text("stale", exact=True)).to_have_count(flags)


def test_stage_shows_number_of_stale_overlays(page: Page) -> None:
    page.open("?timeline=rebuilt")
    expect(page.tab.locator(".stage-name")).to_contain_text("1 stale")


def test_stale_overlays_have_another_color_on_the_scrubber(page: Page) -> None:
    page.open("?timeline=rebuilt")
    marks = page.tab.locator("canvas.marks")
    expect(marks).not_to_have_attribute("width", "300")
    page.until(
        """(canvas => canvas.getContext("2d")
          .getImageData(0, canvas.height - 1, canvas.width, 1).data.some(value => value > 0)
        )(document.querySelector("canvas.marks"))"""
    )
    colors = [
        marks.evaluate(
            """(canvas, [sequence, count]) => {
              const { width, height } = canvas;
              const x = Math.floor(((sequence + 0.5) / count) * width);
              return [...canvas.getContext("2d").getImageData(x, height - 1, 1, 1).data];
            }""",
            [sequence, len(range(0, FRAMES, 4))],
        )
        for sequence in (STALE, FRESH)
    ]
    assert colors[0] == [233, 180, 76, 255]
    assert colors[1] != colors[0]
    assert colors[1][3] == 255


def test_refresh_shows_overlays_that_became_stale(browser: Browser, tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.clip())
    mask = np.zeros((clips.HEIGHT, clips.WIDTH), np.uint8)
    timeline.overlays(job_id="run-7", stage="edges").save(STALE, {"canny": mask})
    with serving(tmp_path) as url, opened(browser, url) as page:
        page.open("?timeline=t")
        expect(page.tab.locator(".stage-name")).to_be_visible()
        expect(page.tab.get_by_text("1 stale")).to_have_count(0)
        os.utime(tmp_path / f"cache/timelines/t/overlays/run-7/edges/{STALE}_canny.png", (0, 0))
        timeline.rebuild()
        page.tab.get_by_role("button", name="Refresh").click()
        expect(page.tab.get_by_text("1 stale")).to_be_visible()


def test_refresh_shows_rebuilt_frames(browser: Browser, tmp_path: Path) -> None:
    timeline = FrameCache(tmp_path).timeline("t")
    timeline.extract(clips.clip())
    last = len(range(0, FRAMES, 4)) - 1
    settings = ServiceSettings(limits=Limits(cache_ttl_seconds=3600.0))
    cache = FrameCache(tmp_path)
    with served.serving(cache, settings) as service, opened(browser, service.url) as page:
        page.open(f"?timeline=t&frame={FRAMES - 1}")
        page.shows(FRAMES - 1)
        timeline.rebuild(every=4)
        page.tab.get_by_role("button", name="Refresh").click()
        page.shows(last)
        scrubber = page.tab.get_by_role("slider", name="Position on the timeline")
        expect(scrubber).to_have_attribute("aria-valuemax", str(last))
        page.press("Home")
        page.shows(0)
