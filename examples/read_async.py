"""Serve frames to many clients from one event loop: brightness of each frame, as it is committed.

    FRAMECACHE_URL=s3://media python examples/read_async.py match-42

Two tasks read the same timeline: one follows it until it is complete, the other asks for single
frames.
"""

import argparse
import asyncio

from framecache import FrameCache, Timeline


async def follow(timeline: Timeline) -> float:
    """Return the mean brightness of all frames, read as other programs commit them."""
    levels = [
        float(frame.image.mean())
        async for frame in timeline.aframes(follow="complete", scale=0.25, color="gray")
    ]
    return sum(levels) / len(levels)


async def peek(timeline: Timeline, seconds: list[float]) -> list[int]:
    """Return the sequences of the frames shown at some times, which are read at once."""
    frames = await asyncio.gather(*(timeline.aframe_at(one, scale=0.25) for one in seconds))
    return [frame.sequence for frame in frames]


async def main(timeline_id: str) -> None:
    """Run both tasks."""
    timeline = FrameCache().timeline(timeline_id)
    brightness, shown = await asyncio.gather(follow(timeline), peek(timeline, [0.0, 0.5, 1.0]))
    print(f"mean brightness {brightness:.1f}, frames {shown}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("timeline_id", metavar="TIMELINE")
    asyncio.run(main(parser.parse_args().timeline_id))
