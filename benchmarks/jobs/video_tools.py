"""Video to local JPEGs by ffmpeg and OpenCV."""

import subprocess

import cv2

from benchmarks.contract import Inputs, Job, Pass
from benchmarks.jobs.plain import each_by_opencv
from benchmarks.jobs.stored import show_files
from benchmarks.jobs.video import QUALITY

FFMPEG_QUALITY = "3"
"""About as many bytes as quality 85 of libjpeg."""


def ffmpeg(inputs: Inputs, *, filters: str = "null") -> Job:
    def work(this: Pass) -> None:
        folder = inputs.path(this.name)
        command = ["ffmpeg", "-v", "error", "-i", inputs.clip, "-vf", filters]
        command += ["-q:v", FFMPEG_QUALITY, f"{folder}/%d.jpg"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        for sequence, _ in enumerate(folder.iterdir()):
            this.take(sequence, None)

    return Job(work, lambda this: show_files(inputs, this, first=1))


def opencv(inputs: Inputs) -> Job:
    def work(this: Pass) -> None:
        folder = inputs.path(this.name)

        def store(sequence: int, image: cv2.typing.MatLike) -> None:
            name = str(folder / f"{sequence}.jpg")
            cv2.imwrite(name, image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            this.take(sequence, None)

        each_by_opencv(inputs.clip, store)

    return Job(work, lambda this: show_files(inputs, this))
