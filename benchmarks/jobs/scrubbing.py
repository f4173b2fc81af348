"""Many viewers that scrub through one timeline at once: ``wrk`` asks, over loopback."""

import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, cast
from urllib.error import URLError

from benchmarks.contract import Figures, Inputs, Job, Pass
from benchmarks.jobs.video import QUALITY
from framecache import FrameCache

CLIENTS = 64
SECONDS = 5
SECONDS_WHEN_TINY = 1
FULL_FRAMES = 100
STARTING_SECONDS = 10
NO_LIMIT = 10**6
"""Requests a second: all come from one address here."""
TIMELINE = "clip"
NO_NGINX = "nginx is not installed"

SCRIPT = """
-- Each thread goes its own way through the frames, in steps that no order of storage helps.
local before, after, frames = "{before}", "{after}", {frames}
local position
function request()
  position = ((position or math.random(frames)) + 7) % frames
  return wrk.format("GET", before .. position .. after)
end
function init(args)
  math.randomseed(os.time() + tonumber(tostring(request):match("0x(%x+)"), 16))
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("found %d %d %d %f %f\\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes auto; {user}
events {{ worker_connections 1024; }}
http {{
  types {{ image/jpeg jpg; }}
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  open_file_cache max=10000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def framecache(inputs: Inputs) -> Job:
    """``framecache serve`` over a local folder."""
    command = [sys.executable, "-m", "framecache", "serve", "--cache", extracted(inputs)]
    command += ["--port", "0", "--read-only", "--requests-per-second", str(NO_LIMIT)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ended_with_us(service)
    errors = cast("IO[str]", service.stderr)
    announced = next((line for line in errors if " at http://" in line), None)
    if announced is None:
        raise RuntimeError("framecache serve ended before it answered")
    address = announced.split(" at ")[1].strip().rstrip("/")
    # The log of half a million requests is discarded.
    subprocess.Popen(["cat"], stdin=errors, stdout=subprocess.DEVNULL)
    path = f"/api/v1/timelines/{TIMELINE}/frames/"
    return scrubbing(inputs, address, path, ".jpg")


def nginx(inputs: Inputs) -> Job:
    """Serve the same files with nginx."""
    program = shutil.which("nginx")
    if program is None:
        raise RuntimeError(NO_NGINX)
    root = Path(extracted(inputs), "cache", "timelines", TIMELINE)
    folder = inputs.path("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, user=user, port=port, root=root))
    ended_with_us(subprocess.Popen([program, "-p", str(folder), "-c", str(configuration)]))
    return scrubbing(inputs, f"http://127.0.0.1:{port}", "/frames/", ".jpg")


def extracted(inputs: Inputs) -> str:
    """Create a folder with the clip as a timeline."""
    folder = inputs.path(f"cache-{os.getpid()}")
    FrameCache(folder).timeline(TIMELINE).extract(inputs.clip, quality=QUALITY)
    return str(folder)


def scrubbing(inputs: Inputs, address: str, before: str, after: str) -> Job:
    script = inputs.path(f"script-{os.getpid()}") / "scrub.lua"
    script.write_text(SCRIPT.format(before=before, after=after, frames=inputs.frames))
    seconds = SECONDS if inputs.frames >= FULL_FRAMES else SECONDS_WHEN_TINY
    command = ["wrk", "-t", "2", "-c", str(CLIENTS), "-d", f"{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), address]

    def work(this: Pass) -> Figures:
        answered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"found (\d+) (\d+) (\d+) (\S+) (\S+)", answered)
        if found is None:
            raise RuntimeError(f"wrk told nothing: {answered}")
        requests, microseconds, failed = (int(found[number]) for number in (1, 2, 3))
        if failed:
            raise RuntimeError(f"{failed} of {requests} requests failed")
        for number in range(requests):
            this.take(number, None)
        return {
            "p50_ms": float(found[4]) / 1000,
            "p99_ms": float(found[5]) / 1000,
            "answers_per_second": 1e6 * requests / microseconds,
        }

    url = f"{address}{before}0{after}"
    wait_for(url)
    return Job(work)


def wait_for(url: str) -> None:
    """Until a server answers, which it does within a second."""
    deadline = time.monotonic() + STARTING_SECONDS
    while not answers(url):
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing answers at {url}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=STARTING_SECONDS) as answer:
            return bool(answer.read())
    except URLError:
        return False


def ended_with_us(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    atexit.register(process.terminate)
