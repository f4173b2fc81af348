"""How much of a video is worked on. Beyond any of these a chunk is refused, or a frame skipped.

A few hostile or damaged bytes can ask for all the memory and time there is. Each limit is well
above what cameras, encoders and standards produce; docs/frames.md says what happens at it.
"""

from typing import Final

from framecache.model import MAX_FRAME_PIXELS, MAX_FRAME_SIDE

MAX_PIXELS: Final = MAX_FRAME_PIXELS
MAX_SIDE: Final = MAX_FRAME_SIDE
"""Pixels of a picture's width or height."""

MAX_FRAMES: Final = 2**22
"""Packets of the video stream, and displayed frames, of one chunk: 19 hours at 60 a second."""

MAX_SECONDS: Final = 31 * 24 * 3600
"""From a chunk's first frame to the end of its last. Times further apart are damaged."""

MAX_PTS: Final = 2**62
"""Presentation times lie between this and its negative, so that 64 bits hold what is added."""

MAX_PACKET_BYTES: Final = 2**28
"""One packet: one compressed picture. The largest pictures, without loss, take a fifth of it."""

MAX_STALL_SECONDS: Final = 60
"""Processor time for one packet: to find it in the file, and to decode it.

Looked at whenever FFmpeg reads from the file, and after each packet. What FFmpeg does between
two reads cannot be stopped.
"""

MAX_HELD_PICTURES: Final = 32
"""Decoded pictures that wait until others show whether they are damaged. Codecs reorder 16."""

MAX_INDEX_ENTRIES: Final = 2**23
"""Samples that an MP4 announces: of all tracks and fragments, each as often as there are edits.

Enough for the most frames with sound beside them. FFmpeg takes 80 bytes for each, before it looks
whether the file has any.
"""

MAX_BOXES: Final = 2**22
"""Boxes of an MP4: enough for ten hours in fragments of one frame each."""

MAX_STREAMS: Final = 128
"""Video, sound, subtitles, attached fonts and others in one file."""

MAX_PICTURE_TRACKS: Final = 32
"""Tracks of an MP4 that do not say that they are sound: FFmpeg decodes a picture of each video."""
