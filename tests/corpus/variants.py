"""Shared parts of unusual files: their encoding, copying and names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from corpus.case import Case
from corpus.encoding import copy, encode, encoded
from corpus.names import codec_of

FRAMES: Final = 30

GROUPS: Final = ("-g", "10", "-keyint_min", "10", "-sc_threshold", "0")
PLAIN_ORDER: Final = (*GROUPS, "-bf", "0")
B_FRAMES: Final = (*GROUPS, "-bf", "2")
OPEN_GROUPS: Final = ("-bf", "3", "-x264-params", "open-gop=1:keyint=10:min-keyint=10:scenecut=0")
OPEN_GROUPS_HEVC: Final = (
    "-x265-params",
    "log-level=none:open-gop=1:keyint=10:min-keyint=10:bframes=3:scenecut=0",
)
REFRESH: Final = ("-bf", "0", "-x264-params", "intra-refresh=1:keyint=15:scenecut=0")
FRAGMENTS: Final = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
INTERLACED: Final = ("-flags", "+ildct+ilme", "-g", "10")


def odd(
    label: str,
    suffix: str,
    encoder: str,
    oddity: str,
    *options: str,
    rate: str = "25",
    count: int = FRAMES,
) -> Case:
    """Return a file encoded with ffmpeg's ``options``."""
    return Case(
        name=f"{label}.{suffix}",
        container=suffix,
        codec=codec_of(encoder),
        make=encoded(range(count), *options, codec=encoder, rate=rate),
        oddity=oddity,
    )


def copied(
    label: str,
    suffix: str,
    oddity: str,
    encoding: Sequence[str],
    *options: str,
    before: Sequence[str] = (),
    encoder: str = "libx264",
) -> Case:
    """Return a file whose packets are copied from another; ``before``: options of the input."""

    def make(path: Path) -> None:
        source = path.with_name(f"source-of-{path.name}.mkv")
        encode(source, range(FRAMES), *encoding, codec=encoder)
        copy(source, path, *options, before=before)
        source.unlink()

    return Case(f"{label}.{suffix}", suffix, codec_of(encoder), make, oddity)
