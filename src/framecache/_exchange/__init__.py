"""Export of frames and overlays to folders that other programs read, and import of such folders.

Each module of a format has one class, an `ExchangeFormat`; `formats` lists them.
"""
