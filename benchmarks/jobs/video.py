"""Decoding and encoding as the jobs do that bring neither."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import av
import numpy as np
import numpy.typing as npt
import simplejpeg

QUALITY = 85
AHEAD = 24


def encode_each(clip: str, store: Callable[[int, bytes], None], *, threads: int) -> None:
    """Decode on all cores, encode the planes as they are, and have each JPEG stored."""
    ahead = Semaphore(threads + AHEAD)

    def encode(number: int, frame: av.VideoFrame) -> None:
        try:
            planes = (plane(frame, index) for index in range(3))
            jpeg = simplejpeg.encode_jpeg_yuv_planes(*planes, quality=QUALITY)
        finally:
            ahead.release()
        store(number, jpeg)

    with av.open(clip, "r") as container, ThreadPoolExecutor(threads) as pool:
        container.streams.video[0].thread_type = "AUTO"
        stored = []
        for number, frame in enumerate(container.decode(video=0)):
            ahead.acquire()
            stored.append(pool.submit(encode, number, frame))
        for one in stored:
            one.result()


def plane(frame: av.VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    one = frame.planes[number]
    rows = np.frombuffer(memoryview(one), np.uint8).reshape(one.height, one.line_size)
    return rows[:, : one.width]
