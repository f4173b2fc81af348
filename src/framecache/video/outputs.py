"""The pictures a decoder gives out, each with the packet that it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from av.video.frame import VideoFrame

from framecache.video.boundary import VideoFile
from framecache.video.container import Container, DecoderError, VideoPacket


@dataclass(frozen=True, slots=True)
class Output:
    """A picture that the decoder gave out. Its pixels are not kept."""

    packet: int
    """The number of its packet, from 0, in decoding order."""
    pts: int | None
    dts: int | None
    """Of the packet with which it was given out; ascending where a container names only DTS."""
    duration: int
    key: bool


@dataclass(frozen=True, slots=True)
class DecoderOutputs:
    """All that a decoder made of a video, in display order."""

    pictures: tuple[Output, ...]
    refused: Mapping[int, str]
    """By number of the packet: why the decoder refused it."""


def decoder_outputs(file: VideoFile, *, name: str, before: int | None = None) -> DecoderOutputs:
    """Decode a video to find out which pictures are shown, and in which order.

    Args:
        file: the video.
        name: what messages call it.
        before: the PTS at which to stop; None: decode all of it.
    """
    pictures: list[Output] = []
    refused: dict[int, str] = {}
    with Container(file, name=name) as container:
        # One thread, because several lose pictures where a video ends in damage. Without the
        # loop filter pictures are coarser and times the same.
        container.set_up_decoder(threads=1, options={"skip_loop_filter": "all"})
        for frame in _frames(container, refused):
            if before is not None and frame.pts is not None and frame.pts >= before:
                break
            packet = container.number_of(frame)
            pictures.append(
                Output(packet, frame.pts, frame.dts, frame.duration, bool(frame.key_frame))
            )
    return DecoderOutputs(tuple(pictures), refused)


def _frames(container: Container, refused: dict[int, str]) -> Iterator[VideoFrame]:
    packets: Iterator[VideoPacket | None] = container.packets()
    for number, packet in enumerate(chain(packets, [None])):
        try:
            yield from container.decode(packet)
        except DecoderError as error:
            refused[number] = str(error)
