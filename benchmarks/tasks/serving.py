"""Viewers that scrub at once."""

from typing import Final

from benchmarks.model import Contestant, Task

NGINX: Final = Contestant("nginx, the same files", "peer", "scrubbing:nginx")
OURS: Final = Contestant("framecache", "ours", "scrubbing:framecache")
TASKS: Final = (
    Task(
        "scrubbing",
        "64 clients scrub through a timeline of a local folder",
        (NGINX, OURS),
        tolerance=None,
        shows_rates=False,  # all take as long, and are asked as often as they answer
        columns={
            "answers_per_second": "frames/s",
            "p50_ms": "p50, ms",
            "p99_ms": "p99, ms",
            "cpu_ms": "CPU ms a frame, with wrk",
        },
    ),
)
