"""Cost of Ray on one machine, compared with the same work without it."""

from typing import Final

from benchmarks.model import Aim, Contestant, Task
from benchmarks.tasks import writing

ENVIRONMENT: Final = "framecache-ray"
JOBS: Final = "ray_fleet"

EXTRACT: Final = Contestant("extract()", "limit", f"{JOBS}:extract_alone", environment=ENVIRONMENT)
FRAMES: Final = Contestant("frames()", "limit", f"{JOBS}:read_alone", environment=ENVIRONMENT)

TASKS: Final = (
    Task(
        "ray-extract",
        "8 chunks → local JPEGs, a cluster of one machine",
        (
            EXTRACT,
            Contestant("ray.extract()", "ours", f"{JOBS}:extract_on_ray", environment=ENVIRONMENT),
        ),
        (Aim("of extract()", at_least=0.85, against=(EXTRACT.name,)),),
        tolerance=writing.COLOURS,
    ),
    Task(
        "ray-read",
        "Local folder → numpy, a cluster of one machine",
        (
            FRAMES,
            Contestant("read_frames()", "ours", f"{JOBS}:read_on_ray", environment=ENVIRONMENT),
        ),
        (Aim("of frames()", at_least=0.80, against=(FRAMES.name,)),),
    ),
)
