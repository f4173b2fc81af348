"""S3 → numpy at the size of a model, and what storing that size costs."""

from dataclasses import replace
from typing import Final

from benchmarks.jobs.storing import RENDITIONS as SIZES
from benchmarks.model import DIRECT, NEAR, Aim, Contestant, Preparation, Task
from benchmarks.tasks.reading import BOTO3, LANCE_ROWS, PACKS, S3TORCH, names
from benchmarks.turnaround.pace import Network

RENDITIONS: Final = Preparation("storing:renditions")

SCALED_PEERS: Final = (BOTO3, S3TORCH, LANCE_ROWS)
"""Peers that were the fastest with objects, with PyTorch and with files of many frames."""


def scaled(peer: Contestant, max_side: int, scaling: str) -> Contestant:
    settings = {"max_side": max_side, "scaling": scaling}
    return replace(
        peer,
        name=f"{peer.name}, scaled {scaling}",
        variants=[{**variant, **settings} for variant in peer.variants],
    )


def ours(max_side: int, layout: str, name: str, after: Preparation) -> Contestant:
    settings = {"layout": layout, "max_side": max_side}
    return Contestant(name, "ours", "ours:read", [settings], after=after)


def reading(max_side: int, network: Network, suffix: str, title: str) -> Task:
    limit = Contestant(
        f"limit: decode of JPEGs of {max_side} from RAM",
        "limit",
        "limits:decode_renditions_from_ram",
        [{"max_side": max_side}],
        after=RENDITIONS,
    )
    whole = [scaled(peer, max_side, "after decoding") for peer in SCALED_PEERS]
    scaling = [scaled(peer, max_side, "while decoding") for peer in SCALED_PEERS]
    aims = [Aim("the best peer", at_least=8.0, against=names([*whole, *scaling]))]
    if max_side == SIZES[0]:
        aims = [
            Aim("the best peer that decodes whole frames", at_least=3.0, against=names(whole)),
            Aim("the best peer that scales in decoding", at_least=2.0, against=names(scaling)),
            Aim("of decoding JPEGs of this size", at_least=0.80, against=(limit.name,)),
        ]
    return Task(
        f"read-{max_side}-{suffix}",
        f"S3 → numpy, at most {max_side} pixels, packs with renditions, {title}",
        (
            limit,
            ours(max_side, "renditions", "framecache", RENDITIONS),
            ours(max_side, "packs", "framecache, without renditions", PACKS),
            *whole,
            *scaling,
        ),
        aims,
        network,
        # Each is a lossy copy of the other.
        tolerance=4.0,
    )


WITHOUT: Final = Contestant(
    "framecache, without renditions", "limit", "ours:write_renditions", [{"sides": ()}]
)

TASKS: Final = (
    *(
        reading(max_side, network, suffix, title)
        for max_side in SIZES
        for network, suffix, title in ((DIRECT, "direct", "direct"), (NEAR, "30ms", "30 ms"))
    ),
    Task(
        "write-renditions-direct",
        "Video → S3, packs with renditions of 640 and 224 pixels, direct",
        (
            WITHOUT,
            Contestant("framecache", "ours", "ours:write_renditions", [{"sides": SIZES}]),
        ),
        (
            Aim("of the speed without", at_least=0.75, against=(WITHOUT.name,)),
            Aim("× the bytes without", at_most=1.45, measure="megabytes", against=(WITHOUT.name,)),
        ),
        columns={"cpu_ms": "CPU ms a frame", "megabytes": "MB stored"},
    ),
)
