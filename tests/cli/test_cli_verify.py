import shlex
from pathlib import Path

import pytest
from command_line import clip, other_clip, run

FRAMES = "cache/timelines/walk/frames"


@pytest.fixture
def walk(local_url: str) -> Path:
    """The folder of a cache with 50 frames of one timeline, ``walk``."""
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    return Path(local_url)


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_verify_of_sound_timeline_is_ok_and_changes_nothing(walk: Path) -> None:
    before = everything(walk)
    for options in ([], ["--deep"], ["--repair"], ["--workers", "1"]):
        outcome = run("verify", "walk", *options, "--cache", walk).succeeded()
        assert outcome.text.startswith("walk: ok; 50 frames checked, ")
        assert "ok 50 frames as they were committed" in " ".join(outcome.text.split())
    assert everything(walk) == before


def test_damage_is_reported_and_the_named_command_repairs_it(walk: Path) -> None:
    before = everything(walk)
    frames = walk / FRAMES
    (frames / "7.jpg").unlink()
    (frames / "9.jpg").write_bytes((frames / "9.jpg").read_bytes()[:100])
    damaged = everything(walk)

    outcome = run("verify", "walk", "--cache", walk)
    line = outcome.failed(8)
    assert everything(walk) == damaged
    assert outcome.text.startswith("walk: 2 damaged; 50 frames checked")
    assert f"missing: frame 7 ({FRAMES}/7.jpg): it is missing\n" in outcome.text
    assert f"truncated: frame 9 ({FRAMES}/9.jpg): it has 100 bytes instead of" in outcome.text
    command = line.rpartition(": ")[2]
    assert command == f"framecache verify walk --repair --cache {walk}"

    outcome = run(*shlex.split(command)[1:]).succeeded()
    assert outcome.text.startswith("walk: ok, 2 repaired; 50 frames checked")
    assert "it is missing; repaired\n" in outcome.text
    assert everything(walk) == before
    run("verify", "walk", "--deep", "--cache", walk).succeeded()


def test_corrupt_manifest_is_reported_and_the_named_command_repairs_it(walk: Path) -> None:
    run("extract", "walk", other_clip(), "--append", "--cache", walk).succeeded()
    # The manifests of the append, and of the compaction after it.
    for manifest in sorted(walk.rglob("timeline/*.json"))[-2:]:
        manifest.write_bytes(manifest.read_bytes()[:-1])
    outcome = run("verify", "walk", "--cache", walk)
    command = outcome.failed(8).rpartition(": ")[2]
    assert outcome.text.startswith("walk: 1 damaged; 0 frames checked")
    assert f"corrupt: {manifest.relative_to(walk)}: this manifest is damaged" in outcome.text
    text = run(*shlex.split(command)[1:]).succeeded().text
    assert text.startswith("walk: ok, 1 repaired; 50 frames checked")
    assert "if chunks were appended or settings changed since, repeat that" in text
    run("extract", "walk", other_clip(), "--append", "--cache", walk).succeeded()
    assert run("verify", "walk", "--deep", "--cache", walk).succeeded().text.startswith("walk: ok")


COMMANDS = {
    "extract": ["extract", "walk", str(clip())],
    "append": ["extract", "walk", str(other_clip()), "--append"],
    "info": ["info", "walk"],
    "ls": ["ls"],
    "get": ["get", "walk", "0", "--output", "frame.jpg"],
    "export": ["export", "walk", "frames"],
    "clear": ["clear", "walk", "--yes"],
    "rebuild": ["rebuild", "walk", "--yes"],
    "gc": ["gc"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_other_command_names_the_repair_of_a_corrupt_manifest(
    walk: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = max(walk.rglob("timeline/*.json"))
    manifest.write_bytes(b"{}")
    before = everything(walk)
    monkeypatch.chdir(tmp_path)
    line = run(*COMMANDS[command], "--cache", walk).failed(8)
    assert str(manifest.relative_to(walk)) in line
    assert "framecache verify walk --repair" in line
    assert everything(walk) == before


def test_unrepairable_damage_fails_with_the_reason(local_url: str, tmp_path: Path) -> None:
    video = tmp_path / "gone.mp4"
    video.write_bytes(clip().read_bytes())
    run("extract", "walk", video, "--cache", local_url).succeeded()
    video.unlink()
    run("verify", "walk", "--cache", local_url).succeeded()
    (Path(local_url) / FRAMES / "7.jpg").unlink()
    outcome = run("verify", "walk", "--repair", "--cache", local_url)
    assert "1 damaged blob could not be repaired; the findings say why" in outcome.failed(8)
    assert "restore it, or clear the timeline" in outcome.text
    assert "source missing 1 videos that no longer exist" in " ".join(outcome.text.split())


def test_verify_json_lists_counts_and_findings(walk: Path) -> None:
    (walk / FRAMES / "7.jpg").unlink()
    outcome = run("verify", "walk", "--json", "--cache", walk)
    assert outcome.code == 8
    document = outcome.document
    assert document.pop("seconds") > 0
    assert document.pop("bytes_read") > 0
    none = dict.fromkeys(("truncated", "corrupt", "stale", "orphan", "undecodable"), 0)
    assert document == {
        "timeline_id": "walk",
        "url": f"file://{walk}",
        "ok": False,
        "damaged": 1,
        "repaired": 0,
        "counts": {"ok": 49, "missing": 1, "source_changed": 0, "source_missing": 0} | none,
        "frames_checked": 50,
        "renditions_checked": 0,
        "chunks_checked": 1,
        "chunks_not_cached": 0,
        "findings": [
            {
                "kind": "missing",
                "key": f"{FRAMES}/7.jpg",
                "sequence": 7,
                "chunk_id": 0,
                "detail": "it is missing",
                "repaired": False,
            }
        ],
    }
    document = run("verify", "walk", "--repair", "--json", "--cache", walk).succeeded().document
    assert (document["ok"], document["damaged"], document["repaired"]) == (True, 0, 1)


def test_orphans_are_listed_and_are_not_a_failure(walk: Path) -> None:
    for number in range(100, 112):
        (walk / FRAMES / f"{number}.jpg").write_bytes(b"x")
    text = run("verify", "walk", "--cache", walk).succeeded().text
    assert text.startswith("walk: ok; ")
    assert f"orphan: frame 100 ({FRAMES}/100.jpg): no index part names it" in text
    assert "and 2 more findings; --json names the first 1,000" in text
    assert "framecache gc" in text


def test_damage_is_listed_before_orphans(walk: Path) -> None:
    for number in range(100, 120):
        (walk / FRAMES / f"{number}.jpg").write_bytes(b"x")
    (walk / FRAMES / "7.jpg").unlink()
    assert "missing: frame 7" in run("verify", "walk", "--cache", walk).text


def test_chunks_not_cached_yet_are_counted(walk: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.mp4"
    second.write_bytes(other_clip().read_bytes())
    run("extract", "walk", second, "--append", "--cache", walk).succeeded()
    [part] = walk.rglob("000001-0.parquet")
    part.unlink()
    for compaction in walk.rglob("timeline-*.parquet"):
        compaction.unlink()
    max(walk.rglob("timeline/*.json")).unlink()  # which names it
    text = run("verify", "walk", "--cache", walk).succeeded().text
    assert "Not cached yet: 1 chunk of the manifest" in text
    assert f"framecache info walk --cache {walk}" in text


def test_verify_of_unknown_timeline_is_not_cached(local_url: str) -> None:
    assert "extract it first" in run("verify", "walk", "--cache", local_url).failed(3)
