import csv
import io
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from command_line import DEADLINE_SECONDS, clip, other_clip, run

from framecache import Frame, FrameCache, Timeline
from framecache._index import Index
from media import ffmpeg, ffprobe, ffprobe_frames, made, make_clip


@pytest.fixture
def walk(local_url: str) -> Timeline:
    timeline = FrameCache(local_url).timeline("walk")
    timeline.extract(clip())
    return timeline


def test_export_writes_each_frame_and_a_table(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "frames"
    text = run("export", "walk", folder, "--cache", local_url).succeeded().text

    assert text.startswith(f"{folder}: 50 frames and frames.csv, ")
    names = {f"{sequence:06d}.jpg" for sequence in range(50)} | {"frames.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "000049.jpg").read_bytes() == walk.jpeg(49)
    rows = list(csv.DictReader((folder / "frames.csv").read_text().splitlines()))
    assert [int(row["sequence"]) for row in rows] == list(range(50))
    assert [float(row["timestamp"]) for row in rows] == walk.index.timestamp.tolist()
    assert [row["perceptual_hash"] for row in rows] == walk.index.perceptual_hash.tolist()
    assert {row["chunk_id"] for row in rows} == {"0"}
    assert [row["file"] for row in rows] == sorted(names - {"frames.csv"})


@pytest.mark.parametrize(
    "words",
    [
        "--start 10 --stop 20",
        "--start 7 --step 10",
        "--step 7 --stop-seconds 1",
        "--start-seconds 0.5 --stop-seconds 1.5 --step 3",
        "--start-seconds 1.9",
        "--min-change 8",
        "--min-change 16 --start 3 --step 2",
    ],
)
def test_export_range_equals_range_of_library(
    walk: Timeline, local_url: str, tmp_path: Path, words: str
) -> None:
    options = words.split()
    run("export", "walk", tmp_path / "out", *options, "--cache", local_url).succeeded()
    numbers = {
        name.removeprefix("--").replace("-", "_"): float(value) if "seconds" in name else int(value)
        for name, value in zip(options[::2], options[1::2], strict=True)
    }
    expected = [frame.sequence for frame in walk.frames(**numbers)]  # type: ignore[arg-type]
    found = sorted(int(path.stem) for path in (tmp_path / "out").glob("*.jpg"))
    assert found == expected


@pytest.mark.usefixtures("walk")
def test_export_reports_as_json(local_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = ("export", "walk", folder, "--stop", "3", "--json", "--cache", local_url)
    document = run(*words).succeeded().document
    sizes = [path.stat().st_size for path in folder.glob("*.jpg")]
    assert document["frames_exported"] == 3
    assert document["bytes_exported"] == sum(sizes)
    assert document["table"] == str(folder / "frames.csv")


@pytest.mark.usefixtures("walk")
def test_export_into_non_empty_folder_needs_force(local_url: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").touch()
    words = ("export", "walk", tmp_path / "out", "--stop", "2", "--cache", local_url)
    assert "is not empty" in run(*words).failed(2)
    run(*words, "--force").succeeded()
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.usefixtures("walk")
def test_export_to_existing_file_is_refused(local_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = run("export", "walk", tmp_path / "file", "--cache", local_url).failed(2)
    assert "is a file, not a folder" in line


@pytest.mark.usefixtures("walk")
def test_export_of_empty_range_creates_no_folder(local_url: str, tmp_path: Path) -> None:
    words = ("export", "walk", tmp_path / "out", "--start", "50", "--cache", local_url)
    assert "its frames are 0 to 49" in run(*words).failed(3)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("walk")
def test_export_with_sequence_and_time_limit_is_refused(local_url: str, tmp_path: Path) -> None:
    for end in ("start", "stop"):
        both = (f"--{end}", "1", f"--{end}-seconds", "1")
        run("export", "walk", tmp_path / "out", *both, "--cache", local_url).failed(2)


def test_export_of_unknown_timeline_is_not_cached(local_url: str, tmp_path: Path) -> None:
    run("export", "walk", tmp_path / "out", "--cache", local_url).failed(3)


def test_failed_export_leaves_no_partial_file(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    store = tmp_path / "store" / "cache" / "timelines" / "walk" / "frames"
    (store / "20.jpg").write_bytes(walk.jpeg(20)[:-100])
    line = run("export", "walk", tmp_path / "out", "--cache", local_url).failed(8)
    assert "Frame 20" in line
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {f"{sequence:06d}.jpg" for sequence in range(20)}


@pytest.mark.usefixtures("walk")
def test_failed_export_names_left_files_and_the_command_that_resumes(
    local_url: str, tmp_path: Path
) -> None:
    frame = tmp_path / "store" / "cache" / "timelines" / "walk" / "frames" / "20.jpg"
    sound = frame.read_bytes()
    frame.write_bytes(sound[:-100])
    words = ("export", "walk", tmp_path / "out", "--start", "10", "--name", "{sequence}.jpg")
    line = run(*words, "--cache", local_url).failed(8)
    assert f"10 files left in {tmp_path / 'out'};" in line
    again = shlex.split(line.rpartition(": framecache ")[2])
    frame.write_bytes(sound)
    assert "40 frames" in run(*again).succeeded().text
    names = {f"{sequence}.jpg" for sequence in range(10, 50)} | {"frames.csv"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_unwritable_file_is_named_with_number_of_left_files(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    (tmp_path / "out" / "000003.jpg").mkdir(parents=True)
    words = ("export", "walk", tmp_path / "out", "--force", "--cache", local_url)
    line = run(*words).failed(1)
    assert str(tmp_path / "out" / "000003.jpg") in line
    assert "3 files left in" in line
    assert line.count("--force") == 1
    assert len(walk) == 50


def test_failed_overlay_export_names_the_command_that_resumes(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    overlays = walk.overlays(job_id="run-7", stage="edges")
    picture = png(PIL.Image.new("L", (8, 8)))
    overlays.save_many({number: {"a": picture} for number in range(3)})
    out = tmp_path / "out"
    (out / "run-7" / "edges" / "1_a.png").mkdir(parents=True)
    words = ("overlays", "export", "walk", out, "--force", "--cache", local_url)
    line = run(*words).failed(1)
    assert "1 file left in" in line
    again = shlex.split(line.rpartition(": framecache ")[2])
    (out / "run-7" / "edges" / "1_a.png").rmdir()
    assert "3 overlays" in run(*again).succeeded().text


@pytest.mark.usefixtures("walk")
def test_too_long_file_name_is_refused_before_any_write(local_url: str, tmp_path: Path) -> None:
    words = ("export", "walk", tmp_path / "out", "--cache", local_url, "--name")
    line = run(*words, "é" * 124 + "{sequence:04d}.jpg").failed(2)
    assert "256 bytes" in line
    assert len(line) < 250
    assert not (tmp_path / "out").exists()
    run(*words, "é" * 123 + "{sequence:04d}.jpg", "--stop", "2").succeeded()
    assert len(run(*words, "x" * 10_000 + "/{sequence}.jpg").failed(2)) < 250


def test_export_names_files_by_a_template(walk: Timeline, local_url: str, tmp_path: Path) -> None:
    words = ("export", "walk", tmp_path / "out", "--start", "40", "--step", "5")
    template = "{chunk_id}-{sequence:04d}.jpeg"
    run(*words, "--name", template, "--cache", local_url).succeeded()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"0-0040.jpeg", "0-0045.jpeg", "frames.csv"}
    assert (tmp_path / "out" / "0-0045.jpeg").read_bytes() == walk.jpeg(45)


def test_contiguous_export_numbers_files_without_gaps(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    words = ("export", "walk", tmp_path / "out", "--start", "40", "--step", "5", "--contiguous")
    run(*words, "--cache", local_url).succeeded()
    assert (tmp_path / "out" / "000001.jpg").read_bytes() == walk.jpeg(45)
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines()))
    assert [(row["sequence"], row["file"]) for row in rows] == [
        ("40", "000000.jpg"),
        ("45", "000001.jpg"),
    ]


@pytest.mark.usefixtures("walk")
@pytest.mark.parametrize(
    "template",
    [
        *("{sequence}", "{sequence}.gif", "all.jpg", "{chunk_id}.jpg", "{number}.jpg", "{}.jpg"),
        *("../{sequence}.jpg", "a/{sequence}.jpg", "{sequence", "{sequence:s}.jpg"),
        *("{sequence.__class__}.jpg", "{sequence:0999999999d}.jpg", "a\n{sequence}.jpg"),
    ],
)
def test_invalid_name_template_is_refused_before_any_write(
    template: str, local_url: str, tmp_path: Path
) -> None:
    words = ("export", "walk", tmp_path / "out", "--name", template, "--cache", local_url)
    assert "--name" in run(*words).failed(2)
    assert list(tmp_path.glob("out*")) == []


def test_export_as_png_has_the_pixels_of_the_frames(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    words = ("export", "walk", tmp_path / "out", "--stop", "2", "--name", "{sequence}.png")
    run(*words, "--cache", local_url).succeeded()
    with PIL.Image.open(tmp_path / "out" / "1.png") as png:
        assert png.format == "PNG"
        assert (np.asarray(png) == walk.frame(1).image).all()


def png(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_overlays_are_drawn_on_exported_frames(
    walk: Timeline, local_url: str, tmp_path: Path
) -> None:
    half_red = PIL.Image.new("RGBA", (160, 120), (255, 0, 0, 0))
    half_red.paste((255, 0, 0, 128), (0, 0, 80, 120))
    mask = PIL.Image.new("L", (80, 60))
    mask.paste(255, (40, 0, 80, 60))
    walk.overlays(job_id="run-7", stage="tint").save(0, {"red": png(half_red)})
    walk.overlays(job_id="run-7", stage="mask").save(0, {"mask": png(mask)})
    words = ("export", "walk", "--stop", "2", "--name", "{sequence}.png", "--cache", local_url)
    run(*words, tmp_path / "one", "--with-overlays", "run-7/tint").succeeded()
    run(*words, tmp_path / "all", "--with-overlays", "run-7").succeeded()

    with PIL.Image.fromarray(walk.frame(0).image) as below:
        expected = PIL.Image.alpha_composite(below.convert("RGBA"), half_red).convert("RGB")
    with PIL.Image.open(tmp_path / "one" / "0.png") as shown:
        assert np.abs(np.asarray(shown, np.int16) - np.asarray(expected)).max() <= 1
    with PIL.Image.open(tmp_path / "all" / "0.png") as shown:
        assert (np.asarray(shown)[:, 80:] == 255).all()
        left = np.asarray(shown, np.int16)[:, :80] - np.asarray(expected)[:, :80]
        assert np.abs(left).max() <= 1
    with PIL.Image.open(tmp_path / "all" / "1.png") as shown:
        assert (np.asarray(shown) == walk.frame(1).image).all()


@pytest.mark.usefixtures("walk")
def test_export_with_overlays_of_job_without_any_is_refused(local_url: str, tmp_path: Path) -> None:
    words = ("export", "walk", tmp_path / "out", "--with-overlays", "run-8", "--cache", local_url)
    assert "run-8 has no overlays on timeline walk" in run(*words).failed(3)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("walk")
def test_export_as_video_shows_each_frame_at_its_time(local_url: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    words = ("export", "walk", file, "--start", "10", "--stop", "30", "--step", "2", "--json")
    document = run(*words, "--cache", local_url).succeeded().document
    assert (document["file"], document["frames_exported"]) == (str(file), 10)
    assert document["bytes_exported"] == file.stat().st_size
    times = [float(frame.timestamp) for frame in ffprobe_frames(file)]
    assert times == pytest.approx([n * 0.08 for n in range(10)], abs=1e-4)
    assert "exists" in run(*words, "--cache", local_url).failed(2)


@pytest.mark.parametrize(
    ("options", "words", "seconds"),
    [
        (("--fps", "1"), (), 3),
        (("--fps", "1"), ("--stop", "2"), 2),
        ((), ("--start", "10", "--stop", "20", "--step", "2"), 0.4),
        ((), ("--start", "60"), 15 / 25),
        ((), ("--start", "60", "--min-change", "64"), 15 / 25),
    ],
)
def test_exported_video_lasts_until_the_end_of_its_last_frame(
    options: tuple[str, ...],
    words: tuple[str, ...],
    seconds: float,
    local_url: str,
    tmp_path: Path,
) -> None:
    run("extract", "long", clip(), other_clip(), *options, "--cache", local_url).succeeded()
    file = tmp_path / "clip.mp4"
    run("export", "long", file, *words, "--cache", local_url).succeeded()
    duration = ffprobe(file, "-show_entries", "format=duration")["format"]["duration"]
    assert float(duration) == pytest.approx(seconds, abs=0.002)


def test_exported_video_of_written_frames_repeats_last_frame_interval(
    local_url: str, tmp_path: Path
) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    cache = FrameCache(local_url)
    cache.timeline("own").write([Frame(n, 0, n / 2, image) for n in range(4)])
    file = tmp_path / "own.mp4"
    run("export", "own", file, "--cache", local_url).succeeded()
    duration = ffprobe(file, "-show_entries", "format=duration")["format"]["duration"]
    assert float(duration) == pytest.approx(2, abs=0.002)


def anamorphic() -> Path:
    """25 frames with pixels of 4:3."""
    return made("cli-anamorphic.mp4", lambda path: make_clip(path, frames=25, filters="setsar=4/3"))


def test_exported_video_has_the_pixel_aspect_of_the_frames(local_url: str, tmp_path: Path) -> None:
    for aspect, shape in (("stored", "4:3"), ("square", "1:1")):
        words = ("extract", aspect, anamorphic(), "--aspect", aspect, "--cache", local_url)
        run(*words).succeeded()
        file = tmp_path / f"{aspect}.mp4"
        run("export", aspect, file, "--cache", local_url).succeeded()
        (stream,) = ffprobe(file, "-show_streams")["streams"]
        assert stream["sample_aspect_ratio"] == shape


def test_video_export_of_two_pixel_aspects_is_refused_and_leaves_no_file(
    local_url: str, tmp_path: Path
) -> None:
    run("extract", "two", other_clip(), anamorphic(), "--cache", local_url).succeeded()
    words = ("export", "two", tmp_path / "x.mp4", "--cache", local_url)
    line = run(*words).failed(2)
    assert "1:1 and 4:3" in line
    assert f"rebuild two --aspect square --cache {local_url}'" in line
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    run(*words, "--start", "25").succeeded()


def test_exported_video_has_the_colors_of_the_frames(local_url: str, tmp_path: Path) -> None:
    colours = [(200, 30, 60), (20, 180, 90), (250, 250, 250)]
    flat = [
        Frame(n, 0, n / 10, np.full((45, 81, 3), colour, np.uint8))
        for n, colour in enumerate(colours)
    ]
    FrameCache(local_url).timeline("flat").write(flat)
    file = tmp_path / "flat.mp4"
    run("export", "flat", file, "--cache", local_url).succeeded()
    stream = ffprobe(file, "-show_streams")["streams"][0]
    named = {"pix_fmt": "yuv420p", "color_space": "bt709", "color_range": "tv"}
    assert {name: stream[name] for name in named} == named
    raw = ("-vf", "scale=in_color_matrix=bt709", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    pixels = np.frombuffer(ffmpeg("-i", str(file), *raw), np.uint8).reshape(3, 46, 82, 3)
    for shown, colour in zip(pixels, colours, strict=True):
        assert np.abs(shown.astype(np.int16) - np.array(colour, np.int16)).max() <= 4


def test_video_export_of_two_frame_sizes_is_refused_and_leaves_no_file(
    local_url: str, tmp_path: Path
) -> None:
    small = made("cli-small.mp4", lambda path: make_clip(path, frames=2, size=(80, 60)))
    FrameCache(local_url).timeline("two").extract([other_clip(), small])
    line = run("export", "two", tmp_path / "x.mp4", "--cache", local_url).failed(2)
    assert "160×120 and 80×60" in line
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_partial_file_is_removed_on_sigterm(
    tmp_path: Path,
) -> None:
    script = (
        "import signal, sys\nfrom pathlib import Path\n"
        "from framecache.cli.files import replace_atomically\n"
        "with replace_atomically(Path(sys.argv[1])) as draft:\n"
        "    draft.write_bytes(b'half')\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "clip.mp4")]
    finished = subprocess.run(command, check=False, timeout=DEADLINE_SECONDS)
    assert finished.returncode == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_growing_timeline_takes_the_frames_that_it_found(
    local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    other = FrameCache(local_url).timeline("t")
    other.write(Frame(n, 0, n / 10, image) for n in range(3))
    index = Timeline.index

    def grow(timeline: Timeline) -> Index:
        found: Index = index.__get__(timeline)
        monkeypatch.undo()
        other.write([Frame(3, 0, 0.3, image)])
        return found

    monkeypatch.setattr(Timeline, "index", property(grow))
    run("export", "t", tmp_path / "out", "--cache", local_url).succeeded()
    rows = [*csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines())]
    assert [row["sequence"] for row in rows] == ["0", "1", "2"]


@pytest.mark.usefixtures("walk")
def test_video_export_with_file_name_options_is_refused(local_url: str, tmp_path: Path) -> None:
    for words in (("--contiguous",), ("--name", "{sequence}.jpg")):
        run("export", "walk", tmp_path / "x.mp4", *words, "--cache", local_url).failed(2)


@pytest.mark.parametrize("name", ["out.png", "OUT.JPG", "out.mkv", "out.mov"])
def test_new_folder_named_like_an_image_or_other_video_is_refused(
    name: str, local_url: str, tmp_path: Path
) -> None:
    run("extract", "walk", clip(), "--fps", "1", "--cache", local_url).succeeded()
    assert name in run("export", "walk", tmp_path / name, "--cache", local_url).failed(2)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()
    run("export", "walk", tmp_path / name, "--cache", local_url).succeeded()
