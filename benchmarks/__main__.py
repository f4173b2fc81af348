"""``python -m benchmarks CLIPS [--rounds N] [--frames N]``: print the figures of this machine."""

import argparse
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import clips, extracting, footprint, reading
from benchmarks.measure import Result, cores, interleave
from framecache import Frame, FrameCache, __version__

console = Console(highlight=False)


def main() -> None:
    arguments = parse()
    console.print(
        f"framecache {__version__}, Python {platform.python_version()}, {cores()} cores; "
        f"{arguments.rounds} interleaved rounds after a warm-up, medians"
    )
    with scratch() as folder:
        clip = clips.repeat(
            arguments.clips / "bigbuckbunny.mp4",
            arguments.clips / f"bunny-x{arguments.repeats}.mp4",
            arguments.repeats,
        )
        extract_and_read(clip, folder, arguments.rounds)
        memory(clip, folder, arguments.frames)
    imports(arguments.rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("clips", type=Path, help="folder with bigbuckbunny.mp4")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=4, help="times the clip is repeated")
    parser.add_argument("--frames", type=int, default=20_000, help="frames of the memory test")
    return parser.parse_args()


def extract_and_read(clip: Path, folder: Path, rounds: int) -> None:
    results = interleave(extracting.contenders(clip, folder / "jpegs"), rounds=rounds)
    show("Video → local JPEGs, 1280x720 H.264", results, extracting.LIMIT, extracting.OURS)
    cache = folder / "read"
    timeline = FrameCache(cache).timeline("clip")
    timeline.extract(clip)
    frames_folder = cache / "cache" / "timelines" / "clip" / "frames"
    results = interleave(reading.contenders(timeline, frames_folder), rounds=rounds)
    show("Local cache → numpy, 1280x720", results, reading.LIMIT, reading.OURS)


def memory(clip: Path, folder: Path, frames: int) -> None:
    """Read a long timeline of 720p frames in a process of its own."""
    cache = FrameCache(folder / "long")
    source = FrameCache(folder / "read").timeline("clip").frame(0)
    small = source.image
    cache.timeline("long").write(
        (Frame(number, 0, number / 25, small, "0" * 16) for number in range(frames)), quality=50
    )
    count, peak = footprint.peak_mb_of_reading(folder / "long")
    console.print(f"\nMemory: frames() over {count} frames of {clip.stem} peaks at {peak:.0f} MB")


def imports(rounds: int) -> None:
    ours = footprint.import_seconds("framecache", rounds=rounds)
    numpy = footprint.import_seconds("numpy", rounds=rounds)
    console.print(f"Import: framecache {ours:.3f} s, of which numpy alone {numpy:.3f} s")


def show(title: str, results: Mapping[str, Result], limit: str, ours: str) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("frames/s", "CPU ms/frame", "of the limit", "framecache is"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{result.frames_per_second:.0f}",
            f"{result.cpu_ms_per_frame:.2f}",
            f"{result.speed_of(results[limit]):.2f}",
            "" if name == ours else f"{results[ours].speed_of(result):.2f}×",
        )
    console.print()
    console.print(table)


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="framecache-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
