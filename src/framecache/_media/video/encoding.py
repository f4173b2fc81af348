"""Encoding of pictures to a video that browsers and players support: H.264 in MP4."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.codec.context import Flags

from framecache.errors import InvalidValue
from framecache.model import Image

_TIME_BASE: Final = Fraction(1, 90_000)
_BT709: Final = 1
_LIMITED: Final = 1
_OPTIONS: Final = {"crf": "18", "preset": "veryfast"}


def write_mp4(
    path: Path,
    pictures: Iterable[tuple[float, Image]],
    *,
    end_seconds: float,
    pixel_aspect_ratio: Fraction,
) -> int:
    """Write pictures to a video file, each with its time in seconds; return their number.

    Times ascend. The first picture is shown at the start of the video, and each picture until the
    next one. A side with an odd number of pixels is extended by a copy of its last row or column,
    since H.264 as commonly supported requires even sides.

    Args:
        path: the file.
        pictures: pairs of time and picture, at least one.
        end_seconds: end of the last picture, on the clock of the other times.
        pixel_aspect_ratio: width of a pixel divided by its height, for all pictures.

    Raises:
        InvalidValue: pictures differ in size, or two pictures have the same time.
    """
    number, first = 0, 0.0
    shown: av.VideoFrame | None = None
    size: tuple[int, ...] = ()
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", options=_OPTIONS)
        context = stream.codec_context
        context.time_base = stream.time_base = _TIME_BASE
        context.flags |= Flags.frame_duration
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = pixel_aspect_ratio
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        for seconds, picture in pictures:
            if not number:
                first, size = seconds, picture.shape
                context.height, context.width = (side + side % 2 for side in size[:2])
            if picture.shape != size:
                raise InvalidValue(
                    "one video cannot contain pictures of different sizes, "
                    f"{size[1]}×{size[0]} and {picture.shape[1]}×{picture.shape[0]}: choose a "
                    "range with one size"
                )
            frame = _to_video_frame(picture)
            frame.pts, frame.time_base = round((seconds - first) / _TIME_BASE), _TIME_BASE
            if shown is not None:
                container.mux(stream.encode(_set_end(shown, frame.pts, seconds)))
            shown, number = frame, number + 1
        if shown is not None:
            end_pts = round((end_seconds - first) / _TIME_BASE)
            container.mux(stream.encode(_set_end(shown, end_pts, end_seconds)))
        container.mux(stream.encode())
    return number


def _set_end(frame: av.VideoFrame, end_pts: int, end_seconds: float) -> av.VideoFrame:
    """Set the duration of a frame so that it ends at ``end_pts``; return the frame."""
    assert frame.pts is not None
    if end_pts <= frame.pts:
        raise InvalidValue(
            f"two pictures at {end_seconds:.6f} s cannot both be shown in a video: choose others"
        )
    frame.duration = end_pts - frame.pts
    return frame


def _to_video_frame(picture: Image) -> av.VideoFrame:
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    converted = frame.reformat(
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", src_color_range="JPEG"
    )
    converted.colorspace = _BT709
    converted.color_range = _LIMITED
    return converted
