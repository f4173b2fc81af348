"""A comparison notices each way in which frames may be wrong."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from corpus.comparing import MOST_DISTANCE, QUALITY, compare_with
from corpus.encoding import SIZE, encode, ffmpeg
from corpus.pictures import Image, as_jpeg, number_shown, picture, thumbnail
from corpus.truth import Truth, truth

NUMBERS = range(8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparing") / "right.mkv"
    return encode(path, NUMBERS, "-pix_fmt", "yuv420p", codec="ffv1")


@pytest.fixture(scope="module")
def right(file: Path) -> Truth:
    return truth(file)


def aspects(expected: Truth, file: Path) -> set[str]:
    return set(compare_with(expected, file, NUMBERS).aspects)


def test_correct_frames_have_no_differences(file: Path, right: Truth) -> None:
    assert aspects(right, file) == set()


def test_extra_frame_is_reported(file: Path, right: Truth) -> None:
    fewer = replace(right, pictures=right.pictures[:-1])
    assert "frames" in aspects(fewer, file)


def test_time_off_by_one_microsecond_is_reported(file: Path, right: Truth) -> None:
    later = [*right.times[:-1], right.times[-1] + Fraction(1, 1_000_000)]
    assert aspects(replace(right, times=later), file) == {"times"}


def test_unreported_time_repair_is_reported(file: Path, right: Truth) -> None:
    assert aspects(replace(right, is_mended=True, restarts=1), file) == {"report"}


def test_different_size_is_reported(file: Path, right: Truth) -> None:
    wider = [np.repeat(image, 2, axis=1) for image in right.pictures]
    assert aspects(replace(right, pictures=wider), file) == {"sizes"}


def test_frames_shifted_by_one_are_reported(file: Path, right: Truth) -> None:
    shifted = [*right.pictures[1:], right.pictures[0]]
    assert aspects(replace(right, pictures=shifted), file) == {"pictures", "order"}


def test_numbers_are_read_from_the_pictures_of_the_file(file: Path, right: Truth) -> None:
    assert compare_with(right, file, range(1, 9)).aspects == {"order"}


@pytest.mark.parametrize(
    "mistake",
    ["in_color_matrix=bt709", "in_color_matrix=bt2020", "in_color_matrix=smpte240m", "in_range=pc"],
)
def test_wrong_matrix_or_range_differs_by_more_than_rounding(file: Path, mistake: str) -> None:
    wrong, true = decoded(file, mistake), decoded(file, "in_color_matrix=bt601")
    distances = [
        np.abs(thumbnail(as_jpeg(one, QUALITY)) - thumbnail(as_jpeg(other, QUALITY))).mean()
        for one, other in zip(wrong, true, strict=True)
    ]
    assert max(distances) > MOST_DISTANCE


@pytest.mark.parametrize("number", [0, 1, 100, 129, 254, 255])
def test_picture_shows_its_number_after_jpeg_compression(number: int) -> None:
    assert number_shown(as_jpeg(picture(number, SIZE), 50)) == number


def decoded(file: Path, conversion: str) -> list[Image]:
    scale = f"scale={conversion}:flags=accurate_rnd+full_chroma_int,format=rgb24"
    raw = ffmpeg("-i", file, "-vf", scale, "-f", "rawvideo", "-")
    return list(np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3))
