"""Sheets of small thumbnails of a timeline's frames, for scrubbing."""

from framecache._sprites.layout import SpriteMap, SpriteSheet
from framecache._sprites.sheets import Sprites

__all__ = ["SpriteMap", "SpriteSheet", "Sprites"]
