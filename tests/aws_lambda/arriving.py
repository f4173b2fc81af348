"""Chunks that arrive in a bucket, the events that name them, and what a timeline should be then."""

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus

import numpy as np
from PIL import Image as Pillow

from framecache import FrameCache, Timeline
from framecache.aws_lambda import EventReport, LambdaSettings, process_event
from framecache.store import Store, open_store

BITS = 14
STRIPE = 8
TIMELINE = "cam:1"
LONG_SECONDS = 600.0


def picture(number: int) -> Pillow.Image:
    """Return a picture that shows a number in stripes, lowest bit leftmost."""
    bits = (number >> np.arange(BITS)) & 1
    row = np.repeat(bits * 255, STRIPE).astype(np.uint8)
    return Pillow.fromarray(np.broadcast_to(row, (16, len(row))).copy())


def number_shown(image: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    """Return the number that the stripes of a decoded frame show."""
    middles = image.reshape(16, BITS, STRIPE, 3)[:, :, 3:5].mean(axis=(0, 2, 3)) > 127
    return int(middles @ (1 << np.arange(BITS)))


def clip(number: int, *, frames: int = 1) -> bytes:
    """Return a GIF of frames that all show the number of the chunk."""
    file = io.BytesIO()
    pictures = [picture(number) for _ in range(frames)]
    if frames == 1:
        pictures[0].save(file, "GIF")
    else:
        # Pillow merges equal pictures, so one corner differs.
        for index, one in enumerate(pictures):
            one.putpixel((0, 0), index % 2 * 255)
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=40)
    return file.getvalue()


class Bucket:
    """Bucket into which chunks are uploaded; pattern and events name it."""

    def __init__(self, url: str) -> None:
        """Use a whole bucket: ``memory://name`` or ``s3://name``."""
        self.url = url
        self.name = url.partition("://")[2]
        self.store = open_store(url)

    @property
    def pattern(self) -> str:
        return f"{self.url}/live/{{timeline_id}}/{{number}}.gif"

    def key(self, number: int, timeline_id: str = TIMELINE) -> str:
        return f"live/{timeline_id}/{number}.gif"

    def upload(self, *numbers: int, timeline_id: str = TIMELINE, frames: int = 1) -> None:
        for number in numbers:
            self.store.put(self.key(number, timeline_id), clip(number, frames=frames))

    def settings(self, **changes: Any) -> LambdaSettings:  # noqa: ANN401 -- as the fields
        return LambdaSettings(self.pattern, **changes)

    def event(self, *numbers: int, timeline_id: str = TIMELINE) -> dict[str, Any]:
        """Return an event as S3 sends it directly."""
        return notification(self.name, [self.key(number, timeline_id) for number in numbers])


def notification(bucket: str, keys: Iterable[str]) -> dict[str, Any]:
    """Return a notification of S3 about created objects, whose keys it encodes."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-central-1",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key), "size": 1}},
            }
            for key in keys
        ]
    }


def bridged(bucket: str, key: str) -> dict[str, Any]:
    """Return the event of EventBridge about a created object; its key is not encoded."""
    return {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}},
    }


SCHEDULE = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "videos"}


def queued(bodies: Mapping[str, object]) -> dict[str, Any]:
    """Return an event with messages of SQS by their ids; a body that is not text becomes JSON."""
    return {
        "Records": [
            {
                "messageId": message_id,
                "eventSource": "aws:sqs",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for message_id, body in bodies.items()
        ]
    }


def send(
    cache: FrameCache,
    event: object,
    settings: LambdaSettings,
    *,
    remaining_seconds: float = LONG_SECONDS,
) -> EventReport:
    return process_event(event, cache=cache, settings=settings, remaining_seconds=remaining_seconds)


def shown(timeline: Timeline) -> list[int]:
    """Return the number of the chunk that each frame shows, in order of sequence."""
    frames = [*timeline.frames(missing="raise")]
    assert [frame.sequence for frame in frames] == [*range(len(frames))]
    return [number_shown(frame.image) for frame in frames]


def blobs(cache: FrameCache, folder: str = "lambda") -> list[str]:
    """Return the keys of the blobs of the function in the store of a cache."""
    return sorted(blob.key for blob in cache.store.list(folder))


def with_store(cache: FrameCache, store: Store) -> FrameCache:
    """Return a cache in the same place, whose requests a wrapper of its store makes."""
    other = FrameCache(cache.url)
    other._store = store  # noqa: SLF001 -- a cache takes a URL, not a store
    return other
