"""FFmpeg's names of codecs."""

from typing import Final

_NAMES: Final = {
    "flv": "flv1",
    "libaom-av1": "av1",
    "libsvtav1": "av1",
    "libtheora": "theora",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "libx264": "h264",
    "libx264rgb": "h264",
    "libx265": "hevc",
    "libxvid": "mpeg4",
    "msmpeg4": "msmpeg4v3",
    "prores_ks": "prores",
    "vc2": "dirac",
    "wrapped_avframe": "rawvideo",
}
"""By encoder, where the codec's differs."""


def codec_of(encoder: str) -> str:
    """Return the name of the codec that an encoder writes."""
    return _NAMES.get(encoder, encoder)
