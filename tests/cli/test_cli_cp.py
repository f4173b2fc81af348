import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import clip, other_clip, run

from framecache import Frame, FrameCache
from framecache._maintain.copying import copy_timeline
from framecache.model import Layout
from framecache.testing import HookedStore
from outside import png_by_pillow

PNG = png_by_pillow(1)
FOLDER = Path("cache/timelines/walk")


def filled(url: str, layout: Layout = "objects") -> FrameCache:
    cache = FrameCache(url)
    walk = cache.timeline("walk")
    walk.extract([clip(), other_clip()], layout=layout)
    walk.overlays(job_id="run-7", stage="edges").save(3, {"canny": PNG})
    return cache


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def compaction(cache: Path) -> object:
    """Return the entry for the compacted index in the newest manifest of a cache."""
    newest = max((cache / FOLDER / "timeline").glob("*.json"))
    return json.loads(newest.read_bytes())["compaction"]


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_copy_has_the_same_bytes_and_verifies(
    layout: Layout, local_url: str, tmp_path: Path
) -> None:
    filled(local_url, layout)
    target = tmp_path / "target"
    document = run("cp", "walk", target, "--json", "--cache", local_url).succeeded().document
    assert (document["frames_copied"], document["overlays_copied"]) == (75, 1)
    own, copied = files(Path(local_url) / FOLDER), files(target / FOLDER)
    rooms = ("frames/", "packs/", "index/", "overlays/")
    assert {name: data for name, data in own.items() if name.startswith(rooms)} == {
        name: data for name, data in copied.items() if name.startswith(rooms)
    }
    run("verify", "walk", "--deep", "--cache", target).succeeded()
    assert FrameCache(target).timeline("walk").complete


def test_copy_can_be_extracted_appended_to_and_rebuilt(local_url: str, tmp_path: Path) -> None:
    filled(local_url)
    run("cp", "walk", tmp_path / "target", "--cache", local_url).succeeded()
    copy = FrameCache(tmp_path / "target").timeline("walk")
    assert copy.extract([clip(), other_clip()]).chunks_cached == 2
    copy.append(clip(rate="30"))
    assert len(copy) == 125
    copy.rebuild()
    assert copy.verify().ok


def test_interrupted_copy_resumes(local_url: str, tmp_path: Path) -> None:
    source = filled(local_url).store
    target = FrameCache(tmp_path / "target")

    def fail(action: str, key: str) -> None:
        if (action, key) == ("get", "cache/timelines/walk/frames/60.jpg"):
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        copy_timeline(HookedStore(source, before=fail), target.store, "walk")
    half = target.timeline("walk")
    assert (len(half), half.complete) == (50, False)
    report = copy_timeline(source, target.store, "walk")
    assert (report.frames_there, report.frames_copied) == (50, 25)
    assert half.complete
    assert half.verify().ok


def test_frames_of_copy_are_visible_once_their_part_is_committed(
    local_url: str, tmp_path: Path
) -> None:
    source = filled(local_url).store
    target = FrameCache(tmp_path / "target")
    lengths: set[int] = set()
    copy_timeline(
        source,
        target.store,
        "walk",
        progress=lambda _: lengths.add(len(target.timeline("walk"))),
    )
    assert lengths == {0, 50}


def test_copy_does_not_replace_a_different_timeline(local_url: str, tmp_path: Path) -> None:
    filled(local_url)
    target = tmp_path / "target"
    other = FrameCache(target).timeline("walk")
    other.extract([other_clip()])
    before = files(target)
    line = run("cp", "walk", target, "--cache", local_url).failed(4)
    assert "is a different timeline" in line
    assert files(target) == before
    other.delete()
    FrameCache(target).store.put("cache/timelines/walk/frames/0.jpg", b"")
    assert "another program" in run("cp", "walk", target, "--cache", local_url).failed(4)


def test_damaged_frame_stops_the_copy(local_url: str, tmp_path: Path) -> None:
    filled(local_url)
    (Path(local_url) / FOLDER / "frames" / "60.jpg").write_bytes(b"other")
    target = tmp_path / "target"
    assert "Frame 60" in run("cp", "walk", target, "--cache", local_url).failed(8)
    assert len(FrameCache(target).timeline("walk")) == 50


def test_written_and_replaced_frames_are_copied(local_url: str, tmp_path: Path) -> None:
    own = FrameCache(local_url).timeline("own")
    for level in (10, 200):
        image = np.full((24, 32, 3), level, np.uint8)
        own.write([Frame(n, 0, n / 10, image) for n in range(3)], on_conflict="replace")
    run("cp", "own", tmp_path / "target", "--cache", local_url).succeeded()
    copy = FrameCache(tmp_path / "target").timeline("own")
    assert [copy.jpeg(n) for n in range(3)] == [own.jpeg(n) for n in range(3)]
    assert copy.verify().ok


