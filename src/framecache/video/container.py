"""A video file, opened safely: its video stream, that stream's packets and its decoder."""

import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import av
import av.container
import av.error
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framecache.errors import BadChunk
from framecache.video import limits, matroska
from framecache.video.boundary import VideoFile
from framecache.video.naming import HEAD_BYTES, is_reference_movie, kind_of
from framecache.video.pictures import is_convertible, tag_range

FORMATS: Final = (
    *("mov", "matroska", "mpegts", "avi", "ogg", "flv", "mpeg", "asf", "mxf", "ivf"),
    *("gif", "apng", "yuv4mpegpipe", "h264", "hevc", "dv"),
)
"""FFmpeg's names for the containers that are read. None of them names other files to open,
as playlists (HLS, DASH, concat) and session descriptions (SDP) do.
"""

if TYPE_CHECKING:
    VideoPacket: TypeAlias = Packet[VideoStream]
else:
    VideoPacket = Packet  # generic in PyAV's stubs only

_GIVE: Final = "give a video in a container that is read, such as MP4, Matroska, MPEG-TS or AVI"
_READABLE: Final = f"{_GIVE}, or try to make one with 'ffmpeg -i FILE -map 0:v -c copy COPY.mkv'"
_WITHOUT_OFFSETS: Final = frozenset({"h264", "hevc"})
"""Codecs of which MXF files may hold no offset between the order of decoding and of showing, so
that FFmpeg takes the one for the other. Times there are at an even pace, whatever is said.
"""
_MARKS_SPLICES: Final = frozenset({"mpeg", "mpegts"})
"""Containers that mark packets as damaged for what is missing between two of them."""
_SOUND_BEGINS_WITHIN_SECONDS: Final = 10
_KEY_ID: Final = "enc_key_id"
"""What FFmpeg calls the key of an encrypted Matroska track; names of tags are in capitals."""
_STATES_ITS_END: Final = frozenset({"mov", "matroska"})
"""Containers whose header says how long they are, from time 0 on."""
_FLV: Final = b"FLV"
_BUFFER_BYTES: Final = 128 * 1024


class DecoderError(Exception):
    """The decoder refused a packet. The message is FFmpeg's."""


@dataclass(frozen=True, slots=True)
class _PacketNumber:
    """The number of a packet, in an object of its own.

    PyAV finds such objects by their address, and forgets one with the first packet that it went
    with: equal integers are one object (PyAV 18.1, ``av/opaque.py``).
    """

    value: int


