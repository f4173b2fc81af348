"""Safe access to a video file: its video stream, the stream's packets and its decoder."""

import errno
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import av
import av.container
import av.error
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framecache._media.video import limits, matroska
from framecache._media.video.decoded import is_convertible, tag_range
from framecache._media.video.error_boundary import VideoFile
from framecache._media.video.ffmpeg_file import FFmpegFile, stalled_error
from framecache._media.video.file_identification import (
    HEAD_BYTES,
    identify_file,
    is_reference_movie,
)
from framecache._media.video.stream_properties import (
    PICTURES,
    StreamProperties,
    read_properties,
)
from framecache.errors import UnreadableChunk

FORMATS: Final = (
    *("mov", "matroska", "mpegts", "avi", "ogg", "flv", "mpeg", "asf", "mxf", "ivf"),
    *("gif", "apng", "yuv4mpegpipe", "h264", "hevc", "dv"),
)
"""FFmpeg's names of the supported containers. None of them can refer to other files, as playlists
(HLS, DASH, concat) and session descriptions (SDP) do.
"""

if TYPE_CHECKING:
    VideoPacket: TypeAlias = Packet[VideoStream]
else:
    VideoPacket = Packet  # generic in PyAV's stubs only

_SUPPORTED_HINT: Final = (
    "give a video in a supported container, such as MP4, Matroska, MPEG-TS or AVI"
)
_CONVERT_HINT: Final = (
    f"{_SUPPORTED_HINT}, or try to convert it with 'ffmpeg -i FILE -map 0:v -c copy COPY.mkv'"
)
_CODECS_WITHOUT_OFFSETS: Final = frozenset({"h264", "hevc"})
"""Codecs for which MXF files may lack the offsets between decoding order and display order.

FFmpeg then takes one order for the other, so the PTS of such files are ignored. The frames of MXF
are evenly spaced in any case.
"""
_CONTAINERS_MARKING_SPLICES: Final = frozenset({"mpeg", "mpegts"})
"""Containers whose packets are marked as corrupt if data between two of them is missing.

MPEG-TS also marks complete packets next to a splice, and FFmpeg would copy the mark to the picture.
So the mark is cleared, and the decoder decides whether the packet is damaged.
"""
_KEY_ID: Final = "enc_key_id"
"""FFmpeg's metadata name for the key ID of an encrypted Matroska track.

Names of ordinary tags are in capitals, so none is mistaken for it.
"""
_FLV: Final = b"FLV"
_BUFFER_BYTES: Final = 128 * 1024


class DecoderError(Exception):
    """Error for a packet that the decoder refused. The message is FFmpeg's."""


@dataclass(frozen=True, slots=True)
class _PacketNumber:
    """Number of a packet, as an object of its own.

    PyAV looks up opaque objects by address and drops one when the first packet that carried it is
    freed. Equal integers can be the same object, so a plain ``int`` would be lost too early (PyAV
    18.1, ``av/opaque.py``).
    """

    value: int


