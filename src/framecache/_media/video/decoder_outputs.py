"""Pictures that a decoder outputs, each with the number of its packet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from av.video.frame import VideoFrame

from framecache._media.video.container import Container, DecoderError, VideoPacket
from framecache._media.video.error_boundary import VideoFile


@dataclass(frozen=True, slots=True)
class OutputPicture:
    """Picture that the decoder output. Its pixels are not kept."""

    packet: int
    """Number of its packet, from 0, in decoding order."""
    pts: int | None
    dts: int | None
    """DTS of the packet after which it was output; these ascend if a container states only DTS."""
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class DecoderOutputs:
    """All pictures that a decoder output for a video, in display order."""

    pictures: tuple[OutputPicture, ...]
    rejected: Mapping[int, str]
    """Reason why the decoder refused a packet, by packet number."""


def list_decoder_outputs(
    file: VideoFile, *, name: str, end_pts: int | None = None
) -> DecoderOutputs:
    """Decode a video to find out which pictures are shown, and in which order.

    Args:
        file: the video.
        name: its name in error messages.
        end_pts: the PTS at which to stop; None decodes the whole video.
    """
    pictures: list[OutputPicture] = []
    refused: dict[int, str] = {}
    with Container(file, name=name) as container:
        # Several threads lose pictures if a video ends in damage. Without the loop filter,
        # decoding is coarser but the times are the same.
        container.configure_decoder(threads=1, options={"skip_loop_filter": "all"})
        for frame in _decode_frames(container, refused):
            if end_pts is not None and frame.pts is not None and frame.pts >= end_pts:
                break
            packet = container.packet_number(frame)
            pictures.append(
                OutputPicture(packet, frame.pts, frame.dts, frame.duration, bool(frame.key_frame))
            )
    return DecoderOutputs(tuple(pictures), refused)


def _decode_frames(container: Container, rejected: dict[int, str]) -> Iterator[VideoFrame]:
    packets: Iterator[VideoPacket | None] = container.packets()
    for number, packet in enumerate(chain(packets, [None])):
        try:
            yield from container.decode(packet)
        except DecoderError as error:
            rejected[number] = str(error)
