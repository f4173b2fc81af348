import re
import shlex
from pathlib import Path

import pytest
from command_line import clip, other_clip, run

from framecache import Chunk, FrameCache
from media import made, make_clip

FULL_RANGE = ("-pix_fmt", "yuvj420p")


def test_extract_caches_every_frame_and_prints_a_summary(local_url: str) -> None:
    outcome = run("extract", "walk", clip(), "--cache", local_url).succeeded()

    assert "50 frames extracted" in outcome.text
    assert "160×120" in outcome.text
    assert local_url in outcome.text
    assert f"framecache get walk 0 --cache {local_url}" in outcome.text
    assert len(FrameCache(local_url).timeline("walk")) == 50


def test_second_extract_has_nothing_to_do(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url)
    outcome = run("extract", "walk", clip(), "--cache", local_url).succeeded()
    assert "already cached, nothing to do" in outcome.text


def test_extract_reports_as_json(local_url: str) -> None:
    chunks = [clip(), other_clip()]
    outcome = run("extract", "walk", *chunks, "--json", "--cache", local_url).succeeded()

    document = outcome.document
    assert document.pop("seconds") > 0
    assert document.pop("bytes_stored") > 0
    assert document == {
        "timeline_id": "walk",
        "chunks_extracted": 2,
        "chunks_cached": 0,
        "frames_extracted": 75,
        "frames_undecodable": 0,
        "frame_count": 75,
        "url": f"file://{local_url}",
        "undecodable": [],
        "timing": [],
        "segments_extracted": 2,
        "segments_cached": 0,
    }


