"""Export the frames of a timeline to WebDataset shards, and read them without framecache.

    python examples/export_frames.py match-42 shards

The cache is $FRAMECACHE_URL, else ./.framecache.
"""

import argparse
import json
import tarfile
from pathlib import Path

from framecache import FrameCache


def main() -> None:
    """Export, then print the time of the first and last frame of each shard."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("timeline_id")
    arguments.add_argument("folder", type=Path, help="a new folder")
    arguments.add_argument("--shard-bytes", type=int, default=2**28)
    given = arguments.parse_args()

    timeline = FrameCache().timeline(given.timeline_id)
    report = timeline.export_frames(
        given.folder, format="webdataset", shard_bytes=given.shard_bytes
    )
    print(f"{report.frames_exported} frames, {report.bytes_exported} bytes")
    for shard in sorted(given.folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            files = [tar.extractfile(one) for one in tar if one.name.endswith(".json")]
            times = [json.load(file)["timestamp"] for file in files if file is not None]
        print(f"{shard.name}: {len(times)} frames, {times[0]:.3f} to {times[-1]:.3f} s")


if __name__ == "__main__":
    main()
