import os
import time
from pathlib import Path

import pytest
from command_line import Terminal, clip, other_clip, run

from framecache import FrameCache, Timeline

DAY = 24 * 3600


def age(url: str, seconds: float, within: str = "") -> None:
    then = time.time() - seconds
    for path in Path(url).rglob("*"):
        if path.is_file() and within in path.as_posix():
            os.utime(path, (then, then))


def everything(url: str) -> dict[str, bytes]:
    paths = [path for path in Path(url).rglob("*") if path.is_file()]
    return {path.relative_to(url).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def old(local_url: str) -> str:
    """``walk`` was used 40 days ago, ``run`` 3; of ``run`` two old versions are left."""
    cache = FrameCache(local_url)
    for name, chunks, days in (("walk", [clip()], 40), ("run", [clip(), other_clip()], 3)):
        for count in range(1, 1 + len(chunks)):
            cache.timeline(name).extract(chunks[:count])
        cache.timeline(name).frame(0)
        age(local_url, 50 * DAY, f"/{name}/")
        age(local_url, days * DAY, f"/{name}/used")
    return local_url


def walk(url: str) -> Timeline:
    return FrameCache(url).timeline("walk")


def size_of(url: str, folder: str) -> int:
    return sum(len(data) for key, data in everything(url).items() if f"/{folder}/" in key)


def test_gc_without_delete_removes_nothing(old: str) -> None:
    before = everything(old)
    text = run("gc", "--max-age", "30d", "--cache", old).succeeded().text
    assert everything(old) == before
    lines = [line.split() for line in text.splitlines()]
    assert ["old", "manifests", "2"] in [line[:3] for line in lines]
    assert ["evicted", "timelines", "51"] in [line[:3] for line in lines]
    last_used = time.strftime("%Y-%m-%d", time.localtime(time.time() - 40 * DAY))
    assert ["walk", last_used] in [line[:2] for line in lines]
    assert "53 blobs" in text
    assert text.endswith(f"To delete it: framecache gc --max-age 30d --delete --cache {old}\n")


def test_gc_command_in_last_line_removes_the_listed_blobs(old: str) -> None:
    shown = run("gc", "walk", "run", "--max-age", "4w", "--grace", "1h", "--cache", old)
    command = shown.succeeded().text.splitlines()[-1].partition(": framecache ")[2].split()
    assert command[:3] == ["gc", "walk", "run"]
    before = set(everything(old))
    text = run(*command).succeeded().text
    assert "Removed 53 blobs" in text
    removed = before - set(everything(old))
    assert len(removed) == 53
    assert "cache/timelines/run/timeline/00000001.json" in removed
    assert not walk(old).exists
    run("rebuild", "walk", "--cache", old).succeeded()
    assert len(walk(old)) == 50


def test_gc_of_clean_cache_has_nothing_to_remove(local_url: str) -> None:
    walk(local_url).extract(clip())
    for words in (["gc"], ["gc", "--grace", "0s"]):
        text = run(*words, "--cache", local_url).succeeded().text
        assert text.endswith("Nothing to remove.\n")
    text = run("gc", "--delete", "--cache", local_url).succeeded().text
    assert text == "Nothing was removed.\n"


def test_gc_of_empty_cache_has_nothing_to_remove(local_url: str) -> None:
    text = run("gc", "--cache", local_url).succeeded().text
    assert text.startswith("0 timelines in ")


def test_gc_of_more_than_half_is_refused_unless_allowed(old: str) -> None:
    before = everything(old)
    words = ["gc", "--max-bytes", "0", "--cache", old]
    shown = run(*words).succeeded().text.splitlines()
    assert any("of everything" in line for line in shown)
    assert shown[-1].endswith(f"gc --max-bytes 0 --delete --force --cache {old}")
    line = run(*words, "--delete").failed(2)
    assert line.startswith("This would remove ")
    assert "% of everything" in line
    assert line.endswith("give --force to allow it.")
    assert everything(old) == before
    run(*words, "--delete", "--force").succeeded()
    assert not any("/frames/" in key for key in everything(old))


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("{0}", 0),
        ("{0}B", 0),
        ("{0:.0f} b", 0),
        ("1GB", 1),
        ("0.5 MiB", 1),
        ("1KiB", 0),
        ("0.000001tb", 1),
    ],
)
def test_max_bytes_accepts_size_units(local_url: str, text: str, room: int) -> None:
    """The frames fit into half a MiB, but not into a kB."""
    walk(local_url).extract(other_clip())
    whole = size_of(local_url, "timelines")
    assert 2_000 < whole < 500_000
    document = run(
        "gc", "--max-bytes", text.format(whole - 1), "--json", "--cache", local_url
    ).document
    assert len(document["evicted"]) == 1 - room


