"""Every MP4 that ffmpeg writes here is described by its sample tables as by a scan."""

from pathlib import Path
from typing import Final

import pytest

from corpus.encoding import CannotMake
from corpus.files import CASES
from framecache._media import video

NAMES: Final = [
    name for name, case in CASES.items() if case.container in {"mp4", "mov", "fragmented", "3gp"}
]
TRUSTED_CODECS: Final = {"h264", "hevc", "vp9", "av1"}
ODD: Final = {
    *("joined by bytes", "open groups", "open groups, cut", "intra refresh", "interlaced"),
    *("field pairs (PAFF)", "field pairs (PAFF), a packet each", "ends in the middle"),
    "units of a second layer",
}
"""Files of which some can only be described by their packets."""


@pytest.fixture(autouse=True)
def use_tables_of_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 0)


@pytest.mark.parametrize("name", NAMES)
def test_description_equals_that_of_a_scan(name: str, tmp_path: Path) -> None:
    path, case = tmp_path / name, CASES[name]
    try:
        case.make(path)
    except CannotMake as error:
        pytest.skip(f"ffmpeg does not write it here: {error}")
    with path.open("rb", buffering=0) as file:
        described = video.describe(file, name=name)
        file.seek(0)
        scanned = video.scan(file, name=name)
    assert described.has_same_frames(scanned)
    assert described.is_random_access.tolist() == scanned.is_random_access.tolist()
    assert described.earliest_pts.tolist() == scanned.earliest_pts.tolist()
    is_described_by_tables = described.samples is not None
    if case.oddity not in ODD and scanned.codec in TRUSTED_CODECS:
        assert is_described_by_tables
