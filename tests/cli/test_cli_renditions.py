"""``framecache renditions``, and renditions in ``extract``, ``rebuild`` and ``get``."""

import io
from pathlib import Path

import pytest
from command_line import clip, run
from PIL import Image

from framecache import FrameCache, Timeline


@pytest.fixture
def walk(local_url: str) -> Timeline:
    """50 frames of 160x120."""
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract(clip())
    return timeline


@pytest.mark.usefixtures("walk")
def test_renditions_are_added_and_counted(local_url: str) -> None:
    cache = ("--cache", local_url)
    text = run("renditions", "walk", "40", "80", *cache).succeeded().text
    assert text.startswith("walk: 100 renditions (")
    assert ") of 50 frames stored; the timeline has renditions 80 and 40, " in text
    again = run("renditions", "walk", "80", *cache).succeeded().text
    assert (
        "; 50 frames and 100 renditions checked, " in run("verify", "walk", *cache).succeeded().text
    )
    assert again == "walk: all frames that are larger already have renditions 80 and 40.\n"
    document = run("renditions", "walk", "20", "--json", *cache).succeeded().document
    assert document.pop("seconds") > 0
    assert document.pop("bytes_stored") > 0
    assert document == {
        "timeline_id": "walk",
        "renditions": [80, 40, 20],
        "frames_changed": 50,
        "renditions_stored": 50,
        "url": f"file://{local_url}",
    }
    assert "renditions 80, 40 and 20" in run("info", "walk", *cache).succeeded().text


def test_extraction_with_renditions_is_shown_continued_and_changed(local_url: str) -> None:
    cache = ("--cache", local_url)
    words = ("extract", "walk", clip(), "--renditions", "80,40", *cache)
    plan = run(*words, "--dry-run", "--json").succeeded().document
    assert plan["settings"]["renditions"] == [80, 40]
    run(*words).succeeded()
    (listed,) = run("ls", "--json", *cache).succeeded().document["timelines"]
    assert listed["settings"]["renditions"] == [80, 40]
    assert "nothing to do" in run("extract", "walk", clip(), *cache).succeeded().text
    more = run("extract", "walk", clip(), "--renditions", "100,80,40", *cache).failed(4)
    assert more.rstrip().endswith(f"renditions walk 100 --cache {local_url}")
    fewer = run("extract", "walk", clip(), "--renditions", "80", *cache).failed(4)
    assert "rebuild walk --renditions 80" in fewer
    others = run("extract", "walk", clip(), "--renditions", "100", *cache).failed(4)
    assert "rebuild walk --renditions 100" in others
    run("rebuild", "walk", "--renditions", "none", "--yes", *cache).succeeded()
    (listed,) = run("ls", "--json", *cache).succeeded().document["timelines"]
    assert listed["settings"]["renditions"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("renditions", "walk"), "Missing argument 'SIZES...'"),
        (("renditions", "walk", "big"), "'big' is not a valid integer"),
        (("extract", "walk", "c.mp4", "--renditions", "80;40"), "not a list of sizes"),
        (("extract", "walk", "c.mp4", "--append", "--renditions", "80"), "omit --renditions"),
    ],
)
def test_invalid_sizes_are_refused(local_url: str, words: tuple[str, ...], said: str) -> None:
    assert said in run(*words, "--cache", local_url).failed(2)


@pytest.mark.parametrize("size", ["0", "65501"])
@pytest.mark.usefixtures("walk")
def test_sizes_out_of_range_are_refused(local_url: str, size: str) -> None:
    said = run("renditions", "walk", size, "--cache", local_url).failed(2)
    assert "Renditions must be integers from 65500 down to 1" in said


def test_get_saves_a_rendition_as_it_is_stored(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    walk.add_renditions([80])
    words = ("get", "walk", "7", "--cache", local_url, "--output", tmp_path / "7.jpg", "--force")
    run(*words, "--max-side", "80").succeeded()
    stored = next(Path(local_url, "cache/timelines/walk/renditions").rglob("80/7.jpg"))
    assert (tmp_path / "7.jpg").read_bytes() == stored.read_bytes()
    run(*words, "--max-side", "50").succeeded()
    with Image.open(io.BytesIO((tmp_path / "7.jpg").read_bytes())) as image:
        assert image.size == (50, 38)
