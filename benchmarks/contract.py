"""Interface of contestants. Imported in every environment: standard library and numpy only."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Take = Callable[[int, Image | None], None]
"""Called with each frame's sequence and RGB image; a writer has no image to show."""

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs that all contestants of a task share."""

    clip: str
    """Path of the video: H.264, a keyframe every 30 frames."""
    frames: int
    """Frames of the clip."""
    jpegs: str
    """A folder with the JPEG of every frame, ``{sequence}.jpg``, as stored in the bucket."""
    folder: str
    """For the files of contestants; new for each task."""
    server: str
    """The S3 server itself, ``http://host:port``."""
    endpoint: str
    """Endpoint for contestants: the same, or that of the proxy before it."""
    bucket: str
    index_frames: int
    """Frames of the long timeline that is only an index."""
    footprint_frames: int
    """Frames of the timeline whose reading is watched for its memory."""
    long_bytes: int
    """Size of the long video of which few frames are read, at least."""
    long_seconds: int
    """Duration of the video that several processes extract."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def sequences(self) -> range:
        return range(self.frames)

    def key(self, sequence: int) -> str:
        """Return the key of a frame's JPEG, as an object."""
        return f"cache/timelines/objects/frames/{sequence}.jpg"

    @property
    def keys(self) -> list[str]:
        """Return the keys of all frames, in order."""
        return [self.key(sequence) for sequence in self.sequences]

    def jpeg_path(self, sequence: int) -> Path:
        return Path(self.jpegs, f"{sequence}.jpg")

    def read_jpegs(self) -> list[bytes]:
        """Every frame's JPEG, in order."""
        return [self.jpeg_path(sequence).read_bytes() for sequence in self.sequences]

    def path(self, name: str) -> Path:
        """Create a new folder of this name."""
        path = Path(self.folder, name)
        path.mkdir(parents=True)
        return path


@dataclass(frozen=True, slots=True)
class Pass:
    """One time through the work."""

    name: str
    """Unique among all passes of all contestants: what is written goes under it."""
    take: Take


Work = Callable[[Pass], Figures | None]


@dataclass(frozen=True, slots=True)
class Job:
    """A way of doing a task, set up and ready to go."""

    work: Work
    """Measured call. Returns figures of its own, if it has any."""
    show: Work | None = None
    """Check of a writer: takes what a pass stored, decoded."""


Open = Callable[..., Job]
"""``open(inputs, **settings)``: sets a job up; nothing of it is measured."""

Settings = Mapping[str, Any]
"""Use of a peer: threads, processes, sizes."""


def signature(image: Image) -> list[int]:
    """Return a summary of a picture: its shape, and the mean colors of 4 by 4 fields."""
    height, width, channels = image.shape
    rows, columns = height // 4, width // 4
    fields = image[: 4 * rows, : 4 * columns].reshape(4, rows, 4, columns, channels)
    means = fields.mean(axis=(1, 3), dtype=np.float64).round()
    return [height, width, *(int(mean) for mean in means.ravel())]
