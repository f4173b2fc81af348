"""Memory and import time that framecache adds to its process."""

from typing import Final

from benchmarks.model import Aim, Contestant, Task

TASKS: Final = (
    Task(
        "memory",
        "Memory of a process that iterates over 20,000 frames of 1280×720",
        (Contestant("framecache", "ours", "footprint:iterating"),),
        (Aim("MB at the peak", at_most=400.0, measure="peak_mb"),),
        tolerance=None,
        shows_rates=False,
        columns={"peak_mb": "peak, MB"},
    ),
    Task(
        "import",
        "Import",
        (
            Contestant(
                "import framecache", "ours", "footprint:importing", [{"module": "framecache"}]
            ),
            Contestant("import numpy alone", "peer", "footprint:importing", [{"module": "numpy"}]),
        ),
        (Aim("s to import", at_most=0.4, measure="import_s"),),
        tolerance=None,
        shows_rates=False,
        columns={"import_s": "import, s"},
    ),
)
