"""Find the frames that another tool's frame numbers mean, such as those of annotations.

    python examples/translate_numbers.py TIMELINE --of opencv NUMBER...

The cache is that of ``$FRAMECACHE_URL``. A number that may mean several frames is reported.
"""

import argparse

from framecache import AmbiguousFrame, FrameCache, NotCached, Timeline


def describe(timeline: Timeline, number: int, *, of: str, fps: str | None) -> str:
    """Return a line about a number: its frame, or the reason why there is none."""
    try:
        found = timeline.translate(number, of=of, fps=fps)  # type: ignore[arg-type]
    except (AmbiguousFrame, NotCached) as error:
        return f"{number}: {error}"
    return f"{number}: frame {found.sequence} at {found.timestamp:.3f} s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("timeline", metavar="TIMELINE")
    parser.add_argument("numbers", nargs="+", type=int, metavar="NUMBER")
    parser.add_argument("--of", required=True, help="opencv, decord, torchcodec, ffmpeg or browser")
    parser.add_argument("--fps", help="rate by which the number was made")
    chosen = parser.parse_args()
    timeline = FrameCache().timeline(chosen.timeline)
    for number in chosen.numbers:
        print(describe(timeline, number, of=chosen.of, fps=chosen.fps))
