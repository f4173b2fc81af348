"""The main job on real footage: extract once, read as a detector would, save what it drew.

    python examples/demo.py CLIPS FOLDER

``CLIPS`` holds ``bikes.mp4`` and ``bigbuckbunny.mp4``; everything made goes under ``FOLDER``.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from framecache import FrameCache, FrameCacheError, Progress, Timeline

CHUNKS = 3
JOB_ID = "demo"
STAGE = "edges"

console = Console(highlight=False)


def main(clips: Path, folder: Path) -> None:
    """Fill two timelines, detect edges on both, and say what was done."""
    cache = FrameCache(folder / "cache")
    bikes = cache.timeline("bikes")
    bunny = cache.timeline("bunny")
    chunks = cut_at_keyframes(clips / "bikes.mp4", folder / "chunks", CHUNKS)

    console.print(f"[bold]1. Extract[/]  {clips / 'bikes.mp4'}, cut into {len(chunks)} chunks")
    extract(bikes, chunks)
    console.print(f"[bold]   Extract[/]  {clips / 'bigbuckbunny.mp4'}, whole")
    extract(bunny, [clips / "bigbuckbunny.mp4"])

    console.print("[bold]2. Read and detect[/]  every frame, in gray, as a detector would")
    for timeline in (bikes, bunny):
        detect_edges(timeline)

    console.print("[bold]3. Look[/]")
    for timeline in (bikes, bunny):
        describe(timeline)
    suggest(cache)


def cut_at_keyframes(video: Path, folder: Path, parts: int) -> list[Path]:
    """Cut a video into chunks that begin at keyframes, without re-encoding; once."""
    paths = [folder / f"{video.stem}-{part}.mp4" for part in range(parts)]
    if all(path.exists() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(video), "r") as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        keyframes = [i for i, packet in enumerate(packets) if packet.is_keyframe]
        starts = [keyframes[len(keyframes) * part // parts] for part in range(parts)]
        for path, start, stop in zip(paths, starts, [*starts[1:], len(packets)], strict=True):
            with av.open(str(path), "w") as target:
                copy = target.add_stream_from_template(stream)
                for packet in packets[start:stop]:
                    packet.stream = copy
                    target.mux(packet)
    return paths


def extract(timeline: Timeline, chunks: Sequence[Path]) -> None:
    """Extract a timeline's chunks under a progress bar; a cached timeline is a cache hit."""
    columns = (
        TextColumn("   {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} frames/s"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(timeline.timeline_id, total=None, rate=0.0)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.frames_total,
                completed=progress.frames_done,
                rate=progress.frames_done / (time.monotonic() - began),
            )

        report = timeline.extract(chunks, progress=show)
    if not report.chunks_extracted:
        console.print(
            f"   [green]cache hit[/]: all {report.frame_count} frames are there already "
            f"({report.seconds:.3f} s)"
        )
        return
    rate = report.frames_extracted / report.seconds
    console.print(
        f"   {report.frames_extracted} frames from {len(chunks)} video file(s), "
        f"{report.bytes_stored / 1e6:.1f} MB of JPEG, in {report.seconds:.2f} s: "
        f"[bold]{rate:.0f} frames/s[/]"
    )


def detect_edges(timeline: Timeline) -> None:
    """Run an edge detector over every frame, and save what it drew as overlays."""
    overlays = timeline.overlays(job_id=JOB_ID, stage=STAGE)
    began, found = time.monotonic(), 0
    for frame in timeline.frames(color="gray"):
        smooth = cv2.GaussianBlur(frame.image, (5, 5), 0)
        edges = cv2.Canny(smooth, 80, 160)
        overlays.save(frame.sequence, {"canny": edges})
        found += 1
    seconds = time.monotonic() - began
    console.print(
        f"   {timeline.timeline_id}: {found} frames read, {found} overlays saved in "
        f"{seconds:.2f} s: [bold]{found / seconds:.0f} frames/s[/]"
    )


def describe(timeline: Timeline) -> None:
    """Say what a timeline holds."""
    info = timeline.info()
    overlays = sum(count for stages in timeline.jobs().values() for count in stages.values())
    console.print(
        f"   {info.timeline_id}: {info.frame_count} frames of {info.width}x{info.height}, "
        f"{info.duration_seconds:.2f} s, {info.size_bytes / 1e6:.1f} MB, {overlays} overlays"
    )


def suggest(cache: FrameCache) -> None:
    """Say where everything lies, and what to try next."""
    command = f".venv/bin/framecache --cache {cache.url}"
    console.print(
        f"\nEverything lies in {cache.url}. Try next:\n"
        f"   {command} ls\n"
        f"   {command} info bikes\n"
        f"   {command} get bikes --at 4.2 -o frame.jpg\n"
        f"   make demo            (again: it is a cache hit)",
        soft_wrap=True,
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except FrameCacheError as error:
        sys.exit(f"demo: {error}")
