"""The main job on real footage: extract once, read as detectors would, save what they drew.

    pip install 'framecache[extract]'
    python examples/demo.py CLIPS FOLDER

``CLIPS`` holds ``bikes.mp4`` and ``bigbuckbunny.mp4``; everything made goes under ``FOLDER``: the
chunks ``c0.mp4``, ``c1.mp4``…, on which the commands of README.md run as they stand, and the cache
that they use there. What a run before has done is not done again.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from framecache import FrameCache, FrameCacheError, Overlays, Progress, Timeline
from framecache.model import Image
from framecache.store import path_of_url

CHUNKS = 3
SAVED_AT_ONCE = 64
CHANGE = 24
"""Levels of 255 by which a pixel differs from that of the frame before, to count as moved."""


@dataclass(frozen=True)
class Job:
    """A run of the pipeline with settings of its own."""

    job_id: str
    edge_thresholds: tuple[int, int]
    smallest_motion: int
    """Pixels of an area that moved."""
    colour: tuple[int, int, int]
    """RGB of what it draws."""


JOBS = (
    Job("sensitive", (40, 80), smallest_motion=150, colour=(0, 220, 255)),
    Job("strict", (120, 240), smallest_motion=1500, colour=(255, 170, 0)),
)

console = Console(highlight=False)


def main(clips: Path, folder: Path) -> None:
    """Fill two timelines, run two jobs on both, and say what was done."""
    cache = FrameCache(folder / ".framecache")
    bikes = cache.timeline("bikes")
    bunny = cache.timeline("bunny")
    chunks = cut_at_keyframes(clips / "bikes.mp4", folder, CHUNKS)

    console.print(f"[bold]1. Extract[/]  {clips / 'bikes.mp4'}, cut into {len(chunks)} chunks")
    extract(bikes, chunks)
    console.print(f"[bold]   Extract[/]  {clips / 'bigbuckbunny.mp4'}, whole")
    extract(bunny, [clips / "bigbuckbunny.mp4"])

    console.print("[bold]2. Read and detect[/]  every frame, in gray, as detectors would")
    for timeline in (bikes, bunny):
        for job in JOBS:
            run(job, timeline)

    console.print("[bold]3. Look[/]")
    for timeline in (bikes, bunny):
        describe(timeline)
    suggest(cache)


def cut_at_keyframes(video: Path, folder: Path, parts: int) -> list[Path]:
    """Cut a video into chunks that begin at keyframes, without re-encoding; once."""
    paths = [folder / f"c{part}.mp4" for part in range(parts)]
    if all(path.exists() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(video), "r") as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        keyframes = [i for i, packet in enumerate(packets) if packet.is_keyframe]
        starts = [keyframes[len(keyframes) * part // parts] for part in range(parts)]
        for path, start, stop in zip(paths, starts, [*starts[1:], len(packets)], strict=True):
            draft = path.with_name(f".{path.name}")
            with av.open(str(draft), "w", format="mp4") as target:
                copy = target.add_stream_from_template(stream)
                for packet in packets[start:stop]:
                    packet.stream = copy
                    target.mux(packet)
            # If this program is ended here, it leaves no partial chunk that looks complete.
            draft.replace(path)
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


def run(job: Job, timeline: Timeline) -> None:
    """Run a job's two stages over every frame, and save what they drew as overlays; once."""
    edges = timeline.overlays(job_id=job.job_id, stage="edges")
    motion = timeline.overlays(job_id=job.job_id, stage="motion")
    if is_drawn(timeline, edges):
        console.print(
            f"   {timeline.timeline_id}, job {job.job_id}: [green]its overlays are there already[/]"
        )
        return
    drawn_edges: dict[int, dict[str, Image]] = {}
    drawn_motion: dict[int, dict[str, Image]] = {}
    began, frame_count, overlay_count = time.monotonic(), 0, 0
    before: Image | None = None
    for frame in timeline.frames(color="gray"):
        smooth = gray(cv2.GaussianBlur(frame.image, (5, 5), 0))
        found = gray(cv2.Canny(smooth, *job.edge_thresholds))
        drawn_edges[frame.sequence] = {"canny": painted(found, job)}
        if before is not None and (boxes := boxes_of_motion(before, smooth, job)):
            drawn_motion[frame.sequence] = {"boxes": outlined(boxes, smooth.shape, job)}
        before = smooth
        frame_count += 1
        overlay_count += 1 + (frame.sequence in drawn_motion)
        if len(drawn_edges) == SAVED_AT_ONCE:
            save(motion, drawn_motion)
            save(edges, drawn_edges)
    save(motion, drawn_motion)
    save(edges, drawn_edges)
    seconds = time.monotonic() - began
    console.print(
        f"   {timeline.timeline_id}, job {job.job_id}: {frame_count} frames read, "
        f"{overlay_count} overlays saved in {seconds:.2f} s: "
        f"[bold]{frame_count / seconds:.0f} frames/s[/]"
    )


def is_drawn(timeline: Timeline, edges: Overlays) -> bool:
    """Return True if a job has drawn on every current frame: its last stage, edges, is complete."""
    listing = edges.listing()
    return listing.sequence == tuple(timeline.sequences()) and not any(listing.stale)


def save(overlays: Overlays, drawn: dict[int, dict[str, Image]]) -> None:
    """Save several drawn overlays at once, and clear the list."""
    overlays.save_many(drawn)
    drawn.clear()


def painted(mask: Image, job: Job) -> Image:
    """Return a picture in the job's color where the mask is set, else transparent."""
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[mask > 0] = (*job.colour, 255)
    return picture


def boxes_of_motion(before: Image, now: Image, job: Job) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each area that moved and is large enough for the job."""
    changed = gray(cv2.threshold(cv2.absdiff(before, now), CHANGE, 255, cv2.THRESH_BINARY)[1])
    joined = gray(cv2.dilate(changed, np.ones((9, 9), np.uint8)))
    _, _, areas, _ = cv2.connectedComponentsWithStats(joined)
    return [
        (int(left), int(top), int(width), int(height))
        for left, top, width, height, pixels in areas[1:]
        if pixels >= job.smallest_motion
    ]


def outlined(boxes: Sequence[tuple[int, int, int, int]], shape: tuple[int, ...], job: Job) -> Image:
    """Boxes in the job's color."""
    mask = np.zeros(shape, np.uint8)
    for left, top, width, height in boxes:
        cv2.rectangle(mask, (left, top, width, height), 255, thickness=2)
    return painted(mask, job)


def gray(picture: cv2.typing.MatLike) -> Image:
    """Return a picture made by OpenCV as an array of bytes."""
    return np.asarray(picture, np.uint8)


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
    folder = Path(path_of_url(cache.url)).parent
    command = shlex.quote(str(Path(sys.executable).with_name("framecache")))
    console.print(
        f"\nEverything is in {folder}. Try next, as in README.md:\n"
        f"   cd {shlex.quote(str(folder))}\n"
        f"   {command} ls\n"
        f"   {command} extract match-42 c0.mp4 c1.mp4 --fps 5\n"
        f"   {command} get match-42 --at 0:02.5 -o frame.jpg\n"
        f"   {command} serve      (what make demo does now, unless it is given SERVE=0)",
        soft_wrap=True,
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except FrameCacheError as error:
        sys.exit(f"demo: {error}")
