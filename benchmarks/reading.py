"""A local cache to numpy arrays, all frames in order."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.measure import Contender, cores
from framecache import Timeline

LIMIT, OURS = "limit: simplejpeg from RAM", "framecache"


def contenders(timeline: Timeline, frames_folder: Path) -> list[Contender]:
    """Ways to read every cached frame, the limit first."""
    jpegs = list(timeline.jpegs(timeline.index.sequence.tolist()))
    paths = [frames_folder / f"{sequence}.jpg" for sequence in timeline.index.sequence.tolist()]
    return [
        Contender(LIMIT, lambda: from_ram(jpegs)),
        Contender(OURS, lambda: sum(1 for _ in timeline.frames())),
        Contender("OpenCV imread, serial", lambda: opencv(paths)),
        Contender("Pillow, serial", lambda: pillow(paths)),
    ]


def from_ram(jpegs: list[bytes]) -> int:
    """The decoder alone on all cores, a few frames ahead, in order."""
    waiting: deque[Future[object]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        for data in jpegs:
            waiting.append(pool.submit(simplejpeg.decode_jpeg, data))
            if len(waiting) >= 4 * cores():
                waiting.popleft().result()
    return len(jpegs)


def opencv(paths: list[Path]) -> int:
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return len(paths)


def pillow(paths: list[Path]) -> int:
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image)
    return len(paths)
