"""Layouts of frames: `objects`, `packs` and `video`, behind `FrameLayout`."""

from collections.abc import Mapping
from typing import Final

from framecache._core.manifest import Manifest, Settings
from framecache._layouts.base import FrameLayout, FrameStorage
from framecache._layouts.objects import Objects
from framecache._layouts.packs import Packs
from framecache._layouts.video import Video
from framecache.errors import InvalidValue
from framecache.model import Layout

__all__ = ["LAYOUTS", "FrameLayout", "FrameStorage", "check_renditions", "layout_of"]

LAYOUTS: Final[Mapping[Layout, FrameLayout]] = {
    one.name: one for one in (Objects(), Packs(), Video())
}


def layout_of(manifest: Manifest) -> FrameLayout:
    """Return the layout in which the frames of a timeline are stored from now on."""
    return LAYOUTS[manifest.settings.layout]


def check_renditions(settings: Settings) -> Settings:
    """Return settings if their layout can have their renditions.

    Raises:
        InvalidValue: there are renditions, and the layout stores no frames.
    """
    if settings.jpeg.renditions and not LAYOUTS[settings.layout].stores_frames:
        raise InvalidValue(
            f'layout "{settings.layout}" stores no frames, so it has no renditions: use another '
            "layout, or leave the renditions out"
        )
    return settings
