"""Frames of a video, by their exact times. The only room that uses PyAV (FFmpeg).

``scan`` lists the frames a video shows, without decoding where packets tell; ``decode`` brings
those that are wanted. What ffprobe's ``-show_frames`` displays of a sound file is the truth.
"""

from framecache.video.container import ffmpeg_version
from framecache.video.decoding import decode
from framecache.video.pictures import Decoded, Undecodable
from framecache.video.scanning import SCAN_RULES, VideoScan, scan

__all__ = ["SCAN_RULES", "Decoded", "Undecodable", "VideoScan", "decode", "ffmpeg_version", "scan"]
