"""Video to local JPEGs."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Semaphore

import av
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from benchmarks.measure import Contender, cores
from framecache import FrameCache

QUALITY = 85
LIMIT, OURS = "limit: decode + encode, nothing else", "framecache"


def contenders(clip: Path, folder: Path) -> list[Contender]:
    """Ways to make JPEGs of every frame, the limit first.

    Each run gets a new folder, and none is removed before the end: ext4 searches long for an
    inode while many were freed a few seconds ago.
    """
    numbers = count()

    def new() -> Path:
        fresh = folder / str(next(numbers))
        fresh.mkdir(parents=True)
        return fresh

    return [
        Contender(LIMIT, lambda: decode_and_encode(clip)),
        Contender(OURS, lambda: framecache(clip, new())),
        Contender("ffmpeg -q:v 3 %d.jpg", lambda: ffmpeg(clip, new())),
        Contender("OpenCV VideoCapture + imwrite", lambda: opencv(clip, new())),
    ]


def decode_and_encode(clip: Path) -> int:
    """The codecs alone on all cores: planes as they are, no colour, no hash, nothing stored."""
    ahead = Semaphore(3 * cores())

    def encode(frame: av.VideoFrame) -> int:
        try:
            planes = (plane(frame, number) for number in range(3))
            return len(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=QUALITY))
        finally:
            ahead.release()

    frames = 0
    with av.open(str(clip), "r") as container, ThreadPoolExecutor(cores()) as pool:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            ahead.acquire()
            pool.submit(encode, frame)
            frames += 1
    return frames


def plane(frame: av.VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    one = frame.planes[number]
    rows = np.frombuffer(memoryview(one), np.uint8).reshape(one.height, one.line_size)
    return rows[:, : one.width]


def framecache(clip: Path, folder: Path) -> int:
    report = FrameCache(folder).timeline("clip").extract(clip, quality=QUALITY)
    return report.frames_extracted


def ffmpeg(clip: Path, folder: Path) -> int:
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-q:v", "3", f"{folder}/%d.jpg"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return sum(1 for _ in folder.iterdir())


def opencv(clip: Path, folder: Path) -> int:
    capture, frames = cv2.VideoCapture(str(clip)), 0
    while True:
        read, image = capture.read()
        if not read:
            return frames
        name = str(folder / f"{frames}.jpg")
        cv2.imwrite(name, image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        frames += 1