def test_extract_and_info_report_clock_restarts(local_url: str, tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    part = make_clip(tmp_path / "part.ts", frames=30, extra=("-bf", "0"))
    joined.write_bytes(2 * part.read_bytes())
    outcome = run("extract", "walk", joined, "--cache", local_url)
    note = f"framecache: Note: chunk 0: clock restarts: 1 (file://{joined})."
    assert (outcome.code, outcome.errors) == (0, f"{note}\n")
    assert "chunk 0: clock restarts: 1" in run("info", "walk", "--cache", local_url).text
    (chunk,) = run("info", "walk", "--json", "--cache", local_url).document["chunks"]
    assert (chunk["source_frame_count"], chunk["clock_restarts"]) == (60, 1)


def test_extract_applies_sampling_options(local_url: str) -> None:
    ways = {
        ("--fps", "5"): 10,
        ("--fps", "1/2"): 1,
        ("--every", "10"): 5,
        ("--keyframes",): 2,
        ("--workers", "1", "--quality", "30"): 50,
    }
    for number, (options, frames) in enumerate(ways.items()):
        outcome = run("extract", f"t{number}", clip(), *options, "--json", "--cache", local_url)
        assert outcome.succeeded().document["frame_count"] == frames, options
    settings = FrameCache(local_url).timeline("t4").info().settings
    assert settings is not None
    assert settings.jpeg.quality == 30


def test_extract_keeps_the_given_chunk_order(local_url: str) -> None:
    run("extract", "walk", other_clip(), clip(), "--cache", local_url).succeeded()
    chunks = FrameCache(local_url).timeline("walk").info().chunks
    assert [chunk.frame_count for chunk in chunks] == [25, 50]


def test_start_and_stop_take_a_part_that_info_shows(local_url: str) -> None:
    run("extract", "t", clip(), "--start", "0.4", "--stop", "0:00.8", "--cache", local_url)
    shown = run("info", "t", "--cache", local_url).succeeded()
    assert "0:00.400–0:00.800" in shown.text
    (chunk,) = run("info", "t", "--json", "--cache", local_url).document["chunks"]
    assert (chunk["frame_count"], chunk["trim_start"], chunk["trim_stop"]) == (10, 0.4, 0.8)


@pytest.mark.parametrize("option", ["--start", "--stop"])
def test_part_of_several_videos_is_refused(local_url: str, option: str) -> None:
    outcome = run("extract", "t", clip(), other_clip(), option, "1", "--cache", local_url)
    assert "--start and --stop are for one CHUNK" in outcome.failed(2)


def test_part_that_has_no_frame_is_refused(local_url: str) -> None:
    outcome = run("extract", "t", clip(), "--start", "60", "--cache", local_url)
    assert "begins from 60.0 s to its end" in outcome.failed(2)


def test_append_uses_the_settings_of_the_timeline(local_url: str) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    run("extract", "walk", other_clip(), "--append", "--cache", local_url).succeeded()
    assert len(FrameCache(local_url).timeline("walk")) == 15


def test_append_refuses_other_settings(local_url: str) -> None:
    outcome = run("extract", "walk", clip(), "--append", "--fps", "5", "--cache", local_url)
    assert "omit --fps" in outcome.failed(2)
    outcome = run("extract", "walk", clip(), "--append", "--max-side", "64", "--cache", local_url)
    assert "omit --max-side" in outcome.failed(2)


def test_rebuild_applies_new_settings_to_the_same_chunks(local_url: str) -> None:
    run("extract", "walk", clip(), "--quality", "40", "--cache", local_url).succeeded()
    options = ("--every", "5", "--yes", "--json", "--cache", local_url)
    outcome = run("rebuild", "walk", *options).succeeded()

    assert outcome.document["frame_count"] == 10
    info = FrameCache(local_url).timeline("walk").info()
    assert str(info.settings) == "every 5 frames, JPEG quality 40, layout objects"


def test_limit_and_chroma_are_cached_shown_and_changed(local_url: str) -> None:
    cache = ("--cache", local_url)
    options = ("--max-side", "64", "--chroma", "444")
    plan = run("extract", "walk", clip(), *options, "--dry-run", "--json", *cache).succeeded()
    assert (plan.document["chunks"][0]["width"], plan.document["chunks"][0]["height"]) == (64, 48)
    assert (
        plan.document["settings"] | {"max_side": 64, "chroma": "444"} == (plan.document["settings"])
    )
    run("extract", "walk", clip(), *options, *cache).succeeded()
    shown = run("info", "walk", *cache).succeeded().text
    assert "64×48" in shown
    assert "sides of at most 64 pixels, chroma 444" in shown
    (listed,) = run("ls", "--json", *cache).succeeded().document["timelines"]
    assert (listed["settings"]["max_side"], listed["settings"]["chroma"]) == (64, "444")
    assert (listed["width"], listed["height"]) == (64, 48)
    (chunk,) = run("info", "walk", "--json", *cache).succeeded().document["chunks"]
    assert (chunk["width"], chunk["height"]) == (160, 120)
    line = run("rebuild", "walk", "--max-side", "65500", *cache).failed(2)
    assert "now every frame, JPEG quality 85, sides of at most 64 pixels, chroma 444" in line
    assert "then every frame, JPEG quality 85, sides of any size, chroma 444" in line


@pytest.mark.parametrize(
    ("cached", "asked", "remedy"),
    [
        ("", "--max-side 64", "--max-side 64"),
        ("--max-side 64", "", "--max-side 65500"),
        ("--max-side 64", "--max-side 32 --chroma 444", "--max-side 32 --chroma 444"),
        ("--chroma 444", "", "--chroma 420"),
    ],
)
def test_conflict_of_limit_or_chroma_names_the_rebuild_that_resolves_it(
    cached: str, asked: str, remedy: str, local_url: str
) -> None:
    cache = ("--cache", local_url)
    run("extract", "walk", clip(), *cached.split(), *cache).succeeded()
    line = run("extract", "walk", clip(), *asked.split(), *cache).failed(4)
    assert line.endswith(f": framecache rebuild walk {remedy} --cache {local_url}")
    run("rebuild", "walk", *remedy.split(), "--yes", *cache).succeeded()
    run("extract", "walk", clip(), *asked.split(), *cache).succeeded()


def test_rebuild_that_discards_frames_needs_confirmation(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    line = run("rebuild", "walk", "--fps", "5", "--cache", local_url).failed(2)
    assert "discard 50 cached frames" in line
    assert "now every frame, " in line
    assert "then 5 fps, " in line
    assert len(FrameCache(local_url).timeline("walk")) == 50


def test_rebuild_of_cleared_timeline_needs_no_confirmation(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    run("clear", "walk", "--yes", "--cache", local_url).succeeded()
    run("rebuild", "walk", "--cache", local_url).succeeded()
    assert len(FrameCache(local_url).timeline("walk")) == 50


def test_undecodable_frames_are_reported_as_a_warning(local_url: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mov"
    damaged.write_bytes(damaged_clip(range(30, 50)))
    outcome = run("extract", "walk", damaged, "--json", "--cache", local_url)

    assert outcome.code == 0
    document = outcome.document
    assert (document["frames_undecodable"], document["frame_count"]) == (20, 50)
    assert sum(one["frames"] for one in document["undecodable"]) == 20
    assert outcome.errors.startswith("framecache: Warning: 20 of 50 frames could not be decoded")
    assert outcome.errors.count("\n") == 1


def test_rebuild_keeps_the_given_start_of_a_chunk(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract([Chunk(str(clip()), start_seconds=3.0)])
    run("rebuild", "walk", "--yes", "--cache", local_url).succeeded()
    assert timeline.info().chunks[0].start == 3


def test_extract_without_any_decodable_frame_fails(local_url: str, tmp_path: Path) -> None:
    chunk = tmp_path / "damaged.mov"
    chunk.write_bytes(damaged_clip(range(20)))
    words = ("extract", "walk", chunk, "--fps", "0.5", "--cache", local_url)
    for _ in range(2):
        line = run(*words).failed(5)
        assert "none of its 1 frame could be decoded" in line
        assert f"framecache rm walk --cache {local_url}" in line


def test_dry_run_prints_the_plan_and_stores_nothing(local_url: str) -> None:
    words = ("extract", "walk", clip(), other_clip(), "--fps", "5", "--cache", local_url)
    text = run(*words, "--dry-run").succeeded().text

    assert not Path(local_url).exists()
    assert text.startswith("walk: 15 frames would be extracted; nothing was stored\n")
    rows = [line.split() for line in text.splitlines()]
    assert [row[:5] for row in rows if row and row[0] in {"0", "1"}] == [
        ["0", "10", "0:02.000", "160×120", "about"],
        ["1", "5", "0:01.000", "160×120", "about"],
    ]
    assert "5 fps, JPEG quality 85, layout objects" in text
    videos = clip().stat().st_size + other_clip().stat().st_size
    assert re.search(
        rf"^ +as large as +[0-9.]+ × the videos \({videos / 1000:.1f} kB\)$", text, re.MULTILINE
    )
    assert "requests to read instead of" in text
    plan = FrameCache(local_url).timeline("walk").plan_extract([clip(), other_clip()], fps=5)
    assert f"about {plan.requests.total} requests" in text


def test_dry_run_reports_as_json(local_url: str) -> None:
    words = ("extract", "walk", clip(), other_clip(), "--layout", "packs", "--cache", local_url)
    document = run(*words, "--dry-run", "--json").succeeded().document

    assert (document["frames_to_extract"], document["frame_count"]) == (75, 75)
    assert document["settings"]["layout"] == "packs"
    assert [chunk["duration_seconds"] for chunk in document["chunks"]] == [2.0, 1.0]
    sizes = [clip().stat().st_size, other_clip().stat().st_size]
    assert [chunk["video_bytes"] for chunk in document["chunks"]] == sizes
    assert list(document["cost"]["layouts"]) == ["objects", "packs", "video"]
    assert document["requests"]["total"] == document["cost"]["layouts"]["packs"]["fill"]["total"]
    assert document["dollars_a_month"] > 0


def test_dry_run_reads_prices_from_the_given_file(
    local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("extract", "walk", clip(), "--dry-run", "--cache", local_url)
    monkeypatch.delenv("FRAMECACHE_PRICES", raising=False)
    assert "Amazon S3 Standard, us-east-1, 2026-06" in fact(run(*words).succeeded().text, "prices")

    prices = tmp_path / "prices.toml"
    prices.write_text(
        'name = "our MinIO"\nas_of = 2025-11-30\nstorage_per_gb_month = 1000000\n'
        "puts_and_lists_per_1000 = 3000\ngets_and_heads_per_1000 = 7000\n"
        "transfer_in_region_per_gb = 0\ntransfer_to_internet_per_gb = 500000\n"
    )
    monkeypatch.setenv("FRAMECACHE_PRICES", str(prices))
    document = run(*words, "--json").succeeded().document
    text = run(*words).succeeded().text

    cost, filled = document["cost"], document["requests"]
    assert (cost["prices"]["name"], cost["prices"]["as_of"]) == ("our MinIO", "2025-11-30")
    assert "our MinIO, 2025-11-30" in fact(text, "prices")
    assert "Amazon" not in text
    to_fill = 3 * (filled["puts"] + filled["lists"]) + 7 * filled["gets"]
    assert filled["dollars"] == to_fill > 0
    assert f"${to_fill:,.2f}" in fact(text, "to extract")
    a_month = document["bytes_to_store"] * 1_000_000 / 2**30
    assert document["dollars_a_month"] == pytest.approx(a_month)
    assert f"${a_month:,.2f} for" in fact(text, "per month")
    to_read = cost["layouts"]["objects"]["read_all"]
    near = 3 * (to_read["puts"] + to_read["lists"]) + 7 * to_read["gets"]
    far = near + document["bytes_to_store"] * 500_000 / 2**30
    assert f"${near:,.2f} within the region" in fact(text, "to read")
    assert f"${far:,.2f} over the internet" in fact(text, "to read")


def test_dry_run_counts_cached_chunks(local_url: str) -> None:
    run("extract", "walk", clip(), "--cache", local_url).succeeded()
    words = ("extract", "walk", clip(), other_clip(), "--dry-run", "--cache", local_url)
    text = run(*words).succeeded().text
    assert "walk: 25 frames would be extracted" in text
    states = [line.split()[-2] for line in text.splitlines() if line.endswith(".mp4")]
    assert states == ["cached", "new"]

    nothing = run("extract", "walk", clip(), "--dry-run", "--cache", local_url).succeeded().text
    assert "already cached, nothing to do" in nothing
    assert "about" not in nothing


def test_dry_run_of_append_uses_the_settings_of_the_timeline(local_url: str) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    words = ("extract", "walk", other_clip(), "--append", "--dry-run", "--cache", local_url)
    assert "5 frames would be extracted" in run(*words).succeeded().text
    assert len(FrameCache(local_url).timeline("walk")) == 10


def test_dry_run_fails_as_the_extraction_would(local_url: str, tmp_path: Path) -> None:
    run("extract", "walk", clip(), "--fps", "5", "--cache", local_url).succeeded()
    conflicts = {
        ("walk", clip(), "--fps", "2"): 4,
        ("walk", other_clip(), "--fps", "5"): 4,
        ("walk", clip(), "--fps", "5", "--layout", "packs"): 4,
        ("new", tmp_path / "nowhere.mp4"): 5,
        ("new", clip(), "--workers", "0"): 2,
        ("new", clip(), "--quality", "101"): 2,
        ("walk", clip(), "--fps", "5", "--max-side", "64"): 4,
        ("walk", clip(), "--fps", "5", "--chroma", "444"): 4,
        ("new", clip(), "--max-side", "0"): 2,
        ("new", clip(), "--max-side", "65501"): 2,
        ("new", clip(), "--max-side", "64.0"): 2,
        ("new", clip(), "--chroma", "422"): 2,
        ("walk", clip(), "--append", "--max-side", "64"): 2,
        ("walk", clip(), "--append", "--fps", "5"): 2,
        ("bad/id", clip()): 2,
    }
    for words, code in conflicts.items():
        given = ("extract", "--cache", local_url, *words)
        assert run(*given, "--dry-run").failed(code) == run(*given).failed(code)


def test_dry_run_warns_of_undecodable_sampled_frames(local_url: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mov"
    # After their tables, which show that decoding can begin with them.
    damaged.write_bytes(damaged_clip(range(30, 50), kept_bytes=700))
    outcome = run("extract", "walk", damaged, "--dry-run", "--json", "--cache", local_url)
    assert outcome.code == 0
    (chunk,) = outcome.document["chunks"]
    undecodable, sampled = chunk["samples_undecodable"], chunk["frames_sampled"]
    assert 0 < undecodable < sampled
    assert outcome.errors.startswith(
        f"framecache: Warning: {undecodable} of {sampled} sampled frames"
    )


@pytest.mark.parametrize(
    ("options", "cached"),
    [((), "--fps 5"), (("--layout", "packs"), "--every 1"), (("--quality", "40"), "--every 1")],
)
def test_conflict_of_chunks_and_settings_does_not_suggest_rebuild(
    options: tuple[str, ...], cached: str, local_url: str
) -> None:
    run("extract", "walk", clip(), *cached.split(), "--cache", local_url).succeeded()
    words = ("extract", "walk", str(other_clip()), *options, "--cache", local_url)
    line = run(*words).failed(4)
    assert "framecache rebuild" not in line
    assert "another timeline name" in line
    assert line.endswith(f": framecache clear walk --cache {local_url}")
    run("clear", "walk", "--yes", "--cache", local_url).succeeded()
    run(*words).succeeded()


def test_missing_timeline_id_is_suggested_with_the_same_options(local_url: str) -> None:
    options = ("--fps", "5", "--aspect", "square", "--dry-run")
    line = run("extract", clip(), other_clip(), *options, "--cache", local_url).failed(2)
    command = shlex.split(line.rpartition(": framecache ")[2])
    videos = [str(clip()), str(other_clip())]
    given = [*options, "--cache", local_url]
    assert command[:4] == ["extract", "my-video", *videos]
    assert sorted(command[4:]) == sorted(given)
    assert "15 frames would be extracted" in run(*command).succeeded().text


def test_file_in_place_of_timeline_id_is_not_suggested_as_a_video(
    local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("match-42").write_text("notes")
    line = run("extract", "match-42", clip(), "--every", "5", "--cache", local_url).failed(2)
    assert "'match-42' is an existing file" in line
    suggested = f": framecache extract my-video {clip()} --every 5 --cache {local_url}"
    assert line.endswith(suggested)


def fact(text: str, name: str) -> str:
    """Return the value of a name that is printed on a line of its own."""
    (said,) = re.findall(rf"^ *{name}  +(.+)$", text, re.MULTILINE)
    assert isinstance(said, str)
    return said


def damaged_clip(zeros: range, *, kept_bytes: int = 0) -> bytes:
    """Make 50 pictures in an intact container, some of which are zeros from some byte on."""
    path = made("cli-mjpeg.mov", lambda path: make_clip(path, codec="mjpeg", extra=FULL_RANGE))
    video = path.read_bytes()
    begins = [match.start() for match in re.finditer(rb"\xff\xd8\xff", video)]
    begins.append(video.rindex(b"moov") - 4)
    assert len(begins) == 51
    damaged = bytearray(video)
    for number in zeros:
        start, stop = begins[number] + kept_bytes, begins[number + 1]
        damaged[start:stop] = bytes(stop - start)
    return bytes(damaged)
