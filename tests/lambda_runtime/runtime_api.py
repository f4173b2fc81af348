"""The runtime API of AWS Lambda on loopback, and a function that the real runtime client serves.

The API is the part of AWS: it hands out events and takes the answers.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_PREFIX = "/2018-06-01/runtime/"
_TIMEOUT_SECONDS = 120
_READ_ONLY = """
set -euo pipefail
while read -r _ place kind _; do
  case $kind in proc | sysfs | cgroup* | devpts | devtmpfs | mqueue) continue ;; esac
  mount -o remount,bind,ro "$place"
done </proc/self/mounts
if touch "$1" 2>/dev/null; then exit 99; fi
shift
exec "$@"
"""
"""Program that makes all file systems read-only for itself, and then runs another."""


@dataclass(frozen=True)
class Answer:
    """Answer of the runtime client to one event."""

    is_error: bool
    body: Any
    is_in_time: bool
    """True if it came before the deadline, at which Lambda ends a process."""

    @property
    def error_type(self) -> str:
        assert self.is_error, self.body
        kind: str = self.body["errorType"]
        return kind


class RuntimeApi:
    """API for one function at a time, as the runtime client of one process sees it."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, float, bytes]] = queue.Queue()
        self._answers: dict[str, queue.Queue[Answer]] = {}
        self._deadlines: dict[str, float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def send(self, event: object, *, seconds: float = 60) -> str:
        """Hand out an event that must be answered within some seconds; return its id."""
        request_id = str(uuid.uuid4())
        self._answers[request_id] = queue.Queue()
        self._deadlines[request_id] = time.time() + seconds
        self._events.put((request_id, self._deadlines[request_id], json.dumps(event).encode()))
        return request_id

    def answer(self, request_id: str) -> Answer:
        return self._answers[request_id].get(timeout=_TIMEOUT_SECONDS)

    def invoke(self, event: object, *, seconds: float = 60) -> Answer:
        return self.answer(self.send(event, seconds=seconds))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"{_PREFIX}invocation/next", self.path
                request_id, deadline, body = api._events.get()
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:x:1:function:append",
                    "Lambda-Runtime-Trace-Id": "Root=1-0-0",
                }
                self._reply(200, headers, body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply(202, {}, b"{}")
                place = self.path.removeprefix(_PREFIX)
                _, request_id, kind = place.split("/")
                is_in_time = time.time() < api._deadlines[request_id]
                answer = Answer(kind == "error", json.loads(body), is_in_time)
                api._answers[request_id].put(answer)

            def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Function:
    """A process in which the runtime client serves the handler."""

    def __init__(self, process: subprocess.Popen[bytes], api: RuntimeApi, log: Path) -> None:
        self.process = process
        self.api = api
        self.log = log

    def kill(self) -> None:
        """End the process as Lambda does when its time is over."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_function(folder: Path, variables: Mapping[str, str]) -> Iterator[Function]:
    """Serve the handler in a process that can write no file and has no home folder."""
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("mount namespaces are not permitted here")
    api = RuntimeApi()
    log = folder / f"{uuid.uuid4().hex}.log"
    kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment = {
        **kept,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "append",
        "LAMBDA_TASK_ROOT": str(ROOT),
        **variables,
    }
    served = [sys.executable, "-B", "-m", "awslambdaric", "framecache.aws_lambda.handler"]
    alone = ["unshare", "--mount", "bash", "-c", _READ_ONLY, "_", str(folder / "touched")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*alone, *served],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Function(process, api, log)
    finally:
        process.kill()
        process.wait()
        api.close()
