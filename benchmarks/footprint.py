"""Memory and import time, each in a fresh process."""

import statistics
import subprocess
import sys
from pathlib import Path

# VmHWM, because ru_maxrss begins with the size of the process that started this one.
READ_ALL = """
import re, sys
from framecache import FrameCache
timeline = FrameCache(sys.argv[1]).timeline("long")
frames = sum(1 for _ in timeline.frames())
with open("/proc/self/status") as status:
    print(frames, int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) / 1024)
"""

IMPORT = """
import time
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def peak_mb_of_reading(cache: Path) -> tuple[int, float]:
    """Frames read by ``frames()`` over the timeline ``long``, and the peak MB of the process."""
    frames, peak = _run(READ_ALL, str(cache)).split()
    return int(frames), float(peak)


def import_seconds(module: str, *, rounds: int) -> float:
    """The median time ``import module`` takes in a fresh interpreter with warm caches."""
    code = IMPORT.format(module=module)
    _run(code)
    return statistics.median(float(_run(code)) for _ in range(rounds))


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
