"""Read the frames that a job needs: scenes, frames that changed, and frames as they are committed.

    python examples/select_frames.py VIDEO... --cache FOLDER

A second thread extracts the videos while the first one follows them. In practice these are two
programs, on two machines.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from framecache import FrameCache, Timeline

MIN_CHANGE = 8
"""Bits of the perceptual hash in which a frame differs from the last one that was processed."""


def main(videos: list[Path], cache: FrameCache) -> None:
    """Follow an extraction, then print the scenes and the number of frames that changed."""
    timeline = cache.timeline("example")
    with ThreadPoolExecutor(1) as pool:
        extracting = pool.submit(timeline.extract, videos)
        followed = count_while_extracted(cache.timeline("example"))
        extracting.result()
    print(f"followed {followed} frames")
    for number, scene in enumerate(timeline.scenes()):
        frames = f"frames {scene.start} to {scene.stop - 1}"
        print(f"scene {number}: {frames}, {scene.start_seconds:.3f} to {scene.stop_seconds:.3f} s")
    changed = timeline.sequences(min_change=MIN_CHANGE)
    print(f"{len(changed)} of {len(timeline)} frames changed")


def count_while_extracted(timeline: Timeline) -> int:
    """Count the frames of a timeline that another program is extracting."""
    return sum(1 for _ in timeline.frames(follow="complete", timeout_seconds=600, scale=0.25))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    main(arguments.videos, FrameCache(arguments.cache))
