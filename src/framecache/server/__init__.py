"""HTTP service over a cache, for viewers and other programs; requires ``framecache[server]``.

Requests run on FastAPI's threads, where the synchronous core waits for the store and decodes.
Long work runs in the background: see :mod:`framecache.server.tasks`.
"""

from framecache.server.app import create_app
from framecache.server.auth import Tokens
from framecache.server.settings import LOOPBACK_NAMES, Limits, ServiceSettings
from framecache.server.uvicorn_server import is_loopback, serve

__all__ = [
    "LOOPBACK_NAMES",
    "Limits",
    "ServiceSettings",
    "Tokens",
    "create_app",
    "is_loopback",
    "serve",
]
