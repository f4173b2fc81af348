"""Extract two timelines on a Ray cluster, read their frames as a dataset, and draw on them.

    python examples/ray_fleet.py CLIP FOLDER [ADDRESS]

Without an address, it starts a cluster on this machine, which listens on loopback only. The nodes
of a cluster must share the folder, or be given a bucket instead. Needs the extras ``ray`` and
``extract``.
"""

import os
import sys
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported

import ray
from ray.data.expressions import col

from framecache import FrameCache
from framecache.ray import ExtractProgress, OverlaySink, extract, read_frames

BRIGHT = 128


def main(clip: str, folder: str, address: str | None = None) -> None:
    """Extract, read and draw."""
    if address is None:
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1")
    else:
        ray.init(address)
    ray.data.DataContext.get_current().enable_progress_bars = False
    cache = FrameCache(folder)

    reports = extract({"left": clip, "right": clip}, cache=cache, fps=5, progress=show)
    for name, report in reports.items():
        print(f"{name}: {report.frames_extracted} frames of {report.chunks_extracted} chunk")

    dataset = read_frames([*reports], cache=cache, scale=0.5)
    first = dataset.filter(expr=col("timestamp") < 1).select_columns(["timeline_id", "sequence"])
    print(f"{first.count()} frames in the first second, of {dataset.count()}")

    sink = OverlaySink(cache, job_id="example", stage="bright", overlays={"bright": "mask"})
    dataset.map(draw).write_datasink(sink)
    overlays = cache.timeline("left").overlays(job_id="example", stage="bright")
    print(f"left: overlays on {len(overlays.frames())} frames")
    ray.shutdown()


def draw(row: dict[str, Any]) -> dict[str, Any]:
    """Mark the bright pixels of a frame."""
    bright = row["image"].mean(axis=2) > BRIGHT
    return {"timeline_id": row["timeline_id"], "sequence": row["sequence"], "bright": bright}


def show(progress: ExtractProgress) -> None:
    """Print the progress of an extraction."""
    print(f"{progress.chunks_done} of {progress.chunks_total} chunks", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
