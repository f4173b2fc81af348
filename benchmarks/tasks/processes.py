"""Reading in worker processes: forked processes compared with spawned ones."""

from typing import Final

from benchmarks.contract import Settings
from benchmarks.model import DIRECT, NEAR, Aim, Contestant, Preparation, Task
from benchmarks.tasks.reading import PACKS
from benchmarks.turnaround.pace import Network

SPAWNED: Final = "framecache, spawned process"
OF_SPAWNED: Final = Aim("of a spawned process", at_least=0.80, against=(SPAWNED,))


def task(
    name: str,
    title: str,
    job: str,
    settings: Settings,
    *,
    network: Network = DIRECT,
    after: Preparation | None = None,
) -> Task:
    spawned = Contestant(SPAWNED, "limit", job, [dict(settings) | {"start": "spawn"}], after=after)
    forked = Contestant(
        "framecache, forked process", "ours", job, [dict(settings) | {"start": "fork"}], after=after
    )
    return Task(name, title, (spawned, forked), (OF_SPAWNED,), network)


OBJECTS: Final = {"layout": "objects"}
IN_PACKS: Final = {"layout": "packs"}

TASKS: Final = (
    task(
        "worker-local",
        "Local folder → numpy, all frames, in a worker process",
        "processes:iterate_locally",
        {},
    ),
    task(
        "worker-packs-direct",
        "S3 → numpy, packs, direct, in a worker process",
        "processes:iterate",
        IN_PACKS,
        after=PACKS,
    ),
    task(
        "worker-objects-direct",
        "S3 → numpy, objects, direct, in a worker process",
        "processes:iterate",
        OBJECTS,
    ),
    task(
        "worker-packs-30ms",
        "S3 → numpy, packs, 30 ms, in a worker process",
        "processes:iterate",
        IN_PACKS,
        network=NEAR,
        after=PACKS,
    ),
    task(
        "workers-one-by-one",
        "S3 → numpy, objects, direct, frame by frame in two worker processes",
        "processes:load",
        OBJECTS,
    ),
)
