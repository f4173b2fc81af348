"""A long video, of which few frames are wanted, or which several processes extract."""

from typing import Final

from benchmarks.model import NEAR, Aim, Contestant, Preparation, Task
from benchmarks.tasks import writing

JOBS: Final = "long_videos"
UPLOADED: Final = Preparation(f"{JOBS}:prepare")

TORCHCODEC: Final = Contestant(
    "torchcodec, s3fs",
    "peer",
    "torchcodec_remote:one_by_one",
    [
        {"block_bytes": block_bytes, "seek_mode": "approximate"}
        for block_bytes in (2**20, 2**22, 5 * 2**20)
    ],
    environment="torchcodec-s3fs",
    after=UPLOADED,
)
KEYFRAMES: Final = Contestant(
    "limit: decode + encode these frames of a local copy",
    "limit",
    f"{JOBS}:decode_and_encode_keyframes",
)
ONE: Final = Contestant("one process", "limit", f"{JOBS}:in_one_process")
ONE_CORE: Final = Contestant("one core", "limit", f"{JOBS}:on_cores", [{"machines": 1}])

TASKS: Final = (
    Task(
        "long-one-frame",
        "One random frame of a long MP4 in S3 that was never extracted, 30 ms",
        (
            Contestant("framecache, layout video", "ours", f"{JOBS}:one_by_one", after=UPLOADED),
            TORCHCODEC,
        ),
        (
            Aim("ms, p50", at_most=110.0, measure="p50_ms"),
            Aim("torchcodec, p50", at_least=3.0, measure="p50_ms", against=(TORCHCODEC.name,)),
        ),
        NEAR,
        tolerance=None,  # each pass reads different frames
        columns={"p50_ms": "p50, ms", "cpu_ms": "CPU ms a frame"},
    ),
    Task(
        "long-fps-1",
        "Long MP4 in S3 → packs in S3, one frame a second, direct",
        (
            KEYFRAMES,
            Contestant("framecache, fps=1", "ours", f"{JOBS}:sparse", after=UPLOADED),
        ),
        (Aim("of decode + encode of these frames", at_least=0.90, against=(KEYFRAMES.name,)),),
        tolerance=writing.COLOURS,
    ),
    Task(
        "long-processes",
        "A video of 20 minutes → local JPEGs, four processes",
        (ONE, Contestant("four processes", "ours", f"{JOBS}:in_several_processes")),
        (Aim("of one process with the same cores", at_least=0.95, against=(ONE.name,)),),
    ),
    Task(
        "long-machines",
        "A video of 20 minutes → local JPEGs, two processes with a core each",
        (ONE_CORE, Contestant("two cores", "ours", f"{JOBS}:on_cores", [{"machines": 2}])),
        (Aim("of one core", at_least=1.8, against=(ONE_CORE.name,)),),
    ),
)
