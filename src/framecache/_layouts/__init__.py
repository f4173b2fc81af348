"""Layouts in which frames are stored."""
