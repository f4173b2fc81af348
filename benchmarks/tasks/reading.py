"""S3 → numpy, all frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks.model import DIRECT, FAR, NEAR, Aim, Contestant, Preparation, Task
from benchmarks.turnaround.pace import Network

PACKS: Final = Preparation("storing:packs")
SHARDS: Final = Preparation("storing:shards")
LANCE: Final = Preparation("lance_rows:prepare", environment="lance")

LIMIT: Final = Contestant("limit: JPEG decode from RAM", "limit", "limits:decode_from_ram")
PLAIN: Final = Contestant("plain: download_file, Pillow", "plain", "plain:read")
PLAIN_GET: Final = Contestant(
    "plain: get_object, Pillow", "plain", "plain:read", [{"call": "get_object"}]
)
PARTS_WHEN_SLOW: Final = 5
"""Behind a network the plain pipeline would take most of the benchmark's time."""
BOTO3: Final = Contestant(
    "boto3 thread pool",
    "peer",
    "boto3_pool:read",
    [{"threads": count} for count in (16, 32, 8, 64)],
)
S3TORCH: Final = Contestant(
    "s3torchconnector",
    "peer",
    "s3torch:read",
    [{"processes": 2}, {"processes": 8}, {"processes": 16}, {"threads": 16}, {"threads": 32}],
    environment="s3torchconnector",
)
S3TORCH_SHARDS: Final = Contestant(
    "s3torchconnector, tar shards",
    "peer",
    "s3torch:read_shards",
    [{"processes": count} for count in (2, 4, 8)],
    environment="s3torchconnector",
    after=SHARDS,
)
S3FS: Final = Contestant(
    "s3fs",
    "peer",
    "s3fs_cat:read",
    [{"at_once": count} for count in (32, 64, 128)],
    environment="s3fs",
)
AIOBOTO3: Final = Contestant(
    "aioboto3",
    "peer",
    "aio:read",
    [{"at_once": count} for count in (16, 32, 64)],
    environment="aioboto3",
)
WEBDATASET: Final = Contestant(
    "WebDataset",
    "peer",
    "web_dataset:read",
    [{"processes": count} for count in (2, 4, 8)],
    environment="webdataset",
    after=SHARDS,
)
LANCE_ROWS: Final = Contestant(
    "Lance",
    "peer",
    "lance_rows:read",
    [{"rows": count} for count in (16, 4, 64)],
    environment="lance",
    after=LANCE,
)

OBJECT_PEERS: Final = (BOTO3, S3TORCH, S3FS, AIOBOTO3)
PEERS: Final = (*OBJECT_PEERS, S3TORCH_SHARDS, WEBDATASET, LANCE_ROWS)


def ours(layout: str) -> Contestant:
    after = PACKS if layout == "packs" else None
    return Contestant("framecache", "ours", "ours:read", [{"layout": layout}], after=after)


def plain(network: Network) -> tuple[Contestant, ...]:
    """Return typical code without framecache; on a network, it reads part of the frames."""
    both = (PLAIN, PLAIN_GET)
    if network == DIRECT:
        return both
    part = {"parts": PARTS_WHEN_SLOW}
    return tuple(replace(one, variants=[dict(one.variants[0]) | part]) for one in both)


def names(contestants: Sequence[Contestant]) -> tuple[str, ...]:
    return tuple(contestant.name for contestant in contestants)


def of_the_limit(share: float) -> Aim:
    return Aim("of JPEG decode from RAM, all cores", at_least=share, against=(LIMIT.name,))


def of_plain(times: float) -> Aim:
    return Aim("the plain pipeline", at_least=times, against=(PLAIN.name,))


def packs(network: Network, suffix: str, title: str, aims: Sequence[Aim]) -> Task:
    contestants = (LIMIT, ours("packs"), *plain(network), *PEERS)
    return Task(f"read-packs-{suffix}", f"S3 → numpy, packs, {title}", contestants, aims, network)


def objects(network: Network, suffix: str, title: str, aims: Sequence[Aim]) -> Task:
    contestants = (LIMIT, ours("objects"), *plain(network), *OBJECT_PEERS)
    return Task(
        f"read-objects-{suffix}", f"S3 → numpy, objects, {title}", contestants, aims, network
    )


OTHER_PEERS: Final = names([peer for peer in PEERS if peer is not BOTO3])

TASKS: Final = (
    packs(
        DIRECT,
        "direct",
        "direct",
        [
            of_the_limit(0.90),
            Aim("boto3 thread pool", at_least=4.0, against=(BOTO3.name,)),
            Aim("the best other peer", at_least=1.8, against=OTHER_PEERS),
        ],
    ),
    packs(
        NEAR,
        "30ms",
        "30 ms",
        [
            of_the_limit(0.85),
            of_plain(30.0),
            Aim("the best peer", at_least=2.0, against=names(PEERS)),
        ],
    ),
    packs(FAR, "60ms", "60 ms", []),
    objects(DIRECT, "direct", "direct", []),
    objects(
        NEAR,
        "30ms",
        "30 ms",
        [
            of_the_limit(0.70),
            of_plain(20.0),
            Aim("the best peer of the same layout", at_least=1.1, against=names(OBJECT_PEERS)),
        ],
    ),
    objects(FAR, "60ms", "60 ms", []),
)
