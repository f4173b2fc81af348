"""Local JPEGs to numpy by what is at hand."""

import cv2
import numpy as np
from PIL import Image as Pillow

from benchmarks.contract import Image, Inputs, Job, Pass


def opencv(inputs: Inputs) -> Job:
    paths = [inputs.jpeg_path(sequence) for sequence in inputs.sequences]

    def work(this: Pass) -> None:
        for sequence, path in enumerate(paths):
            bgr = cv2.imread(str(path))
            assert bgr is not None
            image: Image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            this.take(sequence, image)

    return Job(work)


def pillow(inputs: Inputs) -> Job:
    paths = [inputs.jpeg_path(sequence) for sequence in inputs.sequences]

    def work(this: Pass) -> None:
        for sequence, path in enumerate(paths):
            with Pillow.open(path) as image:
                this.take(sequence, np.asarray(image))

    return Job(work)
