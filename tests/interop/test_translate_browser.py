"""Frame numbers of a page that sets ``currentTime``, compared with the pictures of Chromium."""

import base64
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page

from interop.comparing import extracted, outcomes
from interop.counted_clips import clip

_READ_NUMBERS: Final = """
async ([data, type, count, fps]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(new Blob([bytes], { type }));
  document.body.replaceChildren(video);
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error(video.error.message));
  });
  const { videoWidth: width, videoHeight: height } = video;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const shown = {};
  for (let n = 0; n < count; n++) {
    if (n / fps >= video.duration) break;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(reject, 60000, new Error(`${n} is not presented`));
      video.requestVideoFrameCallback(() => { clearTimeout(timer); resolve(); });
      video.currentTime = n / fps;
    });
    context.drawImage(video, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, width, height);
    let number = 0;
    for (let bit = 0; bit < 16; bit++) {
      const at = bit * 6 + 3;
      const x = width > height ? at : width >> 1;
      const y = width > height ? height >> 1 : height - 1 - at;
      if (pixels[4 * (y * width + x)] > 127) number |= 1 << bit;
    }
    shown[n] = number;
  }
  return shown;
}
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as page:
        yield page


def read_by_browser(page: Page, name: str, fps: float, count: int) -> dict[int, int | None]:
    data = base64.b64encode(clip(name).read_bytes()).decode()
    kind = "video/mp4" if name.endswith("mp4") else "video/webm"
    shown = page.evaluate(_READ_NUMBERS, [data, kind, count, fps])
    return {int(number): picture for number, picture in shown.items()}


@pytest.mark.parametrize(
    ("name", "fps"),
    [
        ("b-frames.mp4", "25"),
        ("b-frames.mp4", "10"),
        ("plain.mp4", "25"),
        ("thirty.mp4", "30"),
        ("ntsc.mp4", "30000/1001"),
        ("ntsc.mp4", "25"),
        ("edit-list.mp4", "25"),
        ("turned.mp4", "25"),
        ("b-frames.mkv", "30000/1001"),
        ("vp9.webm", "50"),
    ],
)
def test_page_number_is_translated_to_the_frame_that_chromium_shows(
    page: Page, name: str, fps: str
) -> None:
    top, _, below = fps.partition("/")
    shown = read_by_browser(page, name, float(top) / float(below or 1), 45)
    timeline = extracted(name)
    within = {
        number: picture
        for number, picture in shown.items()
        if number * float(below or 1) / float(top) < timeline.info().duration_seconds
    }
    counts = outcomes(timeline, within, of="browser", fps=fps)
    assert counts["right"] + counts["AmbiguousFrame"] == len(within)
    # There frames begin at fractions of a microsecond, and so do many of the times.
    is_inexact = name in ("thirty.mp4", "ntsc.mp4")
    assert counts["right"] >= (1 if is_inexact else len(within))


@pytest.mark.parametrize(
    "name",
    [
        *("negative.mkv", "b-frames.ts", "middle.ts", "b-frames.avi", "vfr.mp4", "vfr.mkv"),
        *("no-edit-list.mp4", "fragments.mp4", "sound-first.mp4", "open-groups.mp4", "late.mp4"),
    ],
)
def test_page_number_is_ambiguous_where_browsers_differ(name: str) -> None:
    counts = outcomes(extracted(name), dict.fromkeys(range(20)), of="browser", fps="25")
    assert counts == {"AmbiguousFrame": 20}


@pytest.mark.parametrize("sampling", ["fps", "every", "keyframes"])
def test_page_number_of_an_unsampled_frame_is_never_translated_wrongly(
    page: Page, sampling: str
) -> None:
    shown = read_by_browser(page, "b-frames.mp4", 25, 45)
    counts = outcomes(extracted("b-frames.mp4", sampling=sampling), shown, of="browser", fps="25")
    assert 1 <= counts["right"] < len(shown)
    assert counts["AmbiguousFrame"] == 0
