"""Try an installed framecache as a new user would.

python smoke_test.py extract FOLDER   library and command, with the extra "extract": extract a
                                      generated clip into a cache in FOLDER, and read frames
python smoke_test.py base FOLDER      without any extra: the functions, and what was extracted there
python smoke_test.py serve FOLDER     the service with its viewer, with the extra "server"
"""

import base64
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import framecache
from framecache import Frame, FrameCache, MissingPackage, functional

FRAMES, RATE, WIDTH, HEIGHT = 25, 25, 96, 64
SHADES = (32, 224)
COMMAND = str(Path(sys.executable).with_name("framecache"))
DEADLINE_SECONDS = 60
OF_EXTRAS = ("av", "boto3", "cv2", "fastapi", "PIL", "pandas")
"""Modules that a plain installation does not bring."""
EXTRACT = "pip install 'framecache[extract]'"


def main() -> None:
    """Try what the first argument names."""
    part, folder = sys.argv[1], Path(sys.argv[2])
    package = Path(framecache.__file__).parent
    assert "site-packages" in package.parts, f"this is not an installed package: {package}"
    assert metadata("framecache")["Version"] == framecache.__version__
    {"extract": try_extraction, "base": try_base, "serve": try_service}[part](folder)
    version = sys.version.split()[0]
    print(f"framecache {framecache.__version__} works on Python {version}: {part}")


def try_extraction(cache: Path) -> None:
    """Extract a clip with the library and with the command, and read frames."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        make_clip(clip)
        match = FrameCache(cache).timeline("library")
        report = match.extract([clip])
        assert (report.frame_count, report.frames_undecodable) == (FRAMES, 0), report
        run("--cache", str(cache), "extract", "command", str(clip), "--fps", "5")
    stage = match.overlays(job_id="job", stage="stage")
    stage.save(3, {"mask": np.eye(HEIGHT, WIDTH, dtype=np.bool_)})
    assert stage.compare(match.overlays(job_id="job", stage="other")) == {3: ("mask",)}
    check_frames(cache)


def make_clip(path: Path) -> None:
    """Encode a second of gray that becomes brighter at its middle."""
    import av  # noqa: PLC0415 -- of the extra

    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"x264-params": "log-level=none"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), SHADES[2 * number // FRAMES], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def check_frames(cache: Path) -> None:
    """Read and verify what `try_extraction` stored, with the library and with the command."""
    match = FrameCache(cache).timeline("library")
    first, last = match.frame(0), match.frame_at((FRAMES - 1) / RATE)
    assert (first.sequence, last.sequence) == (0, FRAMES - 1)
    for frame, shade in zip((first, last), SHADES, strict=True):
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert abs(float(frame.image.mean()) - shade) < 4, frame.image.mean()  # noqa: PLR2004
    assert match.batch([0, FRAMES - 1]).shape == (2, HEIGHT, WIDTH, 3)
    assert match.index.sequence.tolist() == list(range(FRAMES))
    assert match.overlays(job_id="job", stage="stage").frames() == [3]
    assert match.verify().ok
    assert run("--version") == f"framecache {framecache.__version__}\n"
    with tempfile.TemporaryDirectory() as folder:
        frame_file = Path(folder, "frame.jpg")
        run("--cache", str(cache), "get", "command", "--at", "0.5", "-o", str(frame_file))
        assert frame_file.read_bytes().startswith(b"\xff\xd8")
        run("--cache", str(cache), "export", "library", str(Path(folder, "pngs")), "--name",
            "{sequence}.png")  # fmt: skip


def try_base(cache: Path) -> None:
    """Do without extras what needs none, and name the extra that the rest needs."""
    found = [name for name in OF_EXTRAS if find_spec(name)]
    assert not found, f"a plain installation brings {found}"
    check_frames(cache)
    with tempfile.TemporaryDirectory() as folder:
        for url in ("memory://", folder):
            os.environ["FRAMECACHE_URL"] = url
            try_functions()
    match = FrameCache(cache).timeline("library")
    try:
        match.extract(["clip.mp4"])
    except MissingPackage as error:
        assert str(error).endswith(EXTRACT), error  # noqa: PT017 -- without pytest
    else:
        raise AssertionError("extraction does not miss its packages")
    refused = subprocess.run(
        [COMMAND, "--cache", str(cache), "extract", "new", "clip.mp4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1, refused
    assert refused.stderr.endswith(f"{EXTRACT}\n"), refused.stderr
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "framecache[extract]" in run("--cache", str(cache), "doctor")


def try_functions() -> None:
    """Call each of the nine plain functions."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frames = [Frame(number, 0, number / RATE, image) for number in range(3)]
    assert not functional.cache_exists("t")
    assert functional.cache_frames("t", frames) == len(frames)
    assert functional.cache_exists("t")
    loaded = functional.load_cached_frames("t")
    assert [frame.timestamp for frame in loaded] == [frame.timestamp for frame in frames]
    assert len(loaded[0].perceptual_hash) == 16  # noqa: PLR2004 -- hex digits
    stored = functional.load_cached_frames_b64("t")
    assert base64.b64decode(str(stored[0]["jpeg_b64"])).startswith(b"\xff\xd8")
    assert len(functional.frames_to_b64(loaded)) == len(frames)
    png = loaded[0]._repr_png_()
    assert png is not None
    overlays = {"mask": base64.b64encode(png).decode()}
    functional.save_overlays("t", "job", "stage", 1, overlays)
    assert functional.load_overlays("t", "job", "stage", 1) == overlays
    assert functional.list_overlay_frames("t", "job", "stage") == [1]
    functional.clear_cache("t")
    assert not functional.cache_exists("t")


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
            for path in ("frames/0.jpg", "frames/0.jpg?width=32", "sprites/0.jpg"):
                picture = fetch(f"{address.rstrip('/')}/api/v1/timelines/library/{path}")
                assert picture.startswith(b"\xff\xd8"), path
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
