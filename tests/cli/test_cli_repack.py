import json
from pathlib import Path

import pytest
from command_line import clip, other_clip, run

from framecache import FrameCache, Timeline
from framecache.model import Layout

PREFIX = "cache/timelines/walk"


@pytest.fixture
def walk(local_url: str) -> Timeline:
    """75 frames in layout objects, of two chunks."""
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract([clip(), other_clip()])
    return timeline


def layout_of(url: str) -> Layout | None:
    settings = FrameCache(url).timeline("walk").info().settings
    return settings.layout if settings else None


def test_extract_with_layout_packs_stores_packs(local_url: str) -> None:
    words = ("extract", "walk", clip(), "--layout", "packs", "--cache", local_url)
    assert "50 frames extracted" in run(*words).succeeded().text
    assert "nothing to do" in run(*words).succeeded().text
    assert "layout packs" in run("info", "walk", "--cache", local_url).succeeded().text
    assert len([*Path(local_url, PREFIX, "packs").rglob("*.tar")]) == 1
    assert not Path(local_url, PREFIX, "frames").exists()


def test_export_and_get_read_frames_from_packs(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    expected = [*walk.jpegs(range(75))]
    walk.repack("packs")
    run("get", "walk", "60", "--output", tmp_path / "60.jpg", "--cache", local_url).succeeded()
    assert (tmp_path / "60.jpg").read_bytes() == expected[60]
    run("export", "walk", tmp_path / "out", "--cache", local_url).succeeded()
    exported = [path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.jpg"))]
    assert sorted(exported) == sorted(expected)


@pytest.mark.usefixtures("walk")
def test_repack_prints_numbers_of_moved_frames_and_removed_blobs(local_url: str) -> None:
    words = ("repack", "walk", "--cache", local_url, "--layout")
    text = run(*words, "packs").succeeded().text
    assert text.startswith("walk: 75 frames (")
    assert "moved to layout packs, 75 blobs of the previous layout removed" in text
    assert layout_of(local_url) == "packs"
    assert "2 blobs of the previous layout removed" in run(*words, "objects").succeeded().text
    assert layout_of(local_url) == "objects"
    again = run(*words, "objects").succeeded().text
    assert again == "walk: all frames are already in layout objects.\n"


def test_repack_reports_as_json(walk: Timeline, local_url: str) -> None:
    words = ("repack", "walk", "--layout", "packs", "--json", "--cache", local_url)
    document = run(*words).succeeded().document
    assert document.pop("seconds") > 0
    assert document == {
        "timeline_id": "walk",
        "layout": "packs",
        "frames_moved": 75,
        "parts_moved": 2,
        "bytes_moved": walk.info().size_bytes,
        "blobs_removed": 75,
        "url": f"file://{local_url}",
    }


def test_repack_of_cleared_timeline_changes_its_layout(walk: Timeline, local_url: str) -> None:
    walk.clear()
    text = run("repack", "walk", "--layout", "packs", "--cache", local_url).succeeded().text
    assert text == "walk: all frames are already in layout packs.\n"
    assert layout_of(local_url) == "packs"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("walk",), "--layout"),
        (("walk", "--layout", "tar"), "'tar'"),
        (("walk", "--layout", "PACKS"), "'PACKS'"),
        (("--layout", "packs"), "TIMELINE"),
        (("../walk", "--layout", "packs"), "../walk"),
        (("walk", "--layout", "packs", "--workers", "0"), "Workers"),
    ],
    ids=str,
)
def test_invalid_repack_arguments_are_refused(
    walk: Timeline, local_url: str, words: tuple[str, ...], said: str
) -> None:
    assert said in run("repack", *words, "--cache", local_url).failed(2)
    assert walk.info().version == FrameCache(local_url).timeline("walk").info().version
    assert layout_of(local_url) == "objects"


def test_repack_of_unknown_timeline_is_not_cached(local_url: str) -> None:
    words = ("repack", "nothing", "--layout", "packs", "--cache", local_url)
    assert "Timeline nothing" in run(*words).failed(3)


@pytest.mark.usefixtures("walk")
def test_damaged_frame_stops_repack_and_repair_command_is_named(local_url: str) -> None:
    Path(local_url, PREFIX, "frames", "60.jpg").write_bytes(b"")
    line = run("repack", "walk", "--layout", "packs", "--cache", local_url).failed(8)
    assert line.startswith("Frame 60 (")
    assert "framecache verify walk --repair" in line
    assert layout_of(local_url) == "objects"
    assert not Path(local_url, PREFIX, "packs").exists()


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize("command", [("extract", clip()), ("extract", clip(), "--fps", "25")])
def test_extract_with_other_layout_is_a_conflict(local_url: str, command: tuple[str, ...]) -> None:
    action, *rest = command
    words = (action, "walk", *rest, "--layout", "packs", "--cache", local_url)
    assert "layout" in run(*words).failed(4)
    assert layout_of(local_url) == "objects"


def test_append_uses_the_layout_of_the_timeline(local_url: str) -> None:
    words = ("extract", "walk", other_clip(), "--append", "--cache", local_url)
    line = run(*words, "--layout", "packs").failed(2)
    assert "omit --layout" in line
    run("extract", "walk", clip(), "--layout", "packs", "--cache", local_url).succeeded()
    run(*words).succeeded()
    assert len([*Path(local_url, PREFIX, "packs").rglob("*.tar")]) == 2


@pytest.mark.usefixtures("walk")
def test_rebuild_into_other_layout_removes_the_previous_frames(local_url: str) -> None:
    words = ("rebuild", "walk", "--layout", "packs", "--cache", local_url)
    assert "layout packs" in run(*words).failed(2)
    run(*words, "--yes").succeeded()
    assert layout_of(local_url) == "packs"
    assert not Path(local_url, PREFIX, "frames").exists()


@pytest.mark.parametrize("is_written", [False, True])
def test_clear_and_rm_count_packs(local_url: str, *, is_written: bool) -> None:
    timeline = FrameCache(local_url).timeline("walk")
    if is_written:
        read = FrameCache(local_url).timeline("other")
        read.extract(clip())
        timeline.write(read.frames(0, 10))
        timeline.write(read.frames(10, 20))
    else:
        timeline.extract([clip(), other_clip()])
    timeline.repack("packs")
    assert "2 packs" in run("rm", "walk", "--cache", local_url).failed(2)
    text = run("clear", "walk", "--yes", "--cache", local_url).succeeded().text
    assert "removed 2 packs and " in text
    assert not Path(local_url, PREFIX, "packs").exists()


@pytest.mark.usefixtures("walk")
def test_clear_of_packs_reports_as_json(local_url: str) -> None:
    run("repack", "walk", "--layout", "packs", "--cache", local_url).succeeded()
    document = run("clear", "walk", "--yes", "--json", "--cache", local_url).succeeded().document
    assert json.dumps(document)
    assert document["bytes_removed"] > 0
    assert document["blobs_removed"] >= 2
