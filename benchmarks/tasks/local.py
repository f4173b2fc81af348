"""Videos and frames in local files."""

from typing import Final

from benchmarks.model import Aim, Contestant, Task
from benchmarks.tasks import reading, writing

OURS: Final = Contestant("framecache", "ours", "ours:write_locally")
FFMPEG: Final = Contestant("ffmpeg -q:v 3 %d.jpg", "peer", "video_tools:ffmpeg")
OPENCV: Final = Contestant("OpenCV VideoCapture, imwrite", "peer", "video_tools:opencv")

OURS_AT_1: Final = Contestant("framecache, fps=1", "ours", "ours:write_locally", [{"fps": 1}])
FFMPEG_AT_1: Final = Contestant(
    "ffmpeg -vf fps=1", "peer", "video_tools:ffmpeg", [{"filters": "fps=1"}]
)
OURS_IN_FULL: Final = Contestant("framecache, every frame", "peer", "ours:write_locally")

TASKS: Final = (
    Task(
        "local-jpegs",
        "Video → local JPEGs",
        (writing.LIMIT, OURS, FFMPEG, OPENCV),
        (
            writing.OF_THE_LIMIT,
            Aim("ffmpeg", at_least=2.0, against=(FFMPEG.name,)),
            Aim("OpenCV", at_least=1.5, against=(OPENCV.name,)),
        ),
        tolerance=writing.COLOURS,
    ),
    Task(
        "fps-1",
        "Video → local JPEGs, fps=1",
        (OURS_AT_1, FFMPEG_AT_1, OURS_IN_FULL),
        (
            Aim("ffmpeg -vf fps=1", at_least=3.0, against=(FFMPEG_AT_1.name,)),
            Aim("our own full decode", at_least=4.0, against=(OURS_IN_FULL.name,)),
        ),
        tolerance=None,  # ffmpeg takes the frame nearest to each second, not the one on screen
        columns={"seconds": "s", "cpu_seconds": "CPU s"},
        shows_rates=False,
    ),
    Task(
        "local-read",
        "Local folder → numpy, all frames",
        (
            reading.LIMIT,
            Contestant("framecache", "ours", "ours:read_locally"),
            Contestant("OpenCV imread, one by one", "peer", "files:opencv"),
            Contestant("Pillow, one by one", "peer", "files:pillow"),
        ),
        (reading.of_the_limit(0.90),),
    ),
)
