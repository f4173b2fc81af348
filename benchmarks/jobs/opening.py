"""Process that opens a long timeline, and its costs."""

import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.contract import Inputs
from benchmarks.jobs import s3
from benchmarks.jobs.long_index import FPS, JSON_KEY, LOOKUPS, TIMELINE
from framecache import FrameCache

Lookup = Callable[[int], int]
"""By sequence or by time: the sequence found."""


def measure(name: str) -> None:
    """Print the figures of one way as JSON."""
    inputs = Inputs.from_json(sys.argv[1])
    openings: dict[str, Callable[[Inputs], dict[str, Lookup]]] = {
        "open_timeline": open_timeline,
        "open_json": open_json,
    }
    warm_up(inputs)
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    began = time.perf_counter()
    lookups = openings[name](inputs)
    for lookup in lookups.values():
        lookup(0)  # framecache decodes columns when they are first asked for
    figures = {"open_s": time.perf_counter() - began}
    for what, lookup in lookups.items():
        figures[f"{what}_us"] = 1e6 * median_seconds(lookup, inputs.index_frames)
    figures["memory_mb"] = memory_mb("VmRSS") - before
    figures["peak_mb"] = memory_mb("VmHWM") - before
    print(json.dumps(figures))


def warm_up(inputs: Inputs) -> None:
    """Open a timeline of a few frames first: imports and connections are not measured."""
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline("objects")
    timeline.sequence_at(0.0)
    timeline.index.row(0)
    s3.get(s3.client(inputs.endpoint), inputs.bucket, inputs.key(0))


def open_timeline(inputs: Inputs) -> dict[str, Lookup]:
    timeline = FrameCache(f"s3://{inputs.bucket}").timeline(TIMELINE)
    index = timeline.index
    assert len(index) == inputs.index_frames

    def by_sequence(sequence: int) -> int:
        position = index.position(sequence)
        assert position is not None
        return index.row(position).sequence

    return {
        "by_sequence": by_sequence,
        "by_time": lambda sequence: timeline.sequence_at((sequence + 0.5) / FPS),
    }


def open_json(inputs: Inputs) -> dict[str, Lookup]:
    body = s3.get(s3.client(inputs.endpoint), inputs.bucket, JSON_KEY)
    rows = json.loads(body)
    by_sequence = {row["seq"]: row for row in rows}
    times = np.array([row["timestamp"] for row in rows])

    def by_time(sequence: int) -> int:
        position = np.searchsorted(times, (sequence + 0.5) / FPS, side="right") - 1
        return int(rows[position]["seq"])

    return {"by_sequence": lambda sequence: int(by_sequence[sequence]["seq"]), "by_time": by_time}


def median_seconds(lookup: Lookup, frames: int) -> float:
    random, took = Random(5), []
    for _ in range(LOOKUPS):
        sequence = random.randrange(frames)
        began = time.perf_counter()
        found = lookup(sequence)
        took.append(time.perf_counter() - began)
        assert found == sequence
    return statistics.median(took)


def memory_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
