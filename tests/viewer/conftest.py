"""The viewer in a real browser, over a real service that serves real footage."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, expect
from viewer_pictures import CHROMIUM

from framecache import Frame, FrameCache
from viewer.browsing import BIKES, GAP, LONG_FRAMES, PHONE, VIEWER, Page, opened, serving

expect.set_options(timeout=30_000)
"""Milliseconds: how soon a page shows something says nothing on a shared machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a browser or the built viewer, unless these are required."""
    missing = [
        name
        for name, there in (("chromium", CHROMIUM), ("make viewer", VIEWER.is_file()))
        if not there
    ]
    if missing and os.environ.get("CI") != "true":
        skip = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with footage and overlays, and the same footage at 5 fps."""
    folder = tmp_path_factory.mktemp("viewer") / "cache"
    cache = FrameCache(folder)
    bikes = cache.timeline("bikes")
    bikes.extract([BIKES])
    for job_id, least in (("run-7", 80), ("run-8", 80)):
        edges = bikes.overlays(job_id=job_id, stage="edges")
        for frame in bikes.frames(start=20, stop=60, color="gray"):
            differs = job_id == "run-8" and frame.sequence % 10 == 0
            edges.save(frame.sequence, {"canny": cv2.Canny(frame.image, least - 40 * differs, 160)})
    bikes.overlays(job_id="run-7", stage="boxes").save(30, {"cars": _box(), "people": _box()})
    cache.timeline("bikes-5fps").extract([BIKES], fps=5)
    return folder


@pytest.fixture(scope="session")
def long_timeline(cache_folder: Path) -> str:
    """A long timeline with a gap."""
    FrameCache(cache_folder).timeline("long").write(_numbered(), quality=40, layout="packs")
    return "long"


@pytest.fixture(scope="session")
def service(cache_folder: Path) -> Iterator[str]:
    with serving(cache_folder) as url:
        yield url


@pytest.fixture
def page(browser: Browser, service: str) -> Iterator[Page]:
    """A new page, with its requests; it may not log an error."""
    with opened(browser, service) as page:
        yield page
        assert page.errors == []


@pytest.fixture
def phone(browser: Browser, service: str) -> Iterator[Page]:
    """A new page on a small touch screen; it may not log an error."""
    with opened(browser, service, viewport=PHONE, has_touch=True) as page:
        yield page
        assert page.errors == []


def _box() -> npt.NDArray[np.uint8]:
    picture = np.zeros((272, 640, 4), np.uint8)
    cv2.rectangle(picture, (100, 60), (300, 200), (255, 80, 80, 255), 3)
    return picture


def _numbered() -> Iterator[Frame]:
    for sequence in range(LONG_FRAMES):
        if sequence not in GAP:
            image = np.full((36, 64, 3), sequence // 400 % 200, np.uint8)
            yield Frame(sequence, 0, sequence / 25, image)
