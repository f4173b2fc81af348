"""JPEGs are encoded at 4:2:0 and decoded at a requested size; Pillow is the reference."""

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from framecache._media import color, jpeg
from framecache.errors import InvalidValue
from framecache.model import Color, Image, Picture

SHAPES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (16, 16), (17, 33), (101, 67), (120, 160)]


def picture_of(height: int, width: int) -> Image:
    """Smooth colors, so that a JPEG keeps them."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [rows * 200 // max(height, 2), columns * 200 // max(width, 2), (rows + columns) % 200]
    return np.stack(planes, axis=-1).astype(np.uint8)


def planes_of(height: int, width: int) -> Picture:
    half = (-(-height // 2), -(-width // 2))
    y = picture_of(height, width)[:, :, 1].copy()
    u, v = np.full(half, 90, np.uint8), np.full(half, 160, np.uint8)
    return Picture(y, u, v, "bt601", full_range=True, quarter_turns=0)


def by_pillow(data: bytes, mode: str = "RGB") -> Image:
    with PillowImage.open(io.BytesIO(data)) as image:
        image.draft(mode, image.size)
        return np.asarray(image.convert(mode))


def furthest(left: Image, right: Image) -> int:
    assert left.shape == right.shape
    return int(np.abs(left.astype(int) - right.astype(int)).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_decoded_image_matches_that_of_pillow(shape: tuple[int, int]) -> None:
    data = jpeg.encode_rgb(picture_of(*shape), quality=95)
    assert furthest(jpeg.decode(data), by_pillow(data)) <= 2
    assert jpeg.size(data) == shape


@pytest.mark.parametrize("shape", SHAPES)
def test_planes_are_stored_unchanged(shape: tuple[int, int]) -> None:
    picture = planes_of(*shape)
    data = jpeg.encode_picture(picture, quality=100)
    stored = by_pillow(data, "YCbCr")
    assert furthest(stored[:, :, 0], picture.y) <= 2
    assert np.unique(stored[:, :, 1]).tolist() == [90]
    assert np.unique(stored[:, :, 2]).tolist() == [160]
    assert jpeg.size(data) == shape


def test_chroma_is_stored_at_half_size() -> None:
    for data in (
        jpeg.encode_rgb(picture_of(32, 32), quality=90),
        jpeg.encode_picture(planes_of(32, 32), quality=90),
    ):
        with PillowImage.open(io.BytesIO(data)) as image:
            layers = [tuple(layer[1:3]) for layer in image.layer]  # type: ignore[attr-defined]
            assert layers == [(2, 2), (1, 1), (1, 1)]
            assert image.info["jfif"] == 0x0101


def test_memory_beyond_the_planes_does_not_affect_the_jpeg() -> None:
    differing = [
        (height, width)
        for height in range(1, 65)
        for width in range(1, 65)
        if _encoded_amid(0, height, width) != _encoded_amid(255, height, width)
    ]
    assert differing == []


def test_memory_beyond_an_rgb_image_does_not_affect_the_jpeg() -> None:
    for height, width in SHAPES:
        image = picture_of(height, width)
        low, high = (
            np.pad(image, ((0, 2), (0, 2), (0, 0)), constant_values=value)[:height, :width]
            for value in (0, 255)
        )
        assert jpeg.encode_rgb(low, quality=85) == jpeg.encode_rgb(high, quality=85)


@pytest.mark.parametrize("turns", range(4))
def test_odd_sides_are_padded_with_the_last_pixels_in_every_orientation(turns: int) -> None:
    """They compress like the same picture with even sides; only the size in the header differs.

    Along a side of one pixel, chroma cannot be coarser than luma, and the JPEG says so.
    """
    for height, width in itertools.product((3, 7, 15, 16, 31), repeat=2):
        upright = color.to_jfif(replace(planes_of(height, width), quarter_turns=turns))
        rows, columns = upright.y.shape
        even = np.pad(upright.y, ((0, rows % 2), (0, columns % 2)), mode="edge")
        data = jpeg.encode_picture(upright, quality=85)
        assert jpeg.size(data) == (rows, columns)
        whole = jpeg.encode_picture(replace(upright, y=even), quality=85)
        assert _without_size(data) == _without_size(whole)


def _without_size(data: bytes) -> bytes:
    frame = data.index(b"\xff\xc0")  # SOF0 (ITU-T T.81, B.2.2): marker, length, depth, size
    return data[: frame + 5] + data[frame + 9 :]


def _encoded_amid(value: int, height: int, width: int) -> bytes:
    """The JPEG of planes that are surrounded by memory of that value."""
    picture = planes_of(height, width)
    y, u, v = (
        np.pad(plane, 4, constant_values=value)[4:-4, 4:-4]
        for plane in (picture.y, picture.u, picture.v)
    )
    return jpeg.encode_picture(replace(picture, y=y, u=u, v=v), quality=85)


@pytest.mark.parametrize("scale", [1, 1.0, 0.5, 0.25, 0.125])
@pytest.mark.parametrize("shape", SHAPES)
def test_scaled_sizes_are_rounded_up(shape: tuple[int, int], scale: float) -> None:
    data = jpeg.encode_rgb(picture_of(*shape), quality=95)
    size = tuple(int(np.ceil(side * scale)) for side in shape)
    assert jpeg.decode(data, scale=scale).shape == (*size, 3)
    assert jpeg.decode(data, scale=scale, color="gray").shape == size


def test_scaled_picture_is_the_block_average_of_the_whole() -> None:
    data = jpeg.encode_rgb(picture_of(64, 96), quality=98)
    blocks = jpeg.decode(data, color="gray").astype(float).reshape(8, 8, 12, 8).mean(axis=(1, 3))
    small = jpeg.decode(data, scale=0.125, color="gray")
    assert np.abs(small - blocks).max() <= 2


def test_gray_image_is_the_luma_plane() -> None:
    data = jpeg.encode_rgb(picture_of(40, 60), quality=95)
    assert furthest(jpeg.decode(data, color="gray"), by_pillow(data, "L")) <= 1


@pytest.mark.parametrize(
    ("color", "scale", "shape"),
    [("rgb", 1.0, (101, 67, 3)), ("gray", 1.0, (101, 67)), ("rgb", 0.5, (51, 34, 3))],
)
def test_pixels_are_decoded_into_a_given_array(
    color: Color, scale: float, shape: tuple[int, ...]
) -> None:
    data = jpeg.encode_rgb(picture_of(101, 67), quality=90)
    batch = np.zeros((3, *shape), np.uint8)
    result = jpeg.decode(data, color=color, scale=scale, out=batch[1])
    assert np.shares_memory(result, batch)
    assert (batch[1] == jpeg.decode(data, color=color, scale=scale)).all()
    assert not batch[0].any()
    assert not batch[2].any()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((101, 66, 3), np.uint8),
        np.zeros((102, 67, 3), np.uint8),
        np.zeros((101, 67), np.uint8),
        np.zeros((101, 67, 3), np.int16),
        np.zeros((101, 67, 6), np.uint8)[:, :, ::2],
        np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (101, 67, 3)),
    ],
)
def test_array_of_the_wrong_shape_or_type_is_rejected(out: Image) -> None:
    data = jpeg.encode_rgb(picture_of(101, 67), quality=90)
    with pytest.raises(InvalidValue, match=r"out must be .*\(101, 67, 3\)"):
        jpeg.decode(data, out=out)


@pytest.mark.parametrize(
    "view",
    [
        np.s_[::2, :, :],
        np.s_[:, ::2, :],
        np.s_[::-1, ::-1, :],
        np.s_[:, :, ::-1],
        np.s_[5:50, 7:40, :],
    ],
)
def test_array_views_with_any_strides_are_encoded(view: tuple[slice, ...]) -> None:
    image = picture_of(64, 80)[view]
    assert jpeg.encode_rgb(image, quality=90) == jpeg.encode_rgb(image.copy(), quality=90)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"\(4, 4, 3\) float32"),
        (np.zeros((4, 4, 3), np.int8), r"\(4, 4, 3\) int8"),
        (np.zeros((4, 4, 3), np.bool_), r"\(4, 4, 3\) bool"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) uint8"),
        (np.zeros((3, 4, 4), np.uint8), r"\(3, 4, 4\) uint8"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\) uint8"),
        (np.zeros((0, 4, 3), np.uint8), "4x0"),
        (np.zeros((4, 0, 3), np.uint8), "0x4"),
        (np.zeros((1, 65501, 3), np.uint8), "65501x1"),
        (np.zeros((65536, 1, 3), np.uint8), "1x65536"),
        (np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (65000, 65000, 3)), "65000x65000"),
        ([[[1, 2, 3]]], "list"),
        (None, "NoneType"),
        (b"\xff\xd8\xff", "bytes"),
    ],
)
def test_invalid_rgb_image_is_rejected_with_its_properties(image: Image, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        jpeg.encode_rgb(image, quality=85)


@pytest.mark.parametrize("quality", [0, 101, -1, 85.0, "85", None, True])
def test_quality_out_of_range_is_rejected(quality: int) -> None:
    with pytest.raises(InvalidValue, match="quality must be an integer from 1 to 100"):
        jpeg.encode_rgb(picture_of(4, 4), quality=quality)
    with pytest.raises(InvalidValue, match="quality must be an integer from 1 to 100"):
        jpeg.encode_picture(planes_of(4, 4), quality=quality)


@pytest.mark.parametrize("scale", [0, 0.3, 2, -1, 0.0625, float("nan")])
def test_unsupported_scale_is_rejected_with_the_supported_ones(scale: float) -> None:
    with pytest.raises(InvalidValue, match=r"1, 0\.5, 0\.25 or 0\.125"):
        jpeg.decode(jpeg.encode_rgb(picture_of(4, 4), quality=90), scale=scale)


def test_unsupported_color_is_rejected() -> None:
    data = jpeg.encode_rgb(picture_of(4, 4), quality=90)
    with pytest.raises(InvalidValue, match='"rgb", "bgr" or "gray"'):
        jpeg.decode(data, color="BGR")  # type: ignore[arg-type]


def test_planes_that_are_not_upright_full_range_bt601_are_rejected() -> None:
    planes = planes_of(4, 4)
    for other in (
        replace(planes, matrix="bt709"),
        replace(planes, full_range=False),
        replace(planes, quarter_turns=1),
    ):
        with pytest.raises(ValueError, match="to_jfif"):
            jpeg.encode_picture(other, quality=90)


@pytest.mark.parametrize("keep", [0, 1, 2, 100, 300, -2, -40])
def test_truncated_jpeg_is_invalid(keep: int) -> None:
    data = jpeg.encode_rgb(picture_of(64, 64), quality=90)
    with pytest.raises(jpeg.InvalidJpeg):
        jpeg.decode(data[:keep])


def test_data_that_is_not_a_jpeg_is_invalid() -> None:
    for data in (b"", b"\0" * 100, b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xd9"):
        with pytest.raises(jpeg.InvalidJpeg):
            jpeg.decode(data)
        with pytest.raises(jpeg.InvalidJpeg):
            jpeg.size(data)


def test_header_with_billions_of_pixels_is_invalid() -> None:
    data = bytearray(jpeg.encode_rgb(picture_of(8, 8), quality=90))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xdc\xff\xdc"
    with pytest.raises(jpeg.InvalidJpeg, match="65500x65500"):
        jpeg.decode(bytes(data))


def test_jpegs_of_other_programs_are_decoded() -> None:
    image = picture_of(40, 60)
    for options in ({"progressive": True}, {"subsampling": 0}, {"quality": 30}):
        file = io.BytesIO()
        PillowImage.fromarray(image).save(file, "JPEG", **options)
        assert furthest(jpeg.decode(file.getvalue()), by_pillow(file.getvalue())) <= 2
    file = io.BytesIO()
    PillowImage.fromarray(image[:, :, 0]).save(file, "JPEG")
    assert furthest(jpeg.decode(file.getvalue()), by_pillow(file.getvalue())) <= 2


def test_concurrent_encoding_in_threads_gives_the_same_bytes() -> None:
    images = [picture_of(50 + n, 70) for n in range(8)]
    alone = [jpeg.encode_rgb(image, quality=85) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: jpeg.encode_rgb(image, quality=85), images * 20))
    assert together == alone * 20


def test_encoder_version_names_simplejpeg() -> None:
    assert jpeg.encoder_version().startswith("simplejpeg ")
