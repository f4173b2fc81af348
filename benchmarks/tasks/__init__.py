"""Measurements, with what each is compared to, and the aims."""

from collections.abc import Sequence

from benchmarks.model import Task
from benchmarks.tasks import (
    fleet,
    footprint,
    index,
    local,
    long_videos,
    processes,
    random_access,
    reading,
    renditions,
    serving,
    training,
    writing,
)

TASKS: Sequence[Task] = (
    *reading.TASKS,
    *renditions.TASKS,
    *writing.TASKS,
    *local.TASKS,
    *processes.TASKS,
    *random_access.TASKS,
    *index.TASKS,
    *footprint.TASKS,
    *serving.TASKS,
    *training.TASKS,
    *long_videos.TASKS,
    *fleet.TASKS,
)
