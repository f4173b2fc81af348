"""Forked workers of a program read frames, also after their parent has read."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import boto3
import httpx
import numpy as np
import pytest

from framecache import Frame, FrameCache

_DEADLINE_SECONDS = 120
_FRAMES = 12

# A program that gunicorn imports before it forks.
_SERVICE = """
import os
from framecache import FrameCache
timeline = FrameCache(os.environ["CACHE_OF_TEST"]).timeline("t")
timeline.frame(0)

def app(environ, start_response):
    body = timeline.jpeg(int(environ["PATH_INFO"].lstrip("/")))
    headers = [("Content-Length", str(len(body))), ("Process", str(os.getpid()))]
    start_response("200 OK", headers)
    return [body]
"""
_LOADER = """
import sys
from torch.utils.data import DataLoader
from framecache import FrameCache

class Frames:
    def __init__(self, timeline):
        self.timeline = timeline
    def __len__(self):
        return len(self.timeline)
    def __getitem__(self, number):
        frame = self.timeline.frame(number)
        return frame.sequence, frame.image

if __name__ == "__main__":
    timeline = FrameCache(sys.argv[1]).timeline("t")
    timeline.frame(0)
    loader = DataLoader(Frames(timeline), batch_size=2, shuffle=True, num_workers=4, timeout=100)
    for _ in range(2):
        for sequences, images in loader:
            for sequence, image in zip(sequences, images, strict=True):
                print(int(sequence), round(float(image.float().mean())))
"""


@pytest.fixture(params=["local", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a cache with a timeline ``t``, whose frame n is of the gray 20 n."""
    url = str(request.getfixturevalue(f"{request.param}_url"))
    frames = [
        Frame(number, 0, float(number), np.full((32, 32, 3), 20 * number, np.uint8))
        for number in range(_FRAMES)
    ]
    FrameCache(url).timeline("t").write(frames)
    return url


def stored(url: str, number: int) -> bytes:
    """Return the bytes that the store holds as the JPEG of a frame."""
    key = f"cache/timelines/t/frames/{number}.jpg"
    if not url.startswith("s3://"):
        return Path(url, key).read_bytes()
    with closing(boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])) as client:
        body: bytes = client.get_object(Bucket=url.removeprefix("s3://"), Key=key)["Body"].read()
        return body


@contextmanager
def gunicorn(folder: Path, url: str) -> Iterator[tuple[int, str]]:
    """The process, and the address, of gunicorn with two workers."""
    (folder / "service.py").write_text(_SERVICE)
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
    options = ["--bind", "127.0.0.1:0", "--chdir", str(folder), "service:app"]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CACHE_OF_TEST": url},
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        yield process.pid, address
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_DEADLINE_SECONDS)
    finally:
        process.kill()
        process.communicate()


def test_forked_gunicorn_workers_read_timeline_opened_by_parent(url: str, tmp_path: Path) -> None:
    with gunicorn(tmp_path, url) as (parent, address):
        for number in range(_FRAMES):
            answer = httpx.get(f"{address}/{number}", timeout=_DEADLINE_SECONDS)
            assert answer.content == stored(url, number)
            assert int(answer.headers["process"]) != parent


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_forked_data_loader_workers_read_timeline_opened_by_parent(
    url: str, tmp_path: Path
) -> None:
    program = tmp_path / "loader.py"
    program.write_text(_LOADER)
    run = subprocess.run(
        [sys.executable, str(program), url],
        check=False,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    found = sorted(tuple(map(int, line.split())) for line in run.stdout.splitlines())
    assert [number for number, _ in found] == sorted([*range(_FRAMES)] * 2)
    assert all(abs(gray - 20 * number) <= 1 for number, gray in found)