class Container:
    """An opened video file, of which one video stream is used.

    The file is only ever read through its ``read`` and ``seek``. What they raise surfaces
    unchanged from the call at hand; FFmpeg, which would take it for the end of the file, only
    sees one.
    """

    def __init__(self, file: VideoFile, *, name: str) -> None:
        """Open ``file``; ``name`` is what messages call it.

        Raises:
            BadChunk: it is empty, not a video in a container that is read, or damaged where
                nothing can be read without.
        """
        self._name = name
        self._file = _File(file, name)
        if self._file.size_bytes == 0:
            raise BadChunk(f"{name} is empty (0 bytes): {_GIVE}")
        self._av = self._open()
        try:
            self._check_format()
            self._stream = self._best_stream()
        except BaseException:
            self._av.close()
            raise
        self._codec_name = self.codec
        self._has_suspect_packets = False
        self._numbers_packets = False
        self._reorder_depth = 0
        self._has_decoding_times = (
            self.format == "mxf"
            and self.codec in _WITHOUT_OFFSETS
            and self._stream.codec_context.reorder_depth > 0
        )
        self._packets = self._demux()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The generator refers back to this object, which would keep the decoder, its threads and
        # its pictures until the garbage collector comes by.
        self._packets = iter(())
        self._av.close()

    @property
    def stream(self) -> VideoStream:
        """The video stream in use."""
        return self._stream

    @property
    def format(self) -> str:
        """FFmpeg's name of the container, one of ``FORMATS``."""
        return self._av.format.name.partition(",")[0]

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, not of its decoder."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def reorder_depth(self) -> int:
        """How many pictures the decoder holds back to order them, as far as it knows by now."""
        return int(self._stream.codec_context.reorder_depth)

    @property
    def sound_end_seconds(self) -> Fraction | None:
        """Where the sound ends on the clock of the PTS; None when it has none or that is unknown.

        Sound that begins far from the pictures belongs to another program, or its clock is wrong.
        """
        ends = [
            end for stream in self._av.streams.audio if (end := self._sound_end(stream)) is not None
        ]
        return max(ends, default=None)

    @property
    def stated_end_seconds(self) -> Fraction | None:
        """Where the header says that the file ends, on the clock of the PTS, if it does."""
        duration = self._av.duration
        if self.format not in _STATES_ITS_END or duration is None:
            return None
        return Fraction(duration, av.time_base)

    def is_cut_short(self) -> bool:
        """Whether the file ends before its Matroska segment does."""
        return self.format == "matroska" and matroska.is_cut_short(self._file)

    def _sound_end(self, stream: AudioStream) -> Fraction | None:
        if self.format == "matroska":
            return matroska.duration_of(stream.metadata)
        own, start = self._stream, stream.start_time
        if own.start_time is None or own.time_base is None:
            return None
        if start is None or stream.duration is None or stream.time_base is None:
            return None
        away = start * stream.time_base - own.start_time * own.time_base
        end = (start + stream.duration) * stream.time_base
        return end if abs(away) <= _SOUND_BEGINS_WITHIN_SECONDS else None

    @property
    def sample_aspect_ratio(self) -> Fraction:
        """Width by height of a stored pixel; 1 where it is not told."""
        told = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        return told if told is not None and told > 0 else Fraction(1)

    @property
    def average_step(self) -> int:
        """The PTS between two frames, on average, as far as the container tells; at least 1."""
        rate, time_base = self._stream.average_rate, self._stream.time_base
        return max(round(1 / (rate * time_base)), 1) if rate and time_base else 1

    def set_up_decoder(
        self, *, threads: int, options: Mapping[str, str], reorder_depth: int = 0
    ) -> None:
        """Choose how to decode, before the first packet is decoded.

        ``reorder_depth``: pictures that H.264 holds back at least, to order them by time.
        """
        context = self._stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        # A decoder of several threads might give a number back while this one waits for it with
        # the interpreter's lock.
        context.copy_opaque = self._numbers_packets = threads == 1
        context.options = {"max_pixels": str(limits.MAX_PIXELS), **options}
        self._reorder_depth = max(reorder_depth, context.reorder_depth)
        context.reorder_depth = self._reorder_depth

    def packets(self) -> Iterator[VideoPacket]:
        """The packets of the stream that were not given out yet, in decoding order.

        Ends where the container is damaged beyond reading on, as ffprobe does.
        """
        return self._packets

    @staticmethod
    def number_of(item: VideoPacket | VideoFrame) -> int:
        """The number, from 0, of a packet or of the packet that a picture came from.

        In decoding order since the last seek. Only a decoder of one thread keeps it.
        """
        number = item.opaque
        if not isinstance(number, _PacketNumber):
            raise DecoderError("it lost the number of a packet")
        return number.value

    @property
    def has_suspect_packets(self) -> bool:
        """Whether a packet that was given out may lack bytes, as far as the container tells."""
        return self._has_suspect_packets

    def shows(self, packet: VideoPacket) -> bool:
        """Whether the picture of a packet is meant to be shown, as far as the packet tells.

        Edit lists leave pictures out, and VP8 has some that only serve later ones (RFC 6386,
        9.1, show_frame); VP9 packs those into the packet of the next. Headers of Theora hold
        none (Theora specification, 6.1); they come again where Ogg files are joined.
        """
        if packet.is_discard:
            return False
        match self._codec_name:
            case "vp8":
                return bool(memoryview(packet)[0] & 0x10)
            case "theora":
                return not memoryview(packet)[0] & 0x80
        return True

    def seek(self, pts: int) -> None:
        """Go to a keyframe before ``pts``, or far from it: packets tell where one has landed."""
        self._file.restart_watch()
        try:
            self._av.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            self._file.check()
        self._packets = self._demux()
        self.reset_decoder()

    def decode(self, packet: VideoPacket | None) -> list[VideoFrame]:
        """Decode a packet into the pictures that are now complete; None brings the last ones.

        Raises:
            DecoderError: the decoder refused the packet.
            BadChunk: it took longer than a packet may, or a picture cannot be converted.
        """
        watch = Stopwatch(self._name)
        try:
            return self._checked(self._stream.codec_context.decode(packet))
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            raise DecoderError(error.strerror or "unknown error") from error
        finally:
            watch.check()

    def reset_decoder(self) -> None:
        """Make the decoder forget all packets, and let it begin anew after its last pictures."""
        context = self._stream.codec_context
        context.flush_buffers()
        context.reorder_depth = self._reorder_depth

    def _checked(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        for frame in frames:
            if not is_convertible(frame.format.name):
                raise BadChunk(
                    f"{self._name} has pictures in the pixel format {frame.format.name}, which "
                    f"FFmpeg does not convert: give the video in another one, such as by "
                    f"'ffmpeg -i FILE -pix_fmt yuv444p -c:v ffv1 COPY.mkv'"
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
                    # There is no such protocol: nothing else can be opened by FFmpeg itself.
                    "protocol_whitelist": "none",
                    "max_streams": str(limits.MAX_STREAMS),
                    "fflags": self._flags(),
                },
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
            )
        except av.error.FFmpegError as error:
            self._file.check()
            raise BadChunk(self._why_unreadable(error)) from error
        return container

    def _flags(self) -> str:
        """FFmpeg's flags for demuxing.

        PyAV asks FFmpeg to invent missing PTS; they are not those ffprobe shows. The index of an
        FLV file only serves to seek, and FFmpeg makes room for as many entries as it announces.
        AVI and MOV files are not read without theirs.
        """
        head = self._file.read(len(_FLV))
        self._file.seek(0)
        return "-genpts+ignidx" if head == _FLV else "-genpts"

    def _why_unreadable(self, error: av.error.FFmpegError) -> str:
        if error.errno == errno.ENOMEM:
            return (
                f"{self._name} holds more than {limits.MAX_STREAMS} streams, or asks for more "
                f"memory than there is: copy its video alone with 'ffmpeg -i FILE -map 0:v -c copy'"
            )
        head = self._head()
        if (kind := kind_of(head)) is not None:
            return f"{self._name} is {kind[0]}: {kind[1]}"
        if error.errno == errno.EINVAL:  # not on the whitelist
            return f"{self._name} is in a format that is not read here: {_READABLE}"
        return f"{self._name} is not a video, or is damaged at its start: {_READABLE}"

    def _head(self) -> bytes:
        self._file.seek(0)
        return self._file.read(HEAD_BYTES)

    def _check_format(self) -> None:
        self._file.check()
        if self.format not in FORMATS:
            raise BadChunk(f"{self._name} is {self.format}, which is not read here: {_READABLE}")

    def _best_stream(self) -> VideoStream:
        moving = [
            stream
            for stream in self._av.streams.video
            if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
        ]
        if not moving:
            if is_reference_movie(self._head()):
                raise BadChunk(
                    f"{self._name} is a QuickTime reference movie, which holds no video: give the "
                    f"video that it names"
                )
            kinds = sorted({"cover art" if s.type == "video" else s.type for s in self._av.streams})
            found = f"only {' and '.join(kinds)}" if kinds else "nor anything else"
            raise BadChunk(f"{self._name} holds no video, {found}: {_GIVE}")
        # A stream of an unknown codec has no codec context, whatever its type says.
        known = [stream for stream in moving if bool(stream.codec_context)]
        if not known:
            raise BadChunk(f"{self._name} holds video of an unknown codec: {_GIVE}")
        whole = [stream for stream in known if not stream.disposition & Disposition.dependent]
        if not whole:
            raise BadChunk(
                f"{self._name} is one picture in {len(known)} tiles (AVIF, HEIC), not a video: "
                f"give a video, or make it one by 'heif-convert FILE PICTURE.png' and ffmpeg"
            )
        best = max(whole, key=_rank)
        if _KEY_ID in best.metadata:
            raise BadChunk(
                f"{self._name} is encrypted (Matroska ContentEncryption): decrypt it first"
            )
        if not is_decoded(best.width, best.height):
            raise BadChunk(
                f"{self._name} has pictures of {best.width}x{best.height} pixels, more than the "
                f"{limits.MAX_PIXELS}, or {limits.MAX_SIDE} a side, that are decoded: give a "
                f"smaller video"
            )
        return best

    def _demux(self) -> Iterator[VideoPacket]:
        packets, numbers = self._av.demux(self._stream), count()
        for number in count():
            self._file.restart_watch()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, IndexError):
                # PyAV trips over a stream that appeared on the way, once all packets are read.
                packet = None
            self._file.check()
            if packet is None:
                return
            if number >= limits.MAX_FRAMES:
                raise BadChunk(
                    f"{self._name} has more than {limits.MAX_FRAMES} packets of video, so it is "
                    f"damaged or very long: cut it into shorter chunks"
                )
            if packet.size > limits.MAX_PACKET_BYTES:
                raise BadChunk(
                    f"{self._name} has a packet of {packet.size} bytes, more than the "
                    f"{limits.MAX_PACKET_BYTES} that one picture takes, so it is damaged: copy or "
                    f"encode it again"
                )
            if self._has_decoding_times:
                packet.pts = None
            # An empty packet would tell the decoder that the stream has ended.
            if packet.size:
                self._judge(packet)
                if self._numbers_packets:
                    packet.opaque = _PacketNumber(next(numbers))
                yield packet

    def _judge(self, packet: VideoPacket) -> None:
        """Note a packet that is marked as damaged, and leave it to the decoder where it may be.

        MPEG-TS marks those beside a splice, which lack nothing. FFmpeg would hand the mark on to
        the picture.
        """
        self._has_suspect_packets |= packet.is_corrupt
        if self.format in _MARKS_SPLICES:
            packet.is_corrupt = False


