"""Sheets of small thumbnails of a timeline's frames, for scrubbing."""

from framecache._sprites.sheets import Sprites
from framecache._sprites.sprite_map import SpriteMap, SpriteSheet

__all__ = ["SpriteMap", "SpriteSheet", "Sprites"]
