"""The viewer for everyone: screen readers, both themes, prefixes, tokens, errors."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from benchmarks.server import free_ports
from viewer.browsing import PHONE, Page, opened, serving

AXE = Path(__file__).parents[2] / "viewer" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = {
    "list": "",
    "timeline": "?timeline=bikes&frame=30",
    "comparison": "?timeline=bikes&frame=30&compare=swipe&a=run-7/edges&b=run-8/edges",
}

CUT_OR_COVERED = """
  () => {
    const name = (element) => (element.ariaLabel ?? element.textContent).trim().slice(0, 30);
    const seen = (element) => element.checkVisibility() && !element.matches(".unseen");
    const controls = [...document.querySelectorAll(
      "button, select, input:not(.swipe), summary, .button, .timeline-row > *"
    )].filter(seen).map((element) => [name(element), element, element.getBoundingClientRect()]);
    const wrong = [];
    for (const [index, [text, element, box]] of controls.entries()) {
      const row = element.closest(".timeline-row")?.getBoundingClientRect() ?? box;
      if (box.left < 0 || box.right > innerWidth) wrong.push(`${text} leaves the screen`);
      if (box.top < row.top || box.bottom > row.bottom) wrong.push(`${text} leaves its row`);
      if (element.tagName === "BUTTON" && element.scrollWidth > element.clientWidth + 1) {
        wrong.push(`${text} is cut off`);
      }
      for (const [other, , over] of controls.slice(index + 1)) {
        const across = Math.min(box.right, over.right) - Math.max(box.left, over.left);
        const down = Math.min(box.bottom, over.bottom) - Math.max(box.top, over.top);
        if (across > 1 && down > 1) wrong.push(`${text} and ${other} overlap`);
      }
    }
    return wrong;
  }
"""
"""Faults in the position of controls; the border of a comparison may be swiped to both edges."""


def violations(page: Page) -> list[str]:
    """Run axe through the debugger, which the page's policy does not restrict."""
    page.tab.evaluate(AXE.read_text())
    found: dict[str, Any] = page.tab.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {json.dumps([node['html'] for node in each['nodes']][:3])}"
        for each in found["violations"]
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("search", PAGES.values(), ids=PAGES)
def test_axe_finds_no_violations_on_any_page(page: Page, search: str, theme: str) -> None:
    page.tab.emulate_media(color_scheme="light" if theme == "light" else "dark")
    page.open(search)
    if search == "":
        expect(page.tab.get_by_role("link", name="bikes-5fps")).to_be_visible()
    else:
        expect(page.tab.locator(".chart canvas")).to_be_visible()
        page.press("j")
    assert page.tab.evaluate("document.documentElement.dataset.theme") == theme
    assert violations(page) == []


