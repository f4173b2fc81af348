"""Ctrl-C ends a call that waits for a silent server, and the process exits without a wait."""

import signal
import subprocess
import sys
from threading import Event

import numpy as np
import pytest

from framecache import Frame, FrameCache
from network import Exchange, Proxy, silent

# A request is given up after 20 s.
WITHIN_SECONDS = 15

_PROGRAM = """
import sys
from framecache import FrameCache
timeline = FrameCache(sys.argv[1]).timeline("t")
try:
    {read}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("silent_within", "read"),
    [
        ("/index/", "next(timeline.frames())"),
        ("/frames/", "list(timeline.frames())"),
        ("/frames/", "list(timeline.jpegs([0, 1]))"),
        ("/frames/", "timeline.batch([0, 1])"),
        ("/frames/", "timeline.frame(0)"),
        ("list-type=2", "timeline.overlays(job_id='j', stage='s').frames()"),
    ],
)
def test_ctrl_c_ends_read_from_silent_server(
    s3_url: str, proxy: Proxy, silent_within: str, read: str
) -> None:
    timeline = FrameCache(s3_url).timeline("t")
    timeline.write(
        [Frame(number, 0, float(number), np.zeros((16, 16, 3), np.uint8)) for number in range(3)]
    )
    is_waiting = Event()

    def silent_from_now_on(exchange: Exchange) -> None:
        is_waiting.set()
        silent(exchange)

    proxy.always(silent_from_now_on, within=silent_within)
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(read=read), s3_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert is_waiting.wait(60)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=WITHIN_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (output, errors, process.returncode) == ("interrupted\n", "", 0)
