import io
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from command_line import clip, other_clip, run
from rich.console import Console
from rich.table import Table

import media
from framecache import FrameCache, StoreUnavailable, Timeline
from framecache._ingest import segments
from framecache.cli.cost import is_priced
from framecache.cli.output import format_money, print_table
from framecache.model import Layout
from framecache.testing import HookedStore, fail_from_nth
from outside import png_by_pillow

PNG = png_by_pillow(1)


@pytest.fixture
def cache(local_url: str) -> FrameCache:
    """``walk``: two chunks, 75 frames, and overlays of one job."""
    cache = FrameCache(local_url)
    walk = cache.timeline("walk")
    walk.extract([clip(), other_clip()])
    walk.overlays(job_id="run-7", stage="edges").save(999, {"canny": PNG})
    return cache


def test_ls_lists_every_timeline_with_its_state(cache: FrameCache, tmp_path: Path) -> None:
    cache.timeline("gone").extract(other_clip())
    cache.timeline("gone").clear()
    foreign = tmp_path / "store" / "cache" / "timelines" / "foreign" / "frames"
    foreign.mkdir(parents=True)
    (foreign / "0.jpg").write_bytes(cache.timeline("walk").jpeg(0))
    cache.timeline("drawn").overlays(job_id="run-7", stage="edges").save(999, {"canny": PNG})
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
        "half": "partial, 1 of 2 chunks",
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
        "aspect": "stored",
        "max_side": None,
        "chroma": "420",
        "renditions": [],
        "layout": "objects",
    }


def test_ls_filters_by_patterns(cache: FrameCache) -> None:
    for name in ("run-1", "run-2", "swim"):
        cache.store.put(f"cache/timelines/{name}/frames/0.jpg", b"")
    words = ("ls", "-q", "--cache", cache.url)
    assert run(*words).succeeded().text.split() == ["run-1", "run-2", "swim", "walk"]
    assert run(*words, "run-*").succeeded().text.split() == ["run-1", "run-2"]
    assert run(*words, "run-[13]", "s?im").succeeded().text.split() == ["run-1", "swim"]
    assert "matches 'walks'. Did you mean walk?" in run(*words, "walks").failed(3)


def test_ls_of_missing_folder_prints_a_note(tmp_path: Path) -> None:
    outcome = run("ls", "--cache", tmp_path / "typo")
    assert (outcome.code, outcome.output) == (0, b"")
    assert f"There is no folder {tmp_path}/typo" in outcome.errors
    (tmp_path / "typo").mkdir()
    assert "There is no folder" not in run("ls", "--cache", tmp_path / "typo").errors


def test_ls_of_empty_cache_suggests_extract(local_url: str) -> None:
    outcome = run("ls", "--cache", local_url)
    assert (outcome.code, outcome.output) == (0, b"")
    assert f"framecache extract my-video video.mp4 --cache {local_url}" in outcome.errors


