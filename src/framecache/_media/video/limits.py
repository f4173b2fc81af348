"""Limits on a video. A chunk that exceeds one is refused, or a frame is skipped.

A few hostile or damaged bytes can request all available memory and time. Each limit is well above
the values that cameras, encoders and standards produce; docs/frames.md describes the effect of
each limit.
"""

from typing import Final

from framecache.model import MAX_FRAME_PIXELS, MAX_FRAME_SIDE

MAX_PIXELS: Final = MAX_FRAME_PIXELS
MAX_SIDE: Final = MAX_FRAME_SIDE
"""Maximum width and height of a picture in pixels."""

MAX_FRAMES: Final = 2**22
"""Maximum number of video packets, and of displayed frames, per chunk: 19 hours at 60 fps."""

MAX_SECONDS: Final = 31 * 24 * 3600
"""Maximum time from a chunk's first frame to the end of its last; more means damaged times."""

MAX_PTS: Final = 2**62
"""Maximum magnitude of a PTS, so that sums of times fit into 64 bits."""

MAX_PACKET_BYTES: Final = 2**28
"""Maximum size of a packet: one compressed picture.

The largest pictures, compressed losslessly, take a fifth of it.
"""

MAX_STALL_SECONDS: Final = 60
"""Maximum CPU time to find one packet in the file, and to decode it.

It is checked whenever FFmpeg reads from the file, and after each packet. FFmpeg cannot be
interrupted between two reads.
"""

MAX_HELD_PICTURES: Final = 32
"""Maximum number of decoded pictures that are held until others show whether they are damaged.

Codecs reorder up to 16 pictures.
"""

MAX_INDEX_ENTRIES: Final = 2**23
"""Maximum number of samples that an MP4 declares, in all tracks and fragments.

Samples of a track count once for each of its edits. The limit is enough for the maximum number of
frames together with sound. FFmpeg allocates 80 bytes per sample before it checks that the file
contains any.
"""

MAX_BOXES: Final = 2**22
"""Maximum number of boxes in an MP4: enough for ten hours in fragments of one frame each."""

MAX_STREAMS: Final = 128
"""Maximum number of streams in a file: video, sound, subtitles, attached fonts and others."""

MAX_PICTURE_TRACKS: Final = 32
"""Maximum number of MP4 tracks that are not declared as sound.

FFmpeg decodes a picture of each video track.
"""
