"""Sheets of small thumbnails of a timeline's frames, for scrubbing."""

from framecache.sprites.layout import SpriteMap, SpriteSheet
from framecache.sprites.sheets import Sprites

__all__ = ["SpriteMap", "SpriteSheet", "Sprites"]
