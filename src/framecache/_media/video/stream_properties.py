"""Properties of a video stream and its file, as the container states them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from framecache._media.video import matroska

PICTURES: Final = Disposition.attached_pic | Disposition.timed_thumbnails
"""Dispositions of covers and previews."""

_MAX_SOUND_OFFSET_SECONDS: Final = 10
_CONTAINERS_WITH_DURATION: Final = frozenset({"mov", "matroska"})
"""Containers whose header states the duration, counted from time 0."""


@dataclass(frozen=True, slots=True)
class StreamProperties:
    """Properties of a video stream."""

    codec: str
    """FFmpeg's name of the codec."""
    container: str
    """FFmpeg's name of the container."""
    time_base: Fraction
    """Duration of one unit of PTS in seconds."""
    sample_aspect_ratio: Fraction
    """Width of a stored pixel divided by its height; 1 if the file does not state it."""
    average_step: int
    """Average difference of PTS between two frames, at least 1; 1 if it is unknown."""
    reorder_depth: int
    """Number of pictures that the decoder holds back to reorder them, as far as it knows."""
    file_start_seconds: Fraction | None
    """Earliest time of the video and the sound on the clock of the PTS; None if unknown."""
    sound_end_seconds: Fraction | None
    """End of the sound on the clock of the PTS; None if there is no sound or it is unknown.

    Sound that begins more than 10 s from the pictures is ignored: it belongs to another program,
    or its clock is wrong.
    """
    header_end_seconds: Fraction | None
    """End of the file on the same clock, as its header states it; None if it does not."""
    has_other_video: bool
    """True if a program may show another video of the file, or a picture that comes before."""


def read_properties(
    file: InputContainer, stream: VideoStream, *, container: str, codec: str
) -> StreamProperties | None:
    """Return the properties of a stream, as known so far; None if it has no time base."""
    if stream.time_base is None:
        return None
    return StreamProperties(
        codec=codec,
        container=container,
        time_base=stream.time_base,
        sample_aspect_ratio=_sample_aspect_ratio(stream),
        average_step=_average_step(stream),
        reorder_depth=int(stream.codec_context.reorder_depth),
        file_start_seconds=_start(file),
        sound_end_seconds=_sound_end(file, stream, container),
        header_end_seconds=_header_end(file, container),
        has_other_video=_has_other_video(file, stream),
    )


def _sample_aspect_ratio(stream: VideoStream) -> Fraction:
    told = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return told if told is not None and told > 0 else Fraction(1)


def _average_step(stream: VideoStream) -> int:
    rate, time_base = stream.average_rate, stream.time_base
    return max(round(1 / (rate * time_base)), 1) if rate and time_base else 1


def _start(file: InputContainer) -> Fraction | None:
    start = cast("int | None", file.start_time)  # PyAV's stubs leave None out
    return None if start is None else Fraction(start, av.time_base)


def _sound_end(file: InputContainer, stream: VideoStream, container: str) -> Fraction | None:
    ends = [_end_of_sound(sound, stream, container) for sound in file.streams.audio]
    return max((end for end in ends if end is not None), default=None)


def _end_of_sound(sound: AudioStream, video: VideoStream, container: str) -> Fraction | None:
    if container == "matroska":
        return matroska.parse_duration(sound.metadata)
    start = sound.start_time
    if video.start_time is None or video.time_base is None:
        return None
    if start is None or sound.duration is None or sound.time_base is None:
        return None
    away = start * sound.time_base - video.start_time * video.time_base
    end = (start + sound.duration) * sound.time_base
    return end if abs(away) <= _MAX_SOUND_OFFSET_SECONDS else None


def _header_end(file: InputContainer, container: str) -> Fraction | None:
    duration = file.duration
    if container not in _CONTAINERS_WITH_DURATION or duration is None:
        return None
    return Fraction(duration, av.time_base)


def _has_other_video(file: InputContainer, stream: VideoStream) -> bool:
    return any(
        other.index < stream.index or not other.disposition & PICTURES
        for other in file.streams.video
        if other.index != stream.index
    )
