"""Pictures have the decoder's order, also if their times differ only slightly from it."""

import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.packet import Packet

from framecache._media import video
from framecache._media.video.decoder_outputs import list_decoder_outputs
from framecache._media.video.packet_table import count_shown_pictures
from framecache._media.video.picture_order import PictureOrderParser
from media import made
from sample_clips import clip

_REORDERED = ("h264.mp4", "h264.ts", "h264-open.ts", "h264-open-cut.mkv", "hevc.mp4", "hevc-cut.ts")


def scan(path: Path) -> video.VideoScan:
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


def packets(path: Path) -> Iterator[Packet]:  # type: ignore[type-arg]  # generic in stubs only
    with av.open(path) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


@pytest.mark.parametrize("name", [*_REORDERED, "h264-simple.mp4", "h264-refresh.ts"])
def test_picture_order_in_slices_matches_the_decoder(name: str) -> None:
    path = clip(name)
    with av.open(path) as container:
        context = container.streams.video[0].codec_context
        reader = PictureOrderParser(context.codec.canonical_name, context.extradata)
    stated = [reader.parse(bytes(packet)).order for packet in packets(path)]
    shown = list_decoder_outputs(io.BytesIO(path.read_bytes()), name=name).pictures
    orders = [stated[picture.packet] for picture in shown]
    assert None not in orders
    assert all(before < after for before, after in pairwise(orders))  # type: ignore[operator]


@pytest.mark.parametrize("name", _REORDERED)
def test_times_of_an_intact_video_are_accepted_without_decoding(name: str) -> None:
    found = scan(clip(name))
    assert found.packet_numbers is None
    assert found.times_replaced == 0


def swapped(source: str, path: Path) -> None:
    """Copy a clip with the times of two successive pictures exchanged."""
    with av.open(clip(source)) as origin, av.open(path, "w") as target:
        stream = target.add_stream_from_template(origin.streams.video[0])
        whole = [packet for packet in origin.demux(origin.streams.video[0]) if packet.size]
        first, second = sorted(whole, key=lambda packet: packet.pts or 0)[14:16]
        first.pts, second.pts = second.pts, first.pts
        for packet in whole:
            packet.dts = min(packet.dts or 0, packet.pts or 0)
            packet.stream = stream
            target.mux(packet)


@pytest.mark.parametrize("kind", ["ts", "mkv"])
@pytest.mark.parametrize("source", ["h264-open.ts", "hevc.ts"])
def test_pictures_with_swapped_times_keep_decoder_order(source: str, kind: str) -> None:
    path = made(f"swapped-{source}.{kind}", lambda path: swapped(source, path))
    found = scan(path)
    with path.open("rb") as file:
        items = list(video.decode(file, found, found.pts, name="swapped", threads=2))
    assert len(items) == 50
    assert all(isinstance(item, video.Decoded) for item in items)
    assert found.times_replaced == 1
    outputs = list_decoder_outputs(io.BytesIO(path.read_bytes()), name="swapped")
    order = [picture.packet for picture in outputs.pictures]
    assert found.packet_numbers is not None
    assert found.packet_numbers.tolist() == order


def with_messages(path: Path) -> None:
    """Make a clip with packets that have their own times and a message instead of a picture."""
    message = bytes([0, 0, 0, 1, 6, 5, 17, *range(1, 18), 0x80])
    with av.open(clip("h264.ts")) as origin, av.open(path, "w") as target:
        stream = target.add_stream_from_template(origin.streams.video[0])
        for number, packet in enumerate(origin.demux(origin.streams.video[0])):
            if packet.size == 0:
                continue
            packet.stream = stream
            target.mux(packet)
            if number % 10 == 5:
                extra = Packet(message)
                extra.pts = extra.dts = (packet.dts or 0) + 1
                extra.time_base = packet.time_base
                extra.stream = stream
                target.mux(extra)


def test_packets_without_pictures_are_neither_frames_nor_damage() -> None:
    path = made("with-messages.mkv", with_messages)
    found = scan(path)
    assert (len(found.pts), found.packet_counts.hidden) == (50, 5)
    with path.open("rb") as file:
        items = list(video.decode(file, found, found.pts, name="messages", threads=1))
    assert all(isinstance(item, video.Decoded) for item in items)


def in_pairs(path: Path) -> None:
    """Make VP9 with two displayed pictures in each packet."""
    with av.open(clip("vp9.webm")) as origin, av.open(path, "w") as target:
        stream = target.add_stream_from_template(origin.streams.video[0])
        whole = [packet for packet in origin.demux(origin.streams.video[0]) if packet.size]
        for first, second in zip(whole[::2], whole[1::2], strict=True):
            one, other = bytes(first), bytes(second)
            marker = bytes([0b11000000 | 3 << 3 | 1])
            index = b"".join(len(data).to_bytes(4, "little") for data in (one, other))
            packet = Packet(one + other + marker + index + marker)
            packet.pts, packet.dts, packet.time_base = first.pts, first.dts, first.time_base
            packet.is_keyframe, packet.stream = first.is_keyframe, stream
            target.mux(packet)


def test_both_pictures_of_one_packet_are_frames() -> None:
    path = made("in-pairs.webm", in_pairs)
    assert all(count_shown_pictures(bytes(packet)) == 2 for packet in packets(path))
    found = scan(path)
    assert len(found.pts) == 50
    with path.open("rb") as file:
        items = list(video.decode(file, found, found.pts, name="pairs", threads=1))
    assert all(isinstance(item, video.Decoded) for item in items)
    assert found.times_replaced == 25


@pytest.mark.parametrize("name", ["vp9.webm", "vp9-hidden.webm"])
def test_vp9_packet_shows_one_picture(name: str) -> None:
    assert {count_shown_pictures(bytes(packet)) for packet in packets(clip(name))} == {1}


def test_refused_packets_among_repeated_times_keep_their_positions() -> None:
    good = [bytes(packet) for packet in packets(clip("mjpeg.mp4"))]
    buffer = io.BytesIO()
    with av.open(clip("mjpeg.mp4")) as origin, av.open(buffer, "w", format="matroska") as target:
        stream = target.add_stream_from_template(origin.streams.video[0])
        for number, data in enumerate([*good[:3], *[b"\xff\xd8junk"] * 2000, *good[3:6]]):
            packet = Packet(data)
            packet.pts, packet.dts = max(number, 1) * 10, number * 10
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 1000), stream, True
            target.mux(packet)
    found = video.scan(io.BytesIO(buffer.getvalue()), name="junk")
    assert (found.packet_counts.shown, found.packet_counts.undecodable) == (6, 2000)
    assert found.packet_numbers is not None
    assert found.packet_numbers.tolist() == list(range(2006))
