"""Typical code without framecache: one step at a time, through a temporary file."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from benchmarks.contract import Figures, Inputs, Job, Pass
from benchmarks.jobs import s3
from benchmarks.jobs.stored import show_objects
from benchmarks.jobs.video import QUALITY


def read(inputs: Inputs, *, call: str = "download_file", parts: int = 1) -> Job:
    """One boto3 call, one temporary file and one Pillow decode for each frame in turn.

    ``download_file`` asks for the size before it gets the object; ``get_object`` does not. The
    frames are divided into ``parts``, and the first part is measured: all take equally long.
    """
    client = s3.client(inputs.endpoint)
    first = -(-inputs.frames // parts)

    def each(sequences: range, this: Pass) -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "frame.jpg")
            for sequence in sequences:
                if call == "download_file":
                    client.download_file(inputs.bucket, inputs.key(sequence), str(file))
                else:
                    file.write_bytes(s3.get(client, inputs.bucket, inputs.key(sequence)))
                with Pillow.open(file) as image:
                    this.take(sequence, np.asarray(image.convert("RGB")))
        return {"parts": parts}

    return Job(
        partial(each, inputs.sequences[:first]),
        show=partial(each, inputs.sequences[first:]),
    )


def write(inputs: Inputs) -> Job:
    """OpenCV decodes, Pillow saves a temporary file, and boto3 uploads it, frame by frame."""
    client = s3.client(inputs.endpoint)

    def work(this: Pass) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "frame.jpg")

            def store(sequence: int, image: cv2.typing.MatLike) -> None:
                Pillow.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).save(file, quality=QUALITY)
                client.upload_file(str(file), inputs.bucket, f"out/{this.name}/{sequence}.jpg")
                this.take(sequence, None)

            each_by_opencv(inputs.clip, store)

    return Job(work, lambda this: show_objects(inputs, this))


def each_by_opencv(clip: str, use: Callable[[int, cv2.typing.MatLike], None]) -> None:
    """Every frame of a video in turn, BGR."""
    capture, sequence = cv2.VideoCapture(clip), 0
    while True:
        is_read, image = capture.read()
        if not is_read:
            return
        use(sequence, image)
        sequence += 1
