"""A service over a cache, for viewers and other programs: needs ``framecache[server]``.

Requests are answered by FastAPI's threads, on which the synchronous core waits for the store and
decodes. Everything that is long runs in the background: see :mod:`framecache.http.tasks`.
"""

from framecache.http.app import create_app
from framecache.http.serve import is_loopback, serve
from framecache.http.settings import LOOPBACK_NAMES, Limits, ServiceSettings
from framecache.http.tokens import Tokens

__all__ = [
    "LOOPBACK_NAMES",
    "Limits",
    "ServiceSettings",
    "Tokens",
    "create_app",
    "is_loopback",
    "serve",
]
