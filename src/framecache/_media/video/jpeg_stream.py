"""Video whose pictures are given JPEGs, unchanged: Motion JPEG in MP4."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error

from framecache.errors import UnreadableChunk

_CODEC: Final = "mjpeg"


def write_jpeg_stream(
    path: Path, jpegs: Iterable[bytes], *, rate: Fraction, width: int, height: int
) -> None:
    """Write JPEGs to an MP4 at a constant rate; each is a keyframe, and keeps its bytes.

    Args:
        path: the file.
        jpegs: at least one JPEG, all of the given size.
        rate: frames per second.
        width: width of all pictures in pixels.
        height: height of all pictures in pixels.
    """
    time_base = 1 / rate
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_mux_stream(_CODEC, rate=rate, width=width, height=height)
        stream.time_base = time_base
        for number, data in enumerate(jpegs):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, time_base
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)


def read_jpeg_stream(path: Path) -> Iterator[bytes]:
    """Yield the JPEGs of a video that :func:`write_jpeg_stream` wrote, in their order.

    Raises:
        UnreadableChunk: it is not a video, or its pictures are not JPEGs.
    """
    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            if not streams or streams[0].codec_context.name != _CODEC:
                raise UnreadableChunk(
                    f"{path} is not a video of JPEGs (Motion JPEG): extract it as a chunk instead"
                )
            for packet in container.demux(streams[0]):
                if packet.size:
                    yield bytes(packet)
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableChunk(
            f"{path} is not a complete video: {error.strerror or error}; export it again"
        ) from error