class Container:
    """Open video file, of which one video stream is used.

    The file is read through its ``read`` and ``seek`` only. An error that they raise is hidden
    from FFmpeg, which sees the end of the file instead; the current call of this class then raises
    it unchanged.
    """

    def __init__(self, file: VideoFile, *, name: str) -> None:
        """Open ``file``; error messages call it ``name``.

        Raises:
            UnreadableChunk: the file is empty, is not a video in a supported container, or is
                damaged in a part that is required to read it.
        """
        self._name = name
        self._file = FFmpegFile(file, name)
        if self._file.size_bytes == 0:
            raise UnreadableChunk(f"{name} is empty (0 bytes): {_SUPPORTED_HINT}")
        self._av = self._open()
        self.format = self._av.format.name.partition(",")[0]
        """FFmpeg's name of the container, one of ``FORMATS``."""
        try:
            self._check_format()
            self._stream = self._select_stream()
        except BaseException:
            self._av.close()
            raise
        self.codec = self._stream.codec_context.codec.canonical_name
        """FFmpeg's name of the codec, as opposed to that of its decoder."""
        self._has_corrupt_packets = False
        self._numbers_packets = False
        self._reorder_depth = 0
        self._has_decoding_times = (
            self.format == "mxf"
            and self.codec in _CODECS_WITHOUT_OFFSETS
            and self._stream.codec_context.reorder_depth > 0
        )
        self._packets = self._demux()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The generator refers back to this object. The cycle would keep the decoder, its threads
        # and its pictures alive until the garbage collector runs.
        self._packets = iter(())
        self._av.close()

    @property
    def stream(self) -> VideoStream:
        """Video stream in use."""
        return self._stream

    @property
    def extradata(self) -> bytes | None:
        """Bytes with which the decoder is opened, such as parameter sets."""
        return self._stream.codec_context.extradata

    def stream_properties(self) -> StreamProperties | None:
        """Return the properties of the stream, as known so far; None if it has no time base."""
        return read_properties(self._av, self._stream, container=self.format, codec=self.codec)

    def is_cut_short(self) -> bool:
        """Return True if the file ends before its Matroska segment does."""
        return self.format == "matroska" and matroska.is_cut_short(self._file)

    def configure_decoder(
        self, *, threads: int, options: Mapping[str, str], reorder_depth: int = 0
    ) -> None:
        """Configure the decoder. Call this before the first packet is decoded.

        ``reorder_depth`` is the minimum number of pictures that the H.264 decoder holds back to
        reorder them.
        """
        context = self._stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        # With several threads, a decoder thread may release a number while this thread waits for
        # the decoder and holds the GIL.
        context.copy_opaque = self._numbers_packets = threads == 1
        context.options = {"max_pixels": str(limits.MAX_PIXELS), **options}
        self._reorder_depth = max(reorder_depth, context.reorder_depth)
        context.reorder_depth = self._reorder_depth

    def packets(self) -> Iterator[VideoPacket]:
        """Return the remaining packets of the stream, in decoding order.

        The iterator ends where damage to the container prevents reading on, as ffprobe does.
        """
        return self._packets

    @staticmethod
    def packet_number(item: VideoPacket | VideoFrame) -> int:
        """Return the number of a packet, or of the packet that a picture was decoded from.

        Numbers count from 0 since the last seek, in decoding order. They exist only with a
        single-threaded decoder.
        """
        number = item.opaque
        if not isinstance(number, _PacketNumber):
            raise DecoderError("it lost the number of a packet")
        return number.value

    @property
    def has_corrupt_packets(self) -> bool:
        """True if the container marked a packet that was returned as possibly incomplete."""
        return self._has_corrupt_packets

    def is_shown(self, packet: VideoPacket) -> bool:
        """Return True if the picture of a packet is to be shown, as far as the packet states it.

        Edit lists exclude pictures, and VP8 has pictures that only serve as references (RFC 6386,
        9.1, show_frame); VP9 stores those in the packet of the next picture. Theora's header
        packets hold no picture (Theora specification, 6.1); they are repeated where Ogg files are
        joined.
        """
        if packet.is_discard:
            return False
        match self.codec:
            case "vp8":
                return bool(memoryview(packet)[0] & 0x10)
            case "theora":
                return not memoryview(packet)[0] & 0x80
        return True

    def index_entries(self) -> list[tuple[int, int, bool]]:
        """Return offset, size and keyframe mark of each sample that the index lists.

        In a fragmented MP4 the index grows while packets are read.
        """
        return [(one.pos, one.size, one.is_keyframe) for one in self._stream.index_entries]

    def other_index_entries(self) -> list[tuple[int, int]]:
        """Return offset and size of each sample that the index lists for the other streams."""
        return [
            (one.pos, one.size)
            for stream in self._av.streams
            if stream.index != self._stream.index
            for one in stream.index_entries
        ]

    def byte_range(self, start: int, count: int) -> tuple[int, int] | None:
        """Return the bytes of packets from a keyframe on, by the index; None if it lacks them.

        Args:
            start: PTS of the keyframe.
            count: number of packets from it on; an index of keyframes only gives more.
        """
        entries = self._stream.index_entries
        first = entries.search_timestamp(start)
        if first < 0:
            return None
        begin = entries[first].pos
        if self.format == "mov":
            last = entries[min(first + count, len(entries)) - 1]
            end = last.pos + last.size
        elif first + 1 < len(entries):
            end = entries[first + 1].pos
        else:
            return None
        return (begin, end) if 0 <= begin < end else None

    def seek(self, pts: int) -> None:
        """Seek to a keyframe before ``pts``.

        The position can be far off: the packets that follow show where the seek ended.
        """
        self._file.restart_timer()
        try:
            self._av.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            self._file.check()
        self._packets = self._demux()
        self.reset_decoder()

    def decode(self, packet: VideoPacket | None) -> list[VideoFrame]:
        """Decode a packet and return the pictures that are now complete.

        Pass None after the last packet to obtain the remaining pictures.

        Raises:
            DecoderError: the decoder refused the packet.
            UnreadableChunk: decoding took longer than allowed for a packet, or a picture has a
                pixel format that cannot be converted.
        """
        deadline = time.thread_time() + limits.MAX_STALL_SECONDS
        try:
            return self._check_frames(self._stream.codec_context.decode(packet))
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            raise DecoderError(error.strerror or "unknown error") from error
        finally:
            if time.thread_time() > deadline:
                raise stalled_error(self._name)

    def reset_decoder(self) -> None:
        """Discard the decoder's state, so that it can start again, even after its last pictures."""
        context = self._stream.codec_context
        context.flush_buffers()
        context.reorder_depth = self._reorder_depth

    def _check_frames(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        for frame in frames:
            if not is_convertible(frame.format.name):
                raise UnreadableChunk(
                    f"{self._name} has pictures in the pixel format {frame.format.name}, "
                    "which FFmpeg does not convert: give the video in another one, for "
                    "example with 'ffmpeg -i FILE -pix_fmt yuv444p -c:v ffv1 COPY.mkv'"
                )
            tag_range(frame, self.codec)
        return frames

    def _open(self) -> av.container.InputContainer:
        try:
            container = av.open(
                self._file,
                mode="r",
                options={"max_pixels": str(limits.MAX_PIXELS)},
                container_options={
                    "format_whitelist": ",".join(FORMATS),
                    # No protocol has this name, so FFmpeg cannot open any other resource.
                    "protocol_whitelist": "none",
                    "max_streams": str(limits.MAX_STREAMS),
                    "fflags": self._demuxer_flags(),
                },
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
            )
        except av.error.FFmpegError as error:
            self._file.check()
            raise UnreadableChunk(self._explain_open_error(error)) from error
        return container

    def _demuxer_flags(self) -> str:
        """Return FFmpeg's demuxer flags.

        PyAV turns on genpts, which fills in missing PTS with values that ffprobe does not show, so
        it is turned off. The index of an FLV file is ignored: it only serves seeking, and FFmpeg
        allocates as many entries as it declares. AVI and MOV files cannot be read without their
        index.
        """
        head = self._file.read(len(_FLV))
        self._file.seek(0)
        return "-genpts+ignidx" if head == _FLV else "-genpts"

    def _explain_open_error(self, error: av.error.FFmpegError) -> str:
        if error.errno == errno.ENOMEM:
            return (
                f"{self._name} has more than {limits.MAX_STREAMS} streams, or needs more "
                "memory than there is: copy only its video with 'ffmpeg -i FILE -map 0:v -c "
                "copy'"
            )
        head = self._read_head()
        if (kind := identify_file(head)) is not None:
            return f"{self._name} is {kind[0]}: {kind[1]}"
        if error.errno == errno.EINVAL:  # not on the whitelist
            return f"{self._name} is in a format that is not supported: {_CONVERT_HINT}"
        return f"{self._name} is not a video, or is damaged at its start: {_CONVERT_HINT}"

    def _read_head(self) -> bytes:
        self._file.seek(0)
        return self._file.read(HEAD_BYTES)

    def _check_format(self) -> None:
        self._file.check()
        if self.format not in FORMATS:
            raise UnreadableChunk(
                f"{self._name} is {self.format}, which is not supported: {_CONVERT_HINT}"
            )

    def _select_stream(self) -> VideoStream:
        moving = [stream for stream in self._av.streams.video if not stream.disposition & PICTURES]
        if not moving:
            if is_reference_movie(self._read_head()):
                raise UnreadableChunk(
                    f"{self._name} is a QuickTime reference movie, which contains no video: "
                    "give the video that it refers to"
                )
            kinds = sorted({"cover art" if s.type == "video" else s.type for s in self._av.streams})
            found = f"only {' and '.join(kinds)}" if kinds else "nor anything else"
            raise UnreadableChunk(f"{self._name} contains no video, {found}: {_SUPPORTED_HINT}")
        # A stream of an unknown codec has no codec context, contrary to PyAV's type annotation.
        known = [stream for stream in moving if bool(stream.codec_context)]
        if not known:
            raise UnreadableChunk(
                f"{self._name} contains video of an unknown codec: {_SUPPORTED_HINT}"
            )
        whole = [stream for stream in known if not stream.disposition & Disposition.dependent]
        if not whole:
            raise UnreadableChunk(
                f"{self._name} is one picture in {len(known)} tiles (AVIF, HEIC), not a "
                "video: give a video, or convert it with 'heif-convert FILE PICTURE.png' and "
                "ffmpeg"
            )
        best = max(whole, key=_stream_rank)
        if _KEY_ID in best.metadata:
            raise UnreadableChunk(
                f"{self._name} is encrypted (Matroska ContentEncryption): decrypt it first"
            )
        if not is_within_size_limits(best.width, best.height):
            raise UnreadableChunk(
                f"{self._name} has pictures of {best.width}x{best.height} pixels, more than "
                f"the {limits.MAX_PIXELS}, or {limits.MAX_SIDE} per side, that are supported: "
                "give a smaller video"
            )
        return best

    def _demux(self) -> Iterator[VideoPacket]:
        packets, numbers = self._av.demux(self._stream), count()
        for number in count():
            self._file.restart_timer()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, IndexError):
                # PyAV raises IndexError at the end if a new stream appeared while reading.
                packet = None
            self._file.check()
            if packet is None:
                return
            if number >= limits.MAX_FRAMES:
                raise UnreadableChunk(
                    f"{self._name} has more than {limits.MAX_FRAMES} packets of video, so it is "
                    f"damaged or very long: cut it into shorter chunks"
                )
            if packet.size > limits.MAX_PACKET_BYTES:
                raise UnreadableChunk(
                    f"{self._name} has a packet of {packet.size} bytes, more than the "
                    f"{limits.MAX_PACKET_BYTES} that one picture needs, so it is damaged: "
                    "copy or encode it again"
                )
            if self._has_decoding_times:
                packet.pts = None
            # An empty packet would signal the end of the stream to the decoder.
            if packet.size:
                self._has_corrupt_packets |= packet.is_corrupt
                if self.format in _CONTAINERS_MARKING_SPLICES:
                    packet.is_corrupt = False
                if self._numbers_packets:
                    packet.opaque = _PacketNumber(next(numbers))
                yield packet


def is_within_size_limits(width: int, height: int) -> bool:
    """Return True if pictures of that size, in pixels, are within the limits for decoding."""
    return max(width, height) <= limits.MAX_SIDE and width * height <= limits.MAX_PIXELS


def ffmpeg_version() -> str:
    """Return the version of FFmpeg in use. Versions may decode a damaged frame differently."""
    return av.ffmpeg_version_info


def _stream_rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
    # An animated AVIF also contains one of its pictures as a still image next to the track.
    is_still = stream.frames == 1
    default = bool(stream.disposition & Disposition.default)
    return not is_still, default, stream.width * stream.height, -stream.index
