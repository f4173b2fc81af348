"""Every container that is read gives the frames, times and pictures that ffmpeg shows of it."""

import io
from fractions import Fraction

import numpy as np
import pytest

from framecache._media import color, jpeg, video
from framecache.model import Image
from media import ffmpeg
from sample_clips import clip

CONTAINERS = {
    "h264.flv": "flv",
    "h264.h264": "h264",
    "hevc.hevc": "hevc",
    "h264.mxf": "mxf",
    "mpeg2.mxf": "mxf",
    "mpeg2.mpg": "mpeg",
    "wmv2.wmv": "asf",
    "vp8.ivf": "ivf",
    "animation.gif": "gif",
    "animation.apng": "apng",
    "raw.y4m": "yuv4mpegpipe",
    "tape.dv": "dv",
}
WITHOUT_TIMES = {"h264.h264", "hevc.hevc", "h264.mxf"}
"""Their frames have an even pace, from the rate that the container or the codec names."""


def shown_by_ffmpeg(name: str) -> tuple[list[Fraction], list[Image]]:
    """Seconds from the first frame, and luma."""
    exactly = ("-fps_mode", "passthrough", "-enc_time_base", "-1")
    source = ("-i", str(clip(name)), "-map", "0:v:0", *exactly)
    lines = ffmpeg(*source, "-f", "framemd5", "-").decode().splitlines()
    (base,) = (Fraction(line.split()[-1]) for line in lines if line.startswith("#tb 0"))
    (size,) = (line.split()[-1] for line in lines if line.startswith("#dimensions 0"))
    width, height = map(int, size.split("x"))
    times = [int(line.split(",")[2]) * base for line in lines if not line.startswith("#")]
    raw = ffmpeg(*source, "-f", "rawvideo", "-pix_fmt", "gray", "-")
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, height, width)
    return [time - times[0] for time in times], list(pictures)


@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_match_those_of_ffmpeg(name: str) -> None:
    data = clip(name).read_bytes()
    found = video.scan(io.BytesIO(data), name=name)
    times, truth = shown_by_ffmpeg(name)
    assert found.container == CONTAINERS[name]
    assert len(found.pts) == len(truth)
    if name in WITHOUT_TIMES:
        times = [Fraction(number, 25) for number in range(len(truth))]
    assert [(int(pts) - int(found.pts[0])) * found.time_base for pts in found.pts] == times
    items = video.decode(io.BytesIO(data), found, found.pts, name=name, threads=2)
    for item, expected in zip(items, truth, strict=True):
        assert isinstance(item, video.Decoded), item
        picture = color.to_jfif(item.to_planes())
        shown = jpeg.decode(jpeg.encode_picture(picture, quality=100), color="gray")
        assert np.abs(shown.astype(int) - expected.astype(int)).mean() < 2


@pytest.mark.parametrize("name", CONTAINERS)
def test_frame_decoded_alone_equals_the_frame_decoded_among_all(name: str) -> None:
    data = clip(name).read_bytes()
    found = video.scan(io.BytesIO(data), name=name)
    whole = list(video.decode(io.BytesIO(data), found, found.pts, name=name, threads=2))
    for number in (0, len(found.pts) // 2, len(found.pts) - 1):
        wanted = found.pts[number : number + 1]
        (alone,) = video.decode(io.BytesIO(data), found, wanted, name=name, threads=1)
        among = whole[number]
        assert isinstance(alone, video.Decoded)
        assert isinstance(among, video.Decoded)
        assert np.array_equal(alone.to_planes().y, among.to_planes().y)