@pytest.mark.parametrize("key", ["?", "g"])
def test_axe_finds_no_violations_in_a_dialog(page: Page, key: str) -> None:
    page.open("?timeline=bikes")
    page.press(key)
    expect(page.tab.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []


def test_screen_reader_announces_few_frames_of_fast_steps(page: Page) -> None:
    page.open("?timeline=bikes&frame=30")
    page.tab.evaluate(
        """() => {
          window.announced = [];
          const live = document.querySelector(".unseen[aria-live]");
          new MutationObserver(() => window.announced.push(live.textContent))
            .observe(live, { childList: true, characterData: true, subtree: true });
        }"""
    )
    # In one call: on a busy machine, the page may pause between single key presses.
    page.tab.evaluate(
        """() => {
          for (let press = 0; press < 12; press += 1) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "f", bubbles: true }));
          }
        }"""
    )
    page.until("window.announced.some((text) => text.startsWith('Frame 42,'))")
    assert page.tab.evaluate("window.announced.length") <= 4


def test_viewer_works_below_a_path_prefix(browser: Browser, cache_folder: Path) -> None:
    with (
        serving(cache_folder, "--root-path", "/tools/frames") as url,
        opened(browser, f"{url}tools/frames/") as page,
    ):
        page.open("?timeline=bikes&frame=30")
        page.shows(30)
        assert all("/tools/frames/" in request.url for request in page.requests)


def test_token_is_requested_once_and_kept_after_reload(
    browser: Browser, cache_folder: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-some-length-for-this-test\n")
    tokens.chmod(0o600)
    with serving(cache_folder, "--token-file", str(tokens)) as url, opened(browser, url) as page:
        page.tab.goto("./?timeline=bikes&frame=30")
        page.tab.get_by_label("This service requires a token").fill(tokens.read_text().strip())
        page.press("Enter")
        page.shows(30)
        page.tab.reload()
        page.shows(30)


def test_token_in_url_is_used_and_removed_from_it(
    browser: Browser, cache_folder: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-some-length-for-this-test\n")
    tokens.chmod(0o600)
    with serving(cache_folder, "--token-file", str(tokens)) as url, opened(browser, url) as page:
        page.tab.goto(f"./?timeline=bikes&frame=30#token={tokens.read_text().strip()}")
        page.shows(30)
        assert "#" not in page.tab.url


def test_lost_service_is_reported_and_reconnected(browser: Browser, cache_folder: Path) -> None:
    port = free_ports(1)[0]
    with serving(cache_folder, port=port) as url:
        context = opened(browser, url)
        page = context.__enter__()
        page.open("?timeline=bikes&frame=30")
    page.press("End")
    expect(page.tab.get_by_role("alert")).to_contain_text("cannot be reached")
    with serving(cache_folder, port=port):
        page.shows(249)
        expect(page.tab.get_by_text("cannot be reached")).to_have_count(0)
        context.__exit__(None, None, None)


def test_empty_store_shows_the_extract_command(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "empty") as url, opened(browser, url) as page:
        page.open("")
        expect(page.tab.get_by_text("framecache extract")).to_be_visible()


def test_unknown_timeline_is_reported_with_a_link_to_the_list(
    browser: Browser, service: str
) -> None:
    with opened(browser, service) as page:
        page.tab.goto("./?timeline=nothing")
        expect(page.tab.get_by_text("There is no timeline “nothing”")).to_be_visible()
        page.tab.get_by_role("link", name="Show all timelines").click()
        expect(page.tab.get_by_role("link", name="bikes-5fps")).to_be_visible()


def test_content_security_policy_blocks_nothing(page: Page) -> None:
    refused: list[str] = []
    page.tab.on(
        "console", lambda said: refused.append(said.text) if "Policy" in said.text else None
    )
    page.open("?timeline=bikes&frame=30&compare=difference&a=run-7/edges&b=run-8/edges")
    expect(page.tab.locator(".chart canvas")).to_be_visible()
    assert refused == []


def test_no_request_is_sent_to_another_host(page: Page, service: str) -> None:
    page.open("?timeline=bikes&frame=30")
    expect(page.tab.locator(".chart canvas")).to_be_visible()
    assert [each.url for each in page.requests if not each.url.startswith((service, "data:"))] == []


@pytest.mark.parametrize("search", PAGES.values(), ids=PAGES)
def test_phone_layout_cuts_off_and_covers_nothing(phone: Page, search: str) -> None:
    phone.open(search)
    if search == "":
        expect(phone.tab.get_by_role("link", name="bikes-5fps")).to_be_visible()
    else:
        expect(phone.tab.locator(".chart canvas")).to_be_visible()
        expect(phone.tab.locator(".layer")).not_to_have_count(0)
    assert phone.tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert phone.tab.evaluate(CUT_OR_COVERED) == []


def test_phone_header_takes_at_most_two_lines(phone: Page) -> None:
    phone.open("?timeline=bikes&frame=30")
    bar = phone.tab.get_by_role("banner").bounding_box()
    line = phone.tab.get_by_role("button", name="Copy link").bounding_box()
    assert bar is not None
    assert line is not None
    assert bar["height"] < 3 * line["height"]