@pytest.mark.parametrize(
    ("text", "count"), [("39d", 1), ("41d", 0), ("5w", 1), ("6w", 0), ("959h", 1), ("3500000s", 0)]
)
def test_max_age_accepts_time_units(old: str, text: str, count: int) -> None:
    document = run("gc", "--max-age", text, "--json", "--cache", old).succeeded().document
    assert [one["timeline_id"] for one in document["evicted"]] == ["walk"][:count]


@pytest.mark.parametrize(
    ("option", "text", "hint"),
    [
        ("--max-bytes", "500XB", "500GB"),
        ("--max-bytes", "-1", "500GB"),
        ("--max-bytes", "many", "500GB"),
        ("--max-bytes", "", "500GB"),
        ("--max-bytes", "9" * 400, "500GB"),
        ("--max-age", "30", "30d"),
        ("--max-age", "30y", "30d"),
        ("--max-age", "999999999999999d", "seconds"),
        ("--grace", "-1h", "24h"),
        ("--grace", "1 day", "24h"),
    ],
)
def test_invalid_limit_is_refused_with_an_example(
    local_url: str, option: str, text: str, hint: str
) -> None:
    line = run("gc", f"{option}={text}", "--cache", local_url).failed(2)
    assert hint in line
    assert not Path(local_url).exists()


def test_gc_json_reports_plan_and_removal(old: str) -> None:
    words = ["gc", "--max-age", "30d", "--json", "--cache", old]
    plan = run(*words).succeeded().document
    assert plan["timelines"] == 2
    assert plan["bytes"] == size_of(old, "timelines")
    assert plan["removable"]["old_manifests"]["blobs"] == 2
    assert plan["removable"]["orphans"] == {"blobs": 0, "bytes": 0, "timelines": 0}
    [evicted] = plan["evicted"]
    assert (evicted["timeline_id"], evicted["blobs"]) == ("walk", 51)
    assert evicted["bytes"] == size_of(old, "walk/frames") + size_of(old, "walk/index")
    assert plan["removed"] is None
    assert plan["failures"] == []
    done = run(*words, "--delete").succeeded().document
    assert done["removed"]["blobs"] == 53
    assert done["removed"]["evicted"]["walk"]["bytes"] == evicted["bytes"]
    assert done["removed"]["skipped"] == []
    new = len(everything(old)["cache/timelines/walk/timeline/00000003.json"])
    assert plan["bytes_after"] == size_of(old, "timelines") - new


def test_unreachable_max_bytes_names_the_kept_blobs(local_url: str) -> None:
    FrameCache(local_url).store.put("cache/timelines/theirs/frames/0.jpg", b"\0" * 1000)
    text = run("gc", "--max-bytes", "400", "--cache", local_url).succeeded().text
    assert "another program stored them" in text
    assert "600 bytes above --max-bytes" in text


def test_timeline_with_missing_video_is_kept_with_the_reason(
    local_url: str, tmp_path: Path
) -> None:
    video = tmp_path / "gone.mp4"
    video.write_bytes(clip().read_bytes())
    walk(local_url).extract(video)
    video.unlink()
    words = ["gc", "--max-bytes", "0", "--cache", local_url]
    text = run(*words).succeeded().text
    assert "Nothing to remove" in text
    assert f"its video {video.as_uri()} is missing" in text
    [kept] = run(*words, "--json").succeeded().document["kept"]
    assert (kept["timeline_id"], kept["why"]) == ("walk", f"its video {video.as_uri()} is missing")
    run(*words, "--delete", "--force").succeeded()
    assert walk(local_url).complete


def test_corrupt_timeline_does_not_hide_the_others(old: str) -> None:
    damaged = Path(old) / "cache/timelines/walk/timeline/00000002.json"
    damaged.write_bytes(b"{}")
    outcome = run("gc", "--cache", old)
    assert "old manifests" in outcome.text
    assert "walk/timeline/00000002.json" in outcome.failed(8)


def test_gc_of_unknown_timeline_is_not_cached(old: str) -> None:
    assert "no timeline walks" in run("gc", "walks", "--cache", old).failed(3)


def test_gc_shows_progress_on_a_terminal(local_url: str) -> None:
    cache = FrameCache(local_url)
    for n in range(50):
        cache.store.put(f"cache/timelines/t{n}/frames/0.jpg", b"")
    with Terminal(["gc", "--cache", local_url]) as terminal:
        code, shown = terminal.end()
    assert code == 0
    assert "scanning" in shown
    assert "50 timelines in" in shown
