"""Video → S3."""

from collections.abc import Sequence
from typing import Final

from benchmarks.model import DIRECT, FAR, NEAR, Aim, Contestant, Task
from benchmarks.turnaround.pace import Network

LIMIT: Final = Contestant("limit: decode + encode", "limit", "limits:decode_and_encode")
PLAIN: Final = Contestant("plain: OpenCV, Pillow, upload_file", "plain", "plain:write")
BOTO3: Final = Contestant(
    "PyAV, simplejpeg, boto3 thread pool",
    "peer",
    "boto3_pool:write",
    [{"threads": count} for count in (16, 32, 8)],
)
OF_THE_LIMIT: Final = Aim("of decode + encode, all cores", at_least=0.90, against=(LIMIT.name,))
OF_BOTO3: Final = Aim("boto3 thread pool", at_least=2.0, against=(BOTO3.name,))

COLOURS: Final = 24.0
"""Maximum distance from the right colors of planes encoded as they are, with limited range."""


def of_plain(times: float) -> Aim:
    return Aim("the plain pipeline", at_least=times, against=(PLAIN.name,))


def task(layout: str, network: Network, suffix: str, title: str, aims: Sequence[Aim]) -> Task:
    ours = Contestant("framecache", "ours", "ours:write", [{"layout": layout}])
    return Task(
        f"write-{layout}-{suffix}",
        f"Video → S3, {layout}, {title}",
        (LIMIT, ours, BOTO3, PLAIN),
        aims,
        network,
        tolerance=COLOURS,
    )


TASKS: Final = (
    task("packs", DIRECT, "direct", "direct", [OF_THE_LIMIT, OF_BOTO3, of_plain(3.0)]),
    task("packs", NEAR, "30ms", "30 ms", [OF_THE_LIMIT, OF_BOTO3, of_plain(25.0)]),
    task("packs", FAR, "60ms", "60 ms", []),
    task("objects", DIRECT, "direct", "direct", []),
    task("objects", NEAR, "30ms", "30 ms", []),
)
