"""The list of timelines, and videos that are dropped on it."""

import base64
import json
from pathlib import Path

import clips
from playwright.sync_api import Browser, expect

from viewer.browsing import BIKES, Page, answers, opened, serving


def test_each_timeline_is_listed_with_its_summary(page: Page) -> None:
    page.open("")
    row = page.tab.get_by_role("link", name="bikes-5fps")
    for text in ("complete", "50", "10.00 s", "640 × 272"):
        expect(row).to_contain_text(text)
    expect(row.locator("img.poster")).to_be_visible()


def test_search_by_part_of_an_id_finds_the_timeline(page: Page) -> None:
    page.open("")
    page.tab.get_by_role("searchbox").fill("5fp")
    expect(page.tab.locator(".timeline-row")).to_have_count(1)
    page.address_has("q=5fp")


def test_search_without_a_match_is_reported(page: Page) -> None:
    page.open("?q=nothing")
    expect(page.tab.get_by_text("No timeline has “nothing” in its id")).to_be_visible()


def test_selected_video_is_extracted_and_listed(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "cache") as url, opened(browser, url) as page:
        page.open("")
        page.tab.locator("input[type=file]").set_input_files(BIKES)
        dialog = page.tab.get_by_role("dialog", name="Extract a video")
        expect(dialog.get_by_label("Timeline")).to_have_value("bikes")
        dialog.get_by_label("Frames").select_option("fps")
        dialog.get_by_role("button", name="Extract").click()
        expect(page.tab.get_by_role("link", name="bikes")).to_contain_text("50")


def test_dropped_video_is_extracted(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "cache") as url, opened(browser, url) as page:
        page.open("")
        expect(page.tab.get_by_text("Drop a video here")).to_be_visible()
        dragged = page.tab.evaluate_handle(
            """bytes => {
              const dragged = new DataTransfer();
              const video = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
              dragged.items.add(new File([video], "dropped.mp4", { type: "video/mp4" }));
              return dragged;
            }""",
            base64.b64encode(clips.clip().read_bytes()).decode(),
        )
        for event in ("dragover", "drop"):
            page.tab.locator(".list-page").dispatch_event(event, {"dataTransfer": dragged})
        page.tab.get_by_role("dialog").get_by_role("button", name="Extract").click()
        expect(page.tab.get_by_role("link", name="dropped")).to_contain_text("45")
        assert page.errors == []


def test_several_videos_become_chunks_in_a_changeable_order(
    browser: Browser, tmp_path: Path
) -> None:
    video = clips.clip().read_bytes()
    given = [
        {"name": name, "mimeType": kind, "buffer": data}
        for name, kind, data in (
            ("cam10.mp4", "video/mp4", video),
            ("cam2.mp4", "video/mp4", video),
            ("intro.mp4", "video/mp4", video),
            ("notes.txt", "text/plain", b"no video"),
            ("empty.mp4", "video/mp4", b""),
        )
    ]
    with serving(tmp_path / "cache") as url, opened(browser, url) as page:
        page.open("")
        page.tab.locator("input[type=file]").set_input_files(given)  # type: ignore[arg-type]
        dialog = page.tab.get_by_role("dialog")
        chunks = dialog.get_by_role("list", name="Chunks").get_by_role("listitem")
        expect(chunks).to_contain_text(["cam2.mp4", "cam10.mp4", "intro.mp4"])
        refused = dialog.get_by_role("list", name="Rejected files").get_by_role("listitem")
        expect(refused).to_have_text(
            ["notes.txt It is not a video, but text/plain.", "empty.mp4 It is empty."]
        )
        for _ in range(2):
            dialog.get_by_role("button", name="Move intro.mp4 up").click()
        dialog.get_by_label("Timeline").fill("t")
        dialog.get_by_role("button", name="Extract").click()
        expect(page.tab.get_by_role("link", name="t")).to_contain_text("3 chunks")
        detail = json.loads(answers(f"{url}api/v1/timelines/t"))
        assert page.errors == []
    names = [chunk["name"] for chunk in detail["chunks"]]
    assert names == ["intro.mp4", "cam2.mp4", "cam10.mp4"]