def test_ls_reports_corrupt_timeline_and_ignores_invalid_folder(
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
    assert ["run-7", "edges", "1", str(len(PNG)), "bytes"] in rows
    assert ["video", "25", "frames/s"] in rows


def test_info_writes_json(cache: FrameCache) -> None:
    document = run("info", "walk", "--json", "--cache", cache.url).succeeded().document
    assert document["jobs"] == {"run-7": {"edges": 1}}
    assert document["overlay_bytes"] == {"run-7": {"edges": len(PNG)}}
    assert [chunk["frame_rate"] for chunk in document["chunks"]] == [25.0, 25.0]
    assert [chunk["start_seconds"] for chunk in document["chunks"]] == [0.0, 2.0]
    assert [chunk["cached"] for chunk in document["chunks"]] == [True, True]
    assert document["chunks"][1]["first_sequence"] == 50


def test_info_shows_last_use_of_timeline(cache: FrameCache) -> None:
    words = ("info", "walk", "--cache", cache.url)
    before = run(*words, "--json").succeeded().document["last_used_at"]
    used = cache.store.head("cache/timelines/walk/used") if before else None
    assert used is None or before == used.modified_at.isoformat()
    cache.store.put("cache/timelines/walk/used", b"\n")
    noted = cache.store.head("cache/timelines/walk/used").modified_at
    assert run(*words, "--json").succeeded().document["last_used_at"] == noted.isoformat()
    assert f"last used  {noted.astimezone():%Y-%m-%d %H:%M}" in run(*words).succeeded().text


def test_info_accepts_several_timelines(cache: FrameCache) -> None:
    cache.timeline("other").extract(other_clip())
    words = ("info", "walk", "other", "--cache", cache.url)
    shown = run(*words, "--json").succeeded().document["timelines"]
    assert [one["timeline_id"] for one in shown] == ["walk", "other"]
    heads = [line for line in run(*words).succeeded().text.splitlines() if "complete" in line]
    assert heads == ["walk: complete", "other: complete"]


def test_info_without_known_prices_has_no_cost(
    cache: FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "$" not in run("info", "walk", "--cache", cache.url).succeeded().text
    document = run("info", "walk", "--json", "--cache", cache.url).succeeded().document
    assert document["cost"] is None
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "FRAMECACHE_PRICES"):
        monkeypatch.delenv(name, raising=False)
    assert not is_priced(FrameCache("gs://media").store)


def test_only_amazon_buckets_are_priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "FRAMECACHE_PRICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    private = "https://minio.example.org"
    (tmp_path / "config").write_text(
        f"[profile private]\nendpoint_url = {private}\n"
        "[profile own]\nservices = own\n[services own]\ns3 =\n"
        f"  endpoint_url = {private}\n"
    )
    keys = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": "not-a-secret"}

    def priced(**options: str) -> bool:
        return is_priced(FrameCache("s3://media", storage_options=keys | options).store)

    assert priced()
    assert priced(endpoint="https://s3.eu-west-1.amazonaws.com")
    assert not priced(endpoint=private)
    for profile in ("private", "own"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        assert not priced(), profile
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL", private)
    assert not priced()


def test_foreign_files_among_overlays_are_ignored_and_named_once(
    cache: FrameCache, tmp_path: Path
) -> None:
    for number in range(2):
        cache.store.put(f"cache/timelines/walk/overlays/bad job/s/{number}_box.png", PNG)
    named = "cache/timelines/walk/overlays/bad job/s/"
    for words in (
        ("info", "walk", "--overlay-sizes"),
        ("overlays", "ls", "walk"),
        ("overlays", "export", "walk", tmp_path / "out"),
    ):
        outcome = run(*words, "--cache", cache.url)
        assert outcome.code == 0, outcome.errors
        assert outcome.errors.startswith("framecache: Warning: ")
        assert outcome.errors.count(named) == 1
        assert "and 1 more" in outcome.errors
        assert "bad job" not in outcome.text
    assert (tmp_path / "out" / "run-7" / "edges" / "999_canny.png").read_bytes() == PNG
    assert not (tmp_path / "out" / "bad job").exists()


def test_info_lists_missing_chunks(cache: FrameCache) -> None:
    interrupted(cache, "half")
    document = run("info", "half", "--json", "--cache", cache.url).succeeded().document
    assert document["state"] == "partial"
    assert [chunk["cached"] for chunk in document["chunks"]] == [True, False]
    assert (document["frame_count"], document["frames_described"]) == (50, 75)


def test_info_of_unknown_timeline_is_not_cached(local_url: str) -> None:
    line = run("info", "nothing", "--cache", local_url).failed(3)
    assert "There is no timeline nothing" in line


@pytest.mark.parametrize(("layout", "other"), [("objects", "packs"), ("packs", "objects")])
def test_info_shows_cost_of_both_layouts(cache: FrameCache, layout: Layout, other: Layout) -> None:
    timeline = cache.timeline("walk")
    timeline.repack(layout)
    own, others = timeline.footprint(), timeline.footprint(other)
    assert own.fill
    assert others.fill

    text = run("info", "walk", "--cost", "--cache", cache.url).succeeded().text

    facts = {" ".join(line.split()[:2]): line for line in text.splitlines() if line}
    assert f"{own.read_all.total} requests" in facts["to read"]
    assert f"{own.fill.total} requests" in facts["to extract"]
    assert (
        f"{others.read_all.total} requests to read instead of {own.read_all.total}, "
        f"{others.fill.total} to extract instead of {own.fill.total}"
    ) in facts[f"as {other}"]
    assert "Amazon S3 Standard, us-east-1, 2026-06" in text
    assert "$0.00 " not in text


def test_info_json_has_the_cost_of_both_layouts(cache: FrameCache) -> None:
    document = run("info", "walk", "--cost", "--json", "--cache", cache.url).succeeded().document
    cost = document["cost"]
    footprint = cache.timeline("walk").footprint()
    assert list(cost["layouts"]) == ["objects", "packs", "video"]
    own = cost["layouts"]["objects"]
    assert own["stored_bytes"] == footprint.stored_bytes == document["size_bytes"]
    assert own["read_all"]["total"] == footprint.read_all.total
    puts_and_lists, others = (
        own["fill"]["puts"] + own["fill"]["lists"],
        own["fill"]["gets"],
    )
    million = 1_000_000
    assert own["fill"]["dollars"] == pytest.approx((5 * puts_and_lists + 0.4 * others) / million)
    assert own["dollars_a_month"] == pytest.approx(0.023 * footprint.stored_bytes / 2**30)
    assert cost["prices"]["storage_per_gb_month"] == 0.023


def test_info_of_cleared_timeline_has_no_cost(cache: FrameCache) -> None:
    cache.timeline("walk").clear()
    document = run("info", "walk", "--cost", "--json", "--cache", cache.url).succeeded().document
    assert document["cost"] is None
    assert "requests" not in run("info", "walk", "--cost", "--cache", cache.url).succeeded().text


def test_info_of_unindexed_frames_has_no_cost_of_other_layout(cache: FrameCache) -> None:
    cache.store.put("cache/timelines/foreign/frames/0.jpg", cache.timeline("walk").jpeg(0))
    document = run("info", "foreign", "--cost", "--json", "--cache", cache.url).succeeded().document
    assert list(document["cost"]["layouts"]) == ["objects"]
    assert document["cost"]["layouts"]["objects"]["fill"] is None
    text = run("info", "foreign", "--cost", "--cache", cache.url).succeeded().text
    assert "to read" in text
    assert "as packs" not in text


def test_prices_file_replaces_default_prices(
    cache: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('name = "our MinIO"\nas_of = "2026"\nstorage_per_gb_month = 1000000\n')
    monkeypatch.setenv("FRAMECACHE_PRICES", str(prices))
    document = run("info", "walk", "--json", "--cache", cache.url).succeeded().document
    assert document["cost"]["prices"]["name"] == "our MinIO"
    dollars = document["size_bytes"] * 1_000_000 / 2**30
    assert document["cost"]["layouts"]["objects"]["dollars_a_month"] == pytest.approx(dollars)
    assert f"${dollars:,.2f} for" in run("info", "walk", "--cache", cache.url).succeeded().text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"\xff\xfe", "is not a text file"),
        (b"storage", "is not valid TOML"),
        (b"storage = 1", "'storage', which is not a price"),
        (b"storage_per_gb_month = -1", "storage_per_gb_month in "),
    ],
)
def test_invalid_prices_file_is_a_usage_error(
    content: bytes | None,
    said: str,
    cache: FrameCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prices = tmp_path / "prices.toml"
    if content is not None:
        prices.write_bytes(content)
    monkeypatch.setenv("FRAMECACHE_PRICES", str(prices))
    line = run("info", "walk", "--cache", cache.url).failed(2)
    assert said in line
    assert f"{prices} ($FRAMECACHE_PRICES)" in line


def test_small_amount_of_money_is_never_shown_as_zero() -> None:
    shown = {
        "0": "$0",
        "0.0000001": "less than $0.000001",
        "0.0000058": "$0.0000058",
        "0.0003": "$0.0003",
        "0.00396": "$0.0040",
        "0.994": "$0.99",
        "0.996": "$1.00",
        "1.005": "$1.01",
        "1234.5": "$1,234.50",
    }
    assert {amount: format_money(Decimal(amount)) for amount in shown} == shown


def interrupted(cache: FrameCache, timeline_id: str) -> None:
    """A timeline whose second chunk was not committed."""
    cache.timeline(timeline_id).extract([clip(), other_clip()])
    index = cache.store.list(f"cache/timelines/{timeline_id}/index")
    cache.store.delete([blob.key for blob in index if not blob.key.endswith("/000000-0.parquet")])


def test_table_in_a_pipe_matches_rich_layout(capsys: pytest.CaptureFixture[str]) -> None:
    headers, rows = ("name", "n", "state"), [("walk", "7", ""), ("走る", "1,234", "complete")]
    print_table(headers, rows, right=("n",))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header, justify="right" if header == "n" else "left")
    for row in rows:
        table.add_row(*row)
    drawn = io.StringIO()
    Console(width=80, file=drawn).print(table)
    lines = [line.rstrip() for line in drawn.getvalue().splitlines()]
    assert capsys.readouterr().out.splitlines() == lines


