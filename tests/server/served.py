"""A service on a real server on loopback, and helpers to send it requests."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import httpx
import uvicorn
import uvicorn.server
from fastapi import FastAPI

from framecache import FrameCache
from framecache.server import ServiceSettings, create_app
from framecache.server.state import Service as Inside
from framecache.server.uvicorn_server import open_socket, uvicorn_config
from framecache.store import Store

DEADLINE_SECONDS: Final = 60
WRITE: Final = "a-token-that-may-read-and-write"
READ: Final = "a-token-that-may-only-read"
_NO_AUTHORITIES: Final = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # loading them takes 20 ms a client


class Service:
    """A running service, and a client of it."""

    def __init__(self, client: httpx.Client, app: FastAPI) -> None:
        self.client = client
        self.app = app
        self.inside: Inside = app.state.service

    @property
    def url(self) -> str:
        return str(self.client.base_url)

    def get(self, path: str, **given: Any) -> httpx.Response:  # noqa: ANN401 -- httpx's own
        return self.client.get(path, **given)

    @contextmanager
    def from_address(self, address: str) -> "Iterator[Service]":
        """Connect to the same service from another address of this machine."""
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(
            base_url=self.url, timeout=DEADLINE_SECONDS, transport=transport
        ) as client:
            yield Service(client, self.app)

    def json(self, path: str, **given: Any) -> Any:  # noqa: ANN401 -- httpx's own
        """Return the JSON document at a path, which must exist."""
        answer = self.get(path, **given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def task(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the result of a task that was accepted."""
        assert answer.status_code == 202, answer.text
        task_id = answer.json()["task_id"]
        return next(
            task
            for task in self.events()
            if task["task_id"] == task_id and task["state"] not in {"queued", "running"}
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """Return the tasks in the server-sent events, all existing ones first."""
        with self.client.stream("GET", "api/v1/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    task: dict[str, Any] = json.loads(line.removeprefix("data:"))
                    yield task


class _QuickAsyncio:
    """asyncio for uvicorn, which then checks ten times as often whether the server should stop."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- asyncio's own
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


vars(uvicorn.server)["asyncio"] = _QuickAsyncio()


class _Server(uvicorn.Server):
    """Server that signals when it responds."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()


@contextmanager
def serving(cache: FrameCache, settings: ServiceSettings | None = None) -> Iterator[Service]:
    """Run a service over a cache until the block ends."""
    app = create_app(cache, settings)
    listening = open_socket("127.0.0.1", 0)
    host, port = listening.getsockname()
    server = _Server(uvicorn_config(app))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert server.answers.wait(DEADLINE_SECONDS)
        with httpx.Client(
            base_url=f"http://{host}:{port}/", timeout=DEADLINE_SECONDS, verify=_NO_AUTHORITIES
        ) as client:
            yield Service(client, app)
    finally:
        app.state.service.stop()
        server.should_exit = True
        thread.join()
        listening.close()


def over(store: Store) -> FrameCache:
    """Return a cache over a store that cannot be opened by a URL."""
    cache = FrameCache(store.url)
    vars(cache)["_store"] = store
    return cache


def uncached(settings: ServiceSettings | None = None) -> ServiceSettings:
    """Return settings of a service that checks the store at each request."""
    chosen = settings or ServiceSettings()
    return replace(
        chosen, limits=replace(chosen.limits, cache_ttl_seconds=0.0, cache_ttl_load_factor=0.0)
    )


def until(condition: Callable[[], object]) -> None:
    """Poll until another thread has made a condition true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and code of a problem document, and check its form."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code"}
    assert document["status"] == answer.status_code
    return answer.status_code, document["code"]