def test_stale_overlays_are_skipped_with_a_note(local_url: str, tmp_path: Path) -> None:
    walk = filled(local_url).timeline("walk")
    walk.overlays(job_id="run-7", stage="edges").save(4, {"canny": PNG})
    old = Path(local_url) / FOLDER / "overlays" / "run-7" / "edges" / "4_canny.png"
    os.utime(old, (1_000_000_000, 1_000_000_000))
    outcome = run("cp", "walk", tmp_path / "target", "--cache", local_url)
    assert outcome.code == 0
    assert outcome.errors == "framecache: Note: 1 overlay not copied: older than the frames.\n"
    copy = FrameCache(tmp_path / "target").timeline("walk")
    assert copy.overlays(job_id="run-7", stage="edges").frames() == [3]


def test_timeline_is_copied_from_a_bucket(s3_url: str, tmp_path: Path) -> None:
    cache = filled(s3_url)
    run("cp", "walk", tmp_path / "target", "--cache", s3_url).succeeded()
    copied = FrameCache(tmp_path / "target").timeline("walk")
    assert copied.jpeg(60) == cache.timeline("walk").jpeg(60)


def test_existing_overlay_is_not_replaced(local_url: str, tmp_path: Path) -> None:
    walk = filled(local_url).timeline("walk")
    run("cp", "walk", tmp_path / "target", "--cache", local_url).succeeded()
    name = Path("overlays/run-7/edges/3_canny.png")
    drawn_there = png_by_pillow(2)
    (tmp_path / "target" / FOLDER / name).write_bytes(drawn_there)
    walk.overlays(job_id="run-7", stage="edges").save(5, {"canny": PNG})
    words = ("cp", "walk", tmp_path / "target", "--json", "--cache", local_url)
    document = run(*words).succeeded().document
    assert (document["overlays_copied"], document["overlays_there"]) == (1, 1)
    assert (tmp_path / "target" / FOLDER / name).read_bytes() == drawn_there
    assert (tmp_path / "target" / FOLDER / name).with_name("5_canny.png").read_bytes() == PNG
    assert (
        "already there: 75 frames and 2 overlays"
        in run("cp", "walk", tmp_path / "target", "--cache", local_url).succeeded().text
    )


def test_overlay_created_during_copy_is_not_replaced(local_url: str, tmp_path: Path) -> None:
    source = filled(local_url).store
    target = FrameCache(tmp_path / "target").store
    key = "cache/timelines/walk/overlays/run-7/edges/3_canny.png"
    drawn_there = png_by_pillow(2)

    def draw(action: str, which: str) -> None:
        if (action, which) == ("get", key):
            target.put(key, drawn_there)

    assert copy_timeline(HookedStore(source, before=draw), target, "walk").overlays_copied == 0
    assert target.get(key) == drawn_there


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_second_copy_adds_appended_chunks(layout: Layout, local_url: str, tmp_path: Path) -> None:
    own = filled(local_url, layout).timeline("walk")
    words = ("cp", "walk", tmp_path / "target", "--json", "--cache", local_url)
    run(*words).succeeded()
    own.append(clip(rate="30"))
    document = run(*words).succeeded().document
    assert (document["frames_copied"], document["frames_there"]) == (50, 75)
    copy = FrameCache(tmp_path / "target").timeline("walk")
    assert copy.complete
    assert list(copy.jpegs(range(125))) == list(own.jpegs(range(125)))
    assert copy.verify(deep=True).ok
    again = run(*words).succeeded().document
    assert (again["frames_copied"], again["frames_there"]) == (0, 125)
    assert compaction(tmp_path / "target") == compaction(Path(local_url)) is not None


def test_diverged_copy_is_refused_with_the_command_that_deletes_it(
    local_url: str, tmp_path: Path
) -> None:
    own = filled(local_url).timeline("walk")
    target = tmp_path / "target"
    run("cp", "walk", target, "--cache", local_url).succeeded()
    FrameCache(target).timeline("walk").append(clip(rate="30"))
    line = run("cp", "walk", target, "--cache", local_url).failed(4)
    assert "was changed independently" in line
    remove = line.rpartition(": framecache ")[2].split()
    assert remove == ["rm", "walk", "--cache", str(target)]
    run(*remove, "--yes").succeeded()
    run("cp", "walk", target, "--cache", local_url).succeeded()
    assert len(FrameCache(target).timeline("walk")) == len(own)


def test_cp_of_unindexed_frames_is_refused(local_url: str, tmp_path: Path) -> None:
    FrameCache(local_url).store.put("cache/timelines/own/frames/0.jpg", b"jpeg")
    assert "frames only" in run("ls", "--cache", local_url).text
    line = run("cp", "own", tmp_path / "target", "--cache", local_url).failed(3)
    assert "only frames" in line
    assert f"{local_url}/cache/timelines/own/" in line
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("words", [("nothing", "TARGET"), ("walk", "SOURCE"), ("walk", "s3:/a")])
def test_invalid_cp_arguments_are_refused_without_a_target_folder(
    words: tuple[str, str], local_url: str, tmp_path: Path
) -> None:
    filled(local_url)
    places = {"TARGET": str(tmp_path / "target"), "SOURCE": local_url}
    name, url = words
    outcome = run("cp", name, places.get(url, url), "--cache", local_url)
    outcome.failed(3 if name == "nothing" else 2)
    assert not (tmp_path / "target").exists()
