"""Differences between the plain functions and a plain module: random calls on one S3 server.

The plain module is the one in this file: one JPEG object a frame, by boto3 and Pillow, and a JSON
object with the frames' metadata. Documented differences: a frame without a hash is given the
one that is computed; frames are stored as framecache's encoder makes them, so pictures are compared
as pixels.
"""

import base64
import io
import json
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import functional
from outside import mean_error
from proving import Proof

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

TIMELINES: Final = ("match-42", "2024-01-02T03:04:05+01:00")
JOBS: Final = ("run-7", "2024-05-06T07:08:09", "a=b,c@d~e")
NAMES: Final = ("mask", "left:eye", "a_b")
SEQUENCES: Final = (0, 1, 2, 7, 10)
_MOST_ERROR: Final = 5.0
"""Between two encoders at qualities from 60 up, of smooth pictures."""


@dataclass
class Own:
    """Frame class of a caller."""

    sequence: int
    chunk_id: int
    timestamp: float
    image: Any
    perceptual_hash: str | None


class Plain:
    """Plain module with one JPEG object a frame; the last write of a frame counts."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def cache_exists(self, timeline_id: str) -> bool:
        return bool(self._list(f"cache/timelines/{timeline_id}/frames/"))

    def cache_frames(self, timeline_id: str, frames: list[Own], quality: int = 85) -> int:
        metadata = self._metadata(timeline_id)
        for frame in frames:
            encoded = io.BytesIO()
            image = frame.image
            if not isinstance(image, Pillow.Image):
                image = Pillow.fromarray(image)
            image.convert("RGB").save(encoded, "JPEG", quality=quality)
            key = f"cache/timelines/{timeline_id}/frames/{frame.sequence}.jpg"
            self._put(key, encoded.getvalue())
            metadata[str(frame.sequence)] = [
                frame.chunk_id,
                frame.timestamp,
                frame.perceptual_hash or "",
            ]
        self._put(f"cache/timelines/{timeline_id}/frames.json", json.dumps(metadata).encode())
        return len({frame.sequence for frame in frames})

    def load_cached_frames(self, timeline_id: str) -> list[Own]:
        metadata = self._metadata(timeline_id)
        prefix = f"cache/timelines/{timeline_id}/frames/"
        numbers = sorted(int(key.removeprefix(prefix)[:-4]) for key in self._list(prefix))
        frames = []
        for number in numbers:
            with Pillow.open(io.BytesIO(self._get(f"{prefix}{number}.jpg"))) as image:
                pixels = np.asarray(image.convert("RGB"))
            chunk_id, timestamp, name = metadata.get(str(number), [0, 0.0, ""])
            frames.append(Own(number, chunk_id, timestamp, pixels, name))
        return frames

    def save_overlays(
        self, timeline_id: str, job_id: str, stage: str, seq: int, overlays: dict[str, str]
    ) -> None:
        for name, text in overlays.items():
            key = f"cache/timelines/{timeline_id}/overlays/{job_id}/{stage}/{seq}_{name}.png"
            self._put(key, base64.b64decode(text.rpartition(",")[2]))

    def load_overlays(
        self, timeline_id: str, job_id: str, stage: str, seq: int
    ) -> dict[str, str] | None:
        prefix = f"cache/timelines/{timeline_id}/overlays/{job_id}/{stage}/{seq}_"
        found = {
            key.removeprefix(prefix)[:-4]: base64.b64encode(self._get(key)).decode()
            for key in self._list(prefix)
        }
        return found or None

    def list_overlay_frames(self, timeline_id: str, job_id: str, stage: str) -> list[int]:
        prefix = f"cache/timelines/{timeline_id}/overlays/{job_id}/{stage}/"
        return sorted({int(key.removeprefix(prefix).split("_")[0]) for key in self._list(prefix)})

    def clear_cache(self, timeline_id: str) -> None:
        keys = self._list(f"cache/timelines/{timeline_id}/frames")
        for key in keys:
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _metadata(self, timeline_id: str) -> dict[str, Any]:
        keys = self._list(f"cache/timelines/{timeline_id}/frames.json")
        metadata: dict[str, Any] = json.loads(self._get(keys[0])) if keys else {}
        return metadata

    def _list(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return sorted(blob["Key"] for page in pages for blob in page.get("Contents", []))

    def _get(self, key: str) -> bytes:
        with self._client.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
            return bytes(body.read())

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)


def smooth(choose: random.Random) -> np.ndarray:
    """Return a picture of any size that encoders hardly change."""
    height, width = choose.choice([(32, 48), (24, 32), (17, 33)])
    rows, columns = np.mgrid[0:height, 0:width]
    bright = (rows * choose.random() + columns * choose.random()) * 2 + choose.randrange(120)
    pixels: np.ndarray = np.clip(bright, 0, 255).astype(np.uint8)
    return pixels


def image(choose: random.Random) -> object:
    gray = smooth(choose)
    rgb = np.dstack([gray] * 3)
    return choose.choice([rgb, gray, Pillow.fromarray(gray), Pillow.fromarray(rgb)])


def frames(choose: random.Random) -> list[Own]:
    return [
        Own(
            choose.choice(SEQUENCES),
            choose.randrange(4),
            choose.randrange(1000) / 8,
            image(choose),
            choose.choice([None, "", "f" * 16, "A" * 64, "any text"]),
        )
        for _ in range(choose.randrange(5))
    ]


def overlays(choose: random.Random) -> dict[str, str]:
    given = {}
    for name in choose.sample(NAMES, choose.randrange(1, 3)):
        png = io.BytesIO()
        Pillow.fromarray(smooth(choose)).save(png, "PNG")
        text = base64.b64encode(png.getvalue()).decode()
        wrapped = base64.encodebytes(png.getvalue()).decode()
        given[name] = choose.choice([text, wrapped, f"data:image/png;base64,{text}"])
    return given


def compare_frames(plain: Plain, timeline_id: str) -> None:
    theirs, ours = plain.load_cached_frames(timeline_id), functional.load_cached_frames(timeline_id)
    encoded = functional.load_cached_frames_b64(timeline_id)
    assert [f.sequence for f in ours] == [f.sequence for f in theirs]
    assert [one["seq"] for one in encoded] == [f.sequence for f in theirs]
    for one, other, jpeg in zip(ours, theirs, encoded, strict=True):
        assert (one.chunk_id, one.timestamp) == (other.chunk_id, other.timestamp)
        assert jpeg["timestamp"] == other.timestamp
        # A frame without a hash is given the one that is computed.
        assert one.perceptual_hash == other.perceptual_hash or not other.perceptual_hash
        assert one.image.shape == other.image.shape
        assert mean_error(one.image, other.image) <= _MOST_ERROR
        with Pillow.open(io.BytesIO(base64.b64decode(jpeg["jpeg_b64"]))) as stored:
            assert mean_error(one.image, np.asarray(stored.convert("RGB"))) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_random_calls_match_plain_module_with_one_object_per_frame(
    seed: int, ceph_url: str, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    url = ceph_url
    monkeypatch.setenv("FRAMECACHE_URL", url)
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket = f"{url.removeprefix('s3://')}-plain"
    client.create_bucket(Bucket=bucket)
    plain, choose = Plain(client, bucket), random.Random(seed)
    count = proof.size(short=25, long=400)
    for _ in range(count):
        timeline_id, job = choose.choice(TIMELINES), choose.choice(JOBS)
        step = choose.choice(["cache"] * 4 + ["save"] * 3 + ["clear", "exists"])
        if step == "cache":
            given, quality = frames(choose), choose.choice([60, 85, 95])
            assert functional.cache_frames(timeline_id, given, quality) == plain.cache_frames(
                timeline_id, given, quality
            )
        elif step == "save":
            where = (timeline_id, job, "edges", choose.choice(SEQUENCES))
            drawn = overlays(choose)
            functional.save_overlays(*where, drawn)
            plain.save_overlays(*where, drawn)
            assert functional.load_overlays(*where) == plain.load_overlays(*where)
        elif step == "clear":
            functional.clear_cache(timeline_id)
            plain.clear_cache(timeline_id)
        assert functional.cache_exists(timeline_id) == plain.cache_exists(timeline_id)
        compare_frames(plain, timeline_id)
        listed = functional.list_overlay_frames(timeline_id, job, "edges")
        assert listed == plain.list_overlay_frames(timeline_id, job, "edges")
    proof.found(calls=count)
