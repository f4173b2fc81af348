"""One frame on its way into the store: encode, hash, put, describe as an index row."""

from dataclasses import dataclass

import google_crc32c

from framecache import colour, jpeg, perceptual
from framecache.manifest import ChunkEntry
from framecache.model import Frame, JpegSettings, Picture


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrame:
    """A frame's JPEG and what the index says of it."""

    data: bytes
    width: int
    height: int
    crc32c: int
    perceptual_hash: str

    def is_of(self, data: bytes) -> bool:
        """Whether some bytes are its JPEG, by their CRC-32C."""
        crc32c: int = google_crc32c.value(data)
        return crc32c == self.crc32c


def encode_picture(
    picture: Picture, settings: JpegSettings, *, entry: ChunkEntry | None = None
) -> EncodedFrame:
    """Encode a decoded picture, from its planes, with no RGB in between.

    ``entry`` is its chunk, which knows the shape of its pixels; None: they are square.
    """
    shown = colour.to_jfif(picture)
    if entry is not None:
        width = entry.frame_width(settings.aspect, width=shown.y.shape[1])
        shown = colour.with_width(shown, width)
    data = jpeg.encode_picture(shown, quality=settings.quality)
    return _encoded(data, shown.y.shape, perceptual.perceptual_hash(shown.y))


def encode_frame(frame: Frame, settings: JpegSettings) -> EncodedFrame:
    """Encode a frame a program holds; its own perceptual hash is kept.

    Raises:
        InvalidValue: the image is not ``(height, width, 3)`` uint8.
    """
    data = jpeg.encode_rgb(frame.image, quality=settings.quality)
    name = frame.perceptual_hash or perceptual.hash_from_rgb(frame.image)
    return _encoded(data, frame.image.shape, name)


def as_it_is(encoded: EncodedFrame) -> EncodedFrame:
    """A frame that is encoded already, where others are yet to be."""
    return encoded


def _encoded(data: bytes, shape: tuple[int, ...], perceptual_hash: str) -> EncodedFrame:
    return EncodedFrame(
        data=data,
        width=shape[1],
        height=shape[0],
        crc32c=google_crc32c.value(data),
        perceptual_hash=perceptual_hash,
    )
