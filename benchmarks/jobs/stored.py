"""Showing what a writer stored."""

from pathlib import Path

import simplejpeg

from benchmarks.contract import Inputs, Pass
from benchmarks.jobs import s3


def show_objects(inputs: Inputs, this: Pass) -> None:
    """Return the JPEGs ``out/{name}/{sequence}.jpg`` of the bucket."""
    client = s3.client(inputs.server)
    for key in s3.list_keys(client, inputs.bucket, f"out/{this.name}/"):
        jpeg = s3.get(client, inputs.bucket, key)
        this.take(int(Path(key).stem), simplejpeg.decode_jpeg(jpeg))


def show_files(inputs: Inputs, this: Pass, *, first: int = 0) -> None:
    """Return the files ``{name}/{number}.jpg``, whose numbers begin at ``first``."""
    for path in Path(inputs.folder, this.name).iterdir():
        this.take(int(path.stem) - first, simplejpeg.decode_jpeg(path.read_bytes()))
