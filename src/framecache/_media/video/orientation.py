"""Rotation and mirroring that make a decoded frame upright."""

import math

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame


def _type_without_name(cls: type[Type], value: object) -> Type:
    unnamed = object.__new__(cls)
    unnamed._name_ = f"UNNAMED_{value}"
    unnamed._value_ = value  # type: ignore[assignment]  # PyAV's stubs know the named ones
    return unnamed


# Listing the side data of a frame raises ValueError if PyAV has no name for the type of an item.
# PyAV 18.1 lacks four types of FFmpeg 8.1, among them those of MV-HEVC, LCEVC and EXIF.
setattr(Type, "_missing_", classmethod(_type_without_name))  # noqa: B010 - mypy takes it so


def orientation(frame: VideoFrame) -> tuple[bool, int]:
    """Return whether to mirror a frame left to right, and the clockwise quarter turns after that.

    The display matrix (ISO/IEC 14496-12, 6.2.2) maps the pixel (x, y) of the frame to
    (a·x + c·y, b·x + d·y) on the screen, with y pointing down.
    """
    # frame.side_data refers back to the frame. The cycle would keep whole pictures in memory
    # until the garbage collector runs.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # not in the stubs
    if matrix is None:
        return False, 0
    a, b, _, c, d, *_ = np.frombuffer(memoryview(matrix), np.int32).tolist()
    mirrored = a * d - b * c < 0
    angle = math.atan2(-b, -a) if mirrored else math.atan2(b, a)
    return mirrored, round(angle / (math.pi / 2)) % 4
