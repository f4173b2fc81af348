import io

import pytest
from PIL import Image as Pillow

from framecache._media.jpeg_orientation import read_orientation


def jpeg(orientation: int | None, *, order: str = "<") -> bytes:
    """A JPEG by Pillow, with an orientation in its Exif."""
    file = io.BytesIO()
    exif = Pillow.Exif()
    exif.endian = order
    exif[0x010F] = "a maker, before the orientation"
    if orientation is not None:
        exif[0x0112] = orientation
    Pillow.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_which_pillow_wrote(orientation: int, order: str) -> None:
    assert read_orientation(jpeg(orientation, order=order)) == orientation


@pytest.mark.parametrize("orientation", [None, 0, 9])
def test_absent_or_invalid_orientation_is_upright(orientation: int | None) -> None:
    assert read_orientation(jpeg(orientation)) == 1


def test_jpeg_without_exif_is_upright() -> None:
    file = io.BytesIO()
    Pillow.new("L", (8, 8)).save(file, "JPEG")
    assert read_orientation(file.getvalue()) == 1


def test_truncated_or_changed_metadata_has_an_orientation_anyway() -> None:
    data = jpeg(6)
    for end in range(len(data)):
        assert read_orientation(data[:end]) in {1, 6}
    for at in range(200):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        assert read_orientation(bytes(changed)) in range(1, 9)
