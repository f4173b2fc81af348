"""Try an installed framecache as a new user would: extract a generated clip, and read a frame.

python smoke_test.py           library and command, with what a plain installation brings
python smoke_test.py --serve   and the service with its viewer, which need the extra "server"
"""

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import metadata
from pathlib import Path

import av
import numpy as np

import framecache
from framecache import FrameCache

FRAMES, RATE, WIDTH, HEIGHT = 25, 25, 96, 64
SHADES = (32, 224)
COMMAND = str(Path(sys.executable).with_name("framecache"))
DEADLINE_SECONDS = 60


def main() -> None:
    """Try the library, the command and, if asked for, the service."""
    package = Path(framecache.__file__).parent
    assert "site-packages" in package.parts, f"this is not an installed package: {package}"
    assert metadata("framecache")["Version"] == framecache.__version__
    with tempfile.TemporaryDirectory() as folder:
        clip, cache = Path(folder, "clip.mp4"), Path(folder, "cache")
        make_clip(clip)
        try_library(clip, cache)
        try_command(clip, cache)
        if "--serve" in sys.argv[1:]:
            try_service(cache)
    print(f"framecache {framecache.__version__} works on Python {sys.version.split()[0]}")


def make_clip(path: Path) -> None:
    """Encode a second of gray that becomes brighter at its middle."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"x264-params": "log-level=none"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), SHADES[2 * number // FRAMES], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def try_library(clip: Path, cache: Path) -> None:
    """Extract a clip, and read frames."""
    match = FrameCache(cache).timeline("library")
    report = match.extract([clip])
    assert (report.frame_count, report.frames_undecodable) == (FRAMES, 0), report
    first, last = match.frame(0), match.frame_at((FRAMES - 1) / RATE)
    assert (first.sequence, last.sequence) == (0, FRAMES - 1)
    for frame, shade in zip((first, last), SHADES, strict=True):
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert abs(float(frame.image.mean()) - shade) < 4, frame.image.mean()  # noqa: PLR2004
    assert match.verify().ok


def try_command(clip: Path, cache: Path) -> None:
    """Ask for the version, extract a clip, and write a frame."""
    assert run("--version") == f"framecache {framecache.__version__}\n"
    run("--cache", str(cache), "extract", "command", str(clip), "--fps", "5")
    frame = cache.with_name("frame.jpg")
    run("--cache", str(cache), "get", "command", "--at", "0.5", "-o", str(frame))
    assert frame.read_bytes().startswith(b"\xff\xd8")


def run(*arguments: str) -> str:
    """Run the command; return what it writes to standard output."""
    return subprocess.run(
        [COMMAND, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def try_service(cache: Path) -> None:
    """Start the service on a free port of loopback, and fetch the viewer and a frame."""
    command = [COMMAND, "--cache", str(cache), "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = next(
                found[0] for line in server.stdout if (found := re.search(r"http://\S+", line))
            )
            assert b"/assets/" in fetch(address)
            picture = fetch(f"{address.rstrip('/')}/api/v1/timelines/library/frames/0.jpg")
            assert picture.startswith(b"\xff\xd8")
        finally:
            server.terminate()


def fetch(url: str) -> bytes:
    """Fetch a URL, and try again until the service answers."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
                body: bytes = answer.read()
                return body
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