def test_info_and_ls_count_the_segments_of_an_unfinished_chunk(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = segments.SegmentLimits(Fraction(0), min_frames=10)
    monkeypatch.setattr(segments, "LIMITS", limits)
    down = fail_from_nth(StoreUnavailable("down"), action="put", nth=25, within="/frames/")
    store = HookedStore(FrameCache(local_url).store, before=down)
    path = media.made(
        "cli-segments.mp4",
        lambda path: media.make_clip(path, frames=40, extra=["-g", "10", "-sc_threshold", "0"]),
    )
    with pytest.raises(StoreUnavailable):
        Timeline(store, "half").extract(path, workers=1)

    listed = run("ls", "--cache", local_url).succeeded().text
    text = run("info", "half", "--cache", local_url).succeeded().text
    document = run("info", "half", "--json", "--cache", local_url).succeeded().document

    assert "partial, 2 of 4 segments" in listed
    assert text.startswith("half: partial, 2 of 4 segments")
    assert "  2 of 4 segments  " in text
    assert (document["segments_cached"], document["segment_count"]) == (2, 4)
    assert (document["chunks_cached"], document["frame_count"]) == (0, 20)
    (chunk,) = document["chunks"]
    assert (chunk["segments_cached"], chunk["segment_count"]) == (2, 4)
    assert (chunk["cached"], chunk["divisible"]) == (False, True)


def test_info_names_the_long_chunk_that_cannot_be_divided(local_url: str) -> None:
    path = media.made(
        "cli-long.ts", lambda path: media.make_clip(path, rate="5", frames=310, size=(64, 48))
    )
    FrameCache(local_url).timeline("long").extract(path, every=100)
    text = run("info", "long", "--cache", local_url).succeeded().text
    assert "chunk 0: one segment, because h264 in mpegts has no random access inside" in text
