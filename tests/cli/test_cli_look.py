from pathlib import Path

import pytest
from command_line import clip, other_clip, run

from framecache import FrameCache

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def cache(local_url: str) -> FrameCache:
    """``walk``: two chunks, 75 frames, and overlays of one job."""
    cache = FrameCache(local_url)
    walk = cache.timeline("walk")
    walk.extract([clip(), other_clip()])
    walk.overlays(job_id="run-7", stage="edges").save(3, {"canny": PNG})
    return cache


def test_ls_lists_every_timeline_with_its_state(cache: FrameCache, tmp_path: Path) -> None:
    cache.timeline("gone").extract(other_clip())
    cache.timeline("gone").clear()
    foreign = tmp_path / "store" / "cache" / "timelines" / "foreign" / "frames"
    foreign.mkdir(parents=True)
    (foreign / "0.jpg").write_bytes(cache.timeline("walk").jpeg(0))
    cache.timeline("drawn").overlays(job_id="run-7", stage="edges").save(3, {"canny": PNG})
    interrupted(cache, "half")

    lines = run("ls", "--cache", cache.url).succeeded().text.splitlines()

    cells = {line.split()[0]: line.split()[1:] for line in lines}
    assert cells.pop("timeline") == ["frames", "duration", "size", "state"]
    assert list(cells) == ["drawn", "foreign", "gone", "half", "walk"]
    assert cells["walk"][:2] == ["75", "0:03.000"]
    states = {name: " ".join(row[4:]) for name, row in cells.items()}
    assert states == {
        "drawn": "no frames",
        "foreign": "frames only",
        "gone": "cleared",
        "half": "filling, 1 of 2 chunks",
        "walk": "complete",
    }


def test_ls_writes_json(cache: FrameCache) -> None:
    document = run("--cache", cache.url, "ls", "--json").succeeded().document
    assert document["url"] == cache.url
    assert document["failures"] == []
    (walk,) = document["timelines"]
    assert (walk["timeline_id"], walk["state"], walk["frame_count"]) == ("walk", "complete", 75)
    assert walk["settings"] == {
        "sampling": {"kind": "every_frame"},
        "quality": 85,
        "layout": "objects",
    }


def test_ls_of_an_empty_cache_says_how_to_begin(local_url: str) -> None:
    outcome = run("ls", "--cache", local_url)
    assert (outcome.code, outcome.output) == (0, b"")
    assert f"framecache extract my-video video.mp4 --cache {local_url}" in outcome.errors


def test_ls_shows_the_others_when_one_is_damaged_and_passes_over_what_is_none(
    cache: FrameCache, tmp_path: Path
) -> None:
    folder = tmp_path / "store" / "cache" / "timelines"
    (folder / "torn" / "timeline").mkdir(parents=True)
    (folder / "torn" / "timeline" / "00000001.json").write_bytes(b"{")
    (folder / "-odd" / "frames").mkdir(parents=True)
    (folder / "-odd" / "frames" / "0.jpg").write_bytes(b"")

    outcome = run("ls", "--cache", cache.url)

    assert "walk" in outcome.text
    assert outcome.code == 8
    assert "-odd" not in outcome.text + outcome.errors
    assert "torn/timeline/00000001.json is damaged" in outcome.errors


def test_info_shows_chunks_and_jobs(cache: FrameCache) -> None:
    text = run("info", "walk", "--cache", cache.url).succeeded().text
    assert text.startswith("walk: complete\n")
    rows = [line.split() for line in text.splitlines()]
    assert ["frames", "75,", "160×120"] in rows
    assert ["duration", "0:03.000"] in rows
    chunk = next(row for row in rows if row and row[0] == "1")
    assert chunk[:7] == ["1", "0:02.000", "0:03.000", "25", "50", "h264", "cached"]
    assert chunk[7].endswith("cli-other.mp4")
    assert ["run-7", "edges", "1"] in rows


def test_info_writes_json(cache: FrameCache) -> None:
    document = run("info", "walk", "--json", "--cache", cache.url).succeeded().document
    assert document["jobs"] == {"run-7": {"edges": 1}}
    assert [chunk["start_seconds"] for chunk in document["chunks"]] == [0.0, 2.0]
    assert [chunk["cached"] for chunk in document["chunks"]] == [True, True]
    assert document["chunks"][1]["first_sequence"] == 50


def test_info_tells_which_chunks_are_missing(cache: FrameCache) -> None:
    interrupted(cache, "half")
    document = run("info", "half", "--json", "--cache", cache.url).succeeded().document
    assert document["state"] == "filling"
    assert [chunk["cached"] for chunk in document["chunks"]] == [True, False]
    assert (document["frame_count"], document["frames_described"]) == (50, 75)


def test_info_of_no_timeline_is_not_cached(local_url: str) -> None:
    line = run("info", "nothing", "--cache", local_url).failed(3)
    assert "there is no timeline nothing" in line


def interrupted(cache: FrameCache, timeline_id: str) -> None:
    """A timeline whose second chunk was not committed."""
    cache.timeline(timeline_id).extract([clip(), other_clip()])
    index = cache.store.list(f"cache/timelines/{timeline_id}/index")
    cache.store.delete([blob.key for blob in index if not blob.key.endswith("/000000-0.parquet")])
