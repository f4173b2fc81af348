"""Frames in the terms of other programs: their frame numbers, and the messages of VLM servers."""
