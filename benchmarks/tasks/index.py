"""The index of a timeline of a million frames."""

from typing import Final

from benchmarks.model import Aim, Contestant, Preparation, Task

LONG: Final = Preparation("long_index:prepare")
OURS: Final = Contestant("framecache", "ours", "long_index:ours", after=LONG)
JSON: Final = Contestant("one JSON document", "peer", "long_index:as_json", after=LONG)

TASKS: Final = (
    Task(
        "index",
        "Index of a million frames, from S3, direct",
        (OURS, JSON),
        (
            Aim("s to open, and find a first frame", at_most=0.5, measure="open_s"),
            Aim("µs to find a frame by sequence", at_most=50.0, measure="by_sequence_us"),
            Aim("µs to find a frame by time", at_most=50.0, measure="by_time_us"),
            Aim("MB of memory", at_most=100.0, measure="memory_mb"),
            Aim("JSON, opened", at_least=5.0, measure="open_s", against=(JSON.name,)),
        ),
        tolerance=None,
        shows_rates=False,
        columns={
            "open_s": "open, and find a first frame, s",
            "by_sequence_us": "by sequence, µs",
            "by_time_us": "by time, µs",
            "memory_mb": "memory, MB",
            "peak_mb": "peak while opening, MB",
        },
    ),
)
