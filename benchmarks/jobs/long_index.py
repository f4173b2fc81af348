"""A timeline of very many frames: opening it, and finding one, each time in a fresh process."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from benchmarks.contract import Figures, Inputs, Job, Pass
from benchmarks.jobs import s3
from framecache import FrameCache
from framecache._core.keys import written_part
from framecache._core.manifest import Settings, first_manifest
from framecache._index import (
    FrameRow,
    PartBuilder,
    commit_part,
    compact,
    load_snapshot,
    update_manifest,
)

TIMELINE = "long"
JSON_KEY = "long.json"
PARTS = 100
LOOKUPS = 1000
FPS = 25


def prepare(inputs: Inputs) -> Job:
    """Commit a timeline whose frames are never read; and the same as one JSON document."""

    def work(_: Pass) -> None:
        store = FrameCache(f"s3://{inputs.bucket}").store
        names = [written_part(number) for number in range(PARTS)]

        description = update_manifest(
            store,
            TIMELINE,
            lambda _: first_manifest(TIMELINE, Settings(), written_parts=tuple(names)),
        )
        share = inputs.index_frames // PARTS
        for number, name in enumerate(names):
            part = PartBuilder()
            for frame in rows(range(number * share, (number + 1) * share)):
                part.add(frame)
            commit_part(store, description, name, part.build(), provenance={})
        compact(store, description, load_snapshot(store, TIMELINE))
        document = [
            {
                "seq": frame.sequence,
                "timestamp": frame.timestamp,
                "chunk_id": frame.chunk_id,
                "perceptual_hash": frame.perceptual_hash,
            }
            for frame in rows(range(share * PARTS))
        ]
        body = json.dumps(document).encode()
        s3.client(inputs.server).put_object(Bucket=inputs.bucket, Key=JSON_KEY, Body=body)

    return Job(work)


def rows(sequences: range) -> Iterator[FrameRow]:
    """Rows as those of extracted frames: sizes, checksums and hashes do not compress."""
    random = Random(sequences.start)
    for sequence in sequences:
        yield FrameRow(
            sequence=sequence,
            chunk_id=sequence // 10_000,
            timestamp=sequence / FPS,
            duration=1 / FPS,
            width=1280,
            height=720,
            key=f"cache/timelines/{TIMELINE}/frames/{sequence}.jpg",
            offset=0,
            size=random.randrange(120_000, 180_000),
            crc32c=random.getrandbits(32),
            perceptual_hash=f"{random.getrandbits(64):016x}",
            status="ok",
            pts=sequence * 512,
        )


def ours(inputs: Inputs) -> Job:
    return Job(in_fresh_process("open_timeline", inputs))


def as_json(inputs: Inputs) -> Job:
    return Job(in_fresh_process("open_json", inputs))


def in_fresh_process(name: str, inputs: Inputs) -> Callable[[Pass], Figures]:
    code = f"from benchmarks.jobs.opening import measure; measure({name!r})"
    command = [sys.executable, "-c", code, inputs.to_json()]

    def work(_: Pass) -> Figures:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    return work
