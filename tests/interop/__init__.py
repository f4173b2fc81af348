"""Frames in the terms of other tools, tried with the tools themselves."""
