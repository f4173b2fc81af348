"""Put packets of one's own into a container, by PyAV."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av


def packets_of(path: Path) -> Iterator[av.Packet]:  # type: ignore[type-arg]
    """Yield the packets of the video in a file."""
    with av.open(str(path)) as container:
        yield from (packet for packet in container.demux(video=0) if packet.size)


def timed(data: bytes, pts: int, duration: int, *, key: bool, time_base: Fraction) -> av.Packet:  # type: ignore[type-arg]
    """Return a packet that is decoded and shown at one time."""
    packet = av.Packet(data)
    packet.pts = packet.dts = pts
    packet.duration, packet.time_base, packet.is_keyframe = duration, time_base, key
    return packet


def with_data(packet: av.Packet, data: bytes) -> av.Packet:  # type: ignore[type-arg]
    """Return a packet with other bytes and the same times."""
    changed = av.Packet(data)
    changed.pts, changed.dts = packet.pts, packet.dts
    changed.duration, changed.time_base = packet.duration, packet.time_base
    changed.is_keyframe = packet.is_keyframe
    return changed


def mux(path: Path, packets: Iterable[av.Packet], *, like: Path) -> None:  # type: ignore[type-arg]
    """Write packets of the codec in the file ``like``."""
    with av.open(str(like)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
