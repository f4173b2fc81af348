"""Write the fixture of the current format: a small store, and the videos of its timelines.

    python tests/formats/make_fixture.py

A fixture is what a release stored, so an existing one is never written again: a new format gets a
folder of its own, ``format-{number}``. The videos are chunks in an S3 bucket, because an object's
ETag does not depend on the machine; the bucket is in a server that this script starts.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from unittest import mock

import av
import boto3
import numpy as np

from framecache import Frame, FrameCache, Timeline
from framecache._core import manifest
from framecache._ingest import segments
from framecache.model import Image

FOLDER: Final = Path(__file__).parent
VIDEOS: Final = FOLDER / "videos"
BUCKET: Final = "framecache-formats"
WIDTH, HEIGHT, RATE = 32, 16, 10
FRAMES: Final = {"c0.mp4": 6, "c1.mp4": 4, "c2.mp4": 4}


def make_video(path: Path, *, frames: int, shade: int) -> None:
    """Encode a bar that moves to the right over a plain background."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": "30", "g": "5", "x264-params": "log-level=none"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            image = picture(shade, at=3 * number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def picture(shade: int, *, at: int) -> Image:
    """Return a plain picture with a bar of 6 columns, which continues at the left edge."""
    image = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    image[:, (np.arange(6) + at) % WIDTH, 1] = 255
    return image


def fill(cache: FrameCache) -> None:
    """Store one timeline per layout, one of written frames, and one of frames alone.

    The chunks have segments of two frames or more, from one keyframe to another.
    """
    limits = segments.SegmentLimits(Fraction(0), min_frames=2)
    with mock.patch.object(segments, "LIMITS", limits):
        cache.timeline("objects").extract(urls("c0.mp4", "c1.mp4"))
        cache.timeline("packs").extract(urls("c0.mp4"), every=2, layout="packs")
    cache.timeline("objects").sprites().sheet(0)
    cache.timeline("watched").extract(urls("c0.mp4"), layout="video")
    written = cache.timeline("written")
    written.write([Frame(n, 0, n / RATE, picture(90, at=5 * n)) for n in range(3)])
    written.write([Frame(1, 0, 1 / RATE, picture(160, at=5))], on_conflict="replace", quality=60)
    written.overlays(job_id="job", stage="edges").save(1, {"mask": np.eye(16, 32, dtype=np.uint8)})
    # As a program without framecache stores frames: JPEGs at the public keys, and no index.
    stored = cache.timeline("written").jpeg(0)
    cache.store.put("cache/timelines/frames-only/frames/0.jpg", stored)


def urls(*names: str) -> list[str]:
    """Return the URLs of videos in the bucket."""
    return [f"s3://{BUCKET}/{name}" for name in names]


def contents(timeline: Timeline) -> list[dict[str, Any]]:
    """Return what a reader of a timeline gets: the metadata and stored bytes of each frame."""
    return [
        {
            "sequence": row.sequence,
            "chunk_id": row.chunk_id,
            "timestamp": row.timestamp,
            "perceptual_hash": row.perceptual_hash,
            "sha256": hashlib.sha256(timeline.jpeg(row.sequence)).hexdigest(),
        }
        for row in timeline.index.rows(range(len(timeline.index)))
    ]


def upload_videos(endpoint: str) -> None:
    """Create the bucket, and store the videos in it."""
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    for path in sorted(VIDEOS.iterdir()):
        client.put_object(Bucket=BUCKET, Key=path.name, Body=path.read_bytes())
    client.close()


@contextmanager
def s3_server() -> Iterator[str]:
    """Start an S3 server on loopback, for this process alone; yield its endpoint."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 -- slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    try:
        yield endpoint
    finally:
        server.stop()


def main() -> None:
    """Write the fixture, unless there is one of this format."""
    folder = FOLDER / f"format-{manifest.FORMAT}"
    if folder.exists():
        sys.exit(f"{folder} exists, and stays as it is: it is what a release stored")
    draft = folder.with_name(f"draft-{folder.name}")
    VIDEOS.mkdir(exist_ok=True)
    for number, (name, frames) in enumerate(FRAMES.items()):
        if not (VIDEOS / name).exists():
            make_video(VIDEOS / name, frames=frames, shade=40 * (number + 1))
    with s3_server() as endpoint:
        upload_videos(endpoint)
        cache = FrameCache(draft / "store")
        fill(cache)
        expected = {name: contents(cache.timeline(name)) for name in cache.timelines()}
    (draft / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    draft.rename(folder)


if __name__ == "__main__":
    main()