class Stopwatch:
    """Measures what this thread computes. Waiting for a store or for other programs is not it."""

    def __init__(self, name: str) -> None:
        """Begin now; ``name`` is what messages call the video."""
        self._name = name
        self._began = time.thread_time()

    def check(self) -> None:
        """Raise BadChunk once it has taken longer than one packet may."""
        if time.thread_time() - self._began > limits.MAX_STALL_SECONDS:
            raise BadChunk(
                f"{self._name} keeps the decoder busy for more than {limits.MAX_STALL_SECONDS} s "
                f"with one picture, so it is damaged or hostile: give another video"
            )


class _File:
    """A file for FFmpeg, which sees its end where the file raises, and keeps what it raised.

    FFmpeg sees the end, too, where it reads on and on for one packet.
    """

    def __init__(self, file: VideoFile, name: str) -> None:
        self._file = file
        self._name = name
        self._watch = Stopwatch(name)
        self._error: BaseException | None = None
        self.size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        if self._error is not None:
            return b""
        try:
            self._watch.check()
            return bytes(self._file.read(size) or b"")
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._error is not None:
            return -1
        try:
            self._watch.check()
            if whence == os.SEEK_END:
                return self._file.seek(max(self.size_bytes + offset, 0))
            return self._file.seek(offset, whence)
        except BaseException as error:  # noqa: BLE001 - raised again by check()
            self._error = error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def restart_watch(self) -> None:
        """Begin to search for another packet."""
        self._watch = Stopwatch(self._name)

    def check(self) -> None:
        """Raise what the file raised, if it did."""
        if self._error is not None:
            raise self._error


def is_decoded(width: int, height: int) -> bool:
    """Whether pictures of that size are small enough."""
    return max(width, height) <= limits.MAX_SIDE and width * height <= limits.MAX_PIXELS


def ffmpeg_version() -> str:
    """The version of the FFmpeg in use: another may decode a damaged frame differently."""
    return av.ffmpeg_version_info


def _rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
    # An animated AVIF also holds one of its pictures as a still, beside the track.
    is_still = stream.frames == 1
    default = bool(stream.disposition & Disposition.default)
    return not is_still, default, stream.width * stream.height, -stream.index
