"""Extract the frames of a video timeline once, keep them in your own storage, read anywhere."""

__version__ = "0.1.0"
