"""Append videos to a timeline by events of their arrival, in random order and each twice.

    python examples/append_by_events.py c0.mp4 c1.mp4 c2.mp4

This is what `framecache.aws_lambda.handler` does on AWS Lambda; here the videos are in a bucket in
memory, and the events are made by this program.
"""

import argparse
import random
from pathlib import Path

from framecache import FrameCache
from framecache.aws_lambda import LambdaSettings, process_event

BUCKET = "videos"
TIMELINE = "match"


def main() -> None:
    """Append the videos, and print what each event did."""
    parser = argparse.ArgumentParser(description="Append videos by events of their arrival.")
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--cache", default="memory://cache")
    arguments = parser.parse_args()

    cache = FrameCache(arguments.cache)
    settings = LambdaSettings(f"memory://{BUCKET}/{{timeline_id}}/{{number}}", fps=5)
    bucket = FrameCache(f"memory://{BUCKET}").store
    keys = [f"{TIMELINE}/{number}" for number in range(len(arguments.videos))]
    for key, path in zip(keys, arguments.videos, strict=True):
        bucket.put(key, path.read_bytes())

    deliveries = keys * 2
    random.shuffle(deliveries)
    for key in deliveries:
        event = created_event(key)
        report = process_event(event, cache=cache, settings=settings, remaining_seconds=60)
        report.to_response()  # raises the error of an event that failed
        [timeline] = report.timelines
        print(f"{key}: appended {list(timeline.appended)}, {timeline.waiting} waiting")
    info = cache.timeline(TIMELINE).info()
    print(f"{info.frame_count} frames of {len(info.chunks)} videos")


def created_event(key: str) -> dict[str, object]:
    """Return the event that EventBridge sends when an object was created."""
    detail = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


if __name__ == "__main__":
    main()
