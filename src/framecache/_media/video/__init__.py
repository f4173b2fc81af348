"""Frames of a video and their exact times. The only package that uses PyAV (FFmpeg).

``scan`` lists the frames that a video shows, and decodes only where the packets do not suffice;
``decode`` returns the pictures of selected frames. The reference for an undamaged file is the
output of ffprobe's ``-show_frames``.
"""

from framecache._media.video.container import ffmpeg_version
from framecache._media.video.decoded import Decoded, Undecodable
from framecache._media.video.decoding import decode
from framecache._media.video.encoding import write_mp4
from framecache._media.video.scanning import SCAN_RULES, VideoScan, scan

__all__ = [
    "SCAN_RULES",
    "Decoded",
    "Undecodable",
    "VideoScan",
    "decode",
    "ffmpeg_version",
    "scan",
    "write_mp4",
]
