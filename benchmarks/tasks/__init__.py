"""What is measured, against what, and what is aimed at."""

from collections.abc import Sequence

from benchmarks.model import Task
from benchmarks.tasks import footprint, index, local, random_access, reading, serving, writing

TASKS: Sequence[Task] = (
    *reading.TASKS,
    *writing.TASKS,
    *local.TASKS,
    *random_access.TASKS,
    *index.TASKS,
    *footprint.TASKS,
    *serving.TASKS,
)
