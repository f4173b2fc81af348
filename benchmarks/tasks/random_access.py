"""Some frames of many."""

from dataclasses import replace
from typing import Final

from benchmarks.jobs.random_frames import RANDOM, STRIDE
from benchmarks.model import NEAR, Aim, Contestant, Task
from benchmarks.tasks.reading import PACKS

COLOURS: Final = 24.0
"""Largest difference between the video's own decoders and ours; decord takes BT.709 for BT.601."""

FIRST_BYTE: Final = Contestant(
    "limit: first byte + decode", "limit", "limits:first_byte_and_decode"
)


def of_the_tier(name: str, title: str, which: str) -> Task:
    limit = Contestant(
        "limit: JPEG decode from RAM", "limit", "limits:decode_from_ram", [{"which": which}]
    )
    ours = Contestant(
        "framecache, disk cache",
        "ours",
        "ours:batch_from_tier",
        [{"which": which, "layout": "packs"}],
        after=PACKS,
    )
    again = replace(ours, name=f"{ours.name}, out=", job="ours:batch_from_tier_again")
    torchcodec = Contestant(
        "torchcodec",
        "peer",
        "torchcodec_batch:read",
        [
            {"which": which, "threads": threads, "seek_mode": mode}
            for mode in ("exact", "approximate")
            for threads in (0, 1, 2)
        ],
        environment="torchcodec",
    )
    decord = Contestant(
        "decord",
        "peer",
        "decord_batch:read",
        [{"which": which, "threads": threads} for threads in (0, 1, 2)],
        environment="decord",
    )
    return Task(
        name,
        title,
        (limit, ours, again, torchcodec, decord),
        (
            Aim("of JPEG decode from RAM, all cores", at_least=0.85, against=(limit.name,)),
            Aim("torchcodec", at_least=12.0, against=(torchcodec.name,)),
            Aim("decord", at_least=20.0, against=(decord.name,)),
        ),
        tolerance=COLOURS,
    )


def one_frame(layout: str) -> Task:
    after = PACKS if layout == "packs" else None
    variants = [{"layout": layout}]
    ours = Contestant("framecache", "ours", "ours:single_frames", variants, after=after)
    return Task(
        f"one-frame-{layout}",
        f"One random frame, {layout}, 30 ms",
        (FIRST_BYTE, ours),
        (
            Aim(
                "of first byte + decode, p50",
                at_most=1.1,
                measure="p50_ms",
                against=(FIRST_BYTE.name,),
            ),
        ),
        NEAR,
        columns={"p50_ms": "p50, ms", "cpu_ms": "CPU ms a frame"},
    )


TASKS: Final = (
    of_the_tier("random-40", "40 random frames of a clip with a keyframe every 30", RANDOM),
    of_the_tier("stride-10", "Every 10th frame of a clip with a keyframe every 30", STRIDE),
    one_frame("packs"),
    one_frame("objects"),
)
