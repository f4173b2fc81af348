"""Longer clips from short ones: the same packets several times over, nothing re-encoded."""

from pathlib import Path

import av


def repeat(source: Path, target: Path, times: int) -> Path:
    """Write ``source`` ``times`` over into one file, by copying packets; once."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    with av.open(str(source), "r") as first:
        stream = first.streams.video[0]
        packets = [packet for packet in first.demux(stream) if packet.size]
        length = sum(packet.duration or 0 for packet in packets)
        with av.open(str(partial), "w", format="mp4") as out:
            copy = out.add_stream_from_template(stream)
            for turn in range(times):
                for packet in packets:
                    again = av.Packet(bytes(packet))
                    again.time_base, again.stream = packet.time_base, copy
                    again.pts = (packet.pts or 0) + turn * length
                    again.dts = (packet.dts or 0) + turn * length
                    again.duration = packet.duration
                    again.is_keyframe = packet.is_keyframe
                    out.mux(again)
    partial.rename(target)
    return target
