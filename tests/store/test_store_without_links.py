"""Folders on file systems that have no hard links, as SMB, exFAT and many drivers in user space."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from framecache import Frame, FrameCache, StoreUnavailable, StoreWarning

FRAME = Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("name", ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"])
def test_folder_without_hard_links_warns_and_serves_a_single_writer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, getattr(errno, name))
    walk = FrameCache(tmp_path / "cache").timeline("walk")
    with pytest.warns(StoreWarning, match="only one program"):
        walk.write([FRAME])
    assert [frame.sequence for frame in walk.frames()] == [0]


def test_failing_disk_is_not_taken_for_one_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, errno.EIO)
    walk = FrameCache(tmp_path / "cache").timeline("walk")
    with pytest.raises(StoreUnavailable, match="EIO"):
        walk.write([FRAME])
    assert not walk.exists
