"""Memory and import time, each in a fresh process."""

import subprocess
import sys
from pathlib import Path

from benchmarks.contract import Figures, Inputs, Job, Pass
from framecache import Frame, FrameCache

# VmHWM, because ru_maxrss begins with the size of the process that started this one.
READ_ALL = """
import re, sys
from framecache import FrameCache
timeline = FrameCache(sys.argv[1]).timeline("long")
for _ in timeline.frames():
    pass
with open("/proc/self/status") as status:
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) / 1024)
"""

IMPORT = """
import time
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def iterating(inputs: Inputs) -> Job:
    """Measure the peak of a process that reads a long timeline of full-size frames."""
    folder = Path(inputs.folder, "footprint")
    image = FrameCache(f"s3://{inputs.bucket}").timeline("objects").frame(0).image
    frames = (Frame(n, 0, n / 25, image, "0" * 16) for n in range(inputs.footprint_frames))
    FrameCache(folder).timeline("long").write(frames, quality=50)

    def work(_: Pass) -> Figures:
        return {"peak_mb": printed(READ_ALL, str(folder))}

    return Job(work)


def importing(_inputs: Inputs, *, module: str) -> Job:
    def work(_: Pass) -> Figures:
        return {"import_s": printed(IMPORT.format(module=module))}

    return Job(work)


def printed(code: str, *arguments: str) -> float:
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
