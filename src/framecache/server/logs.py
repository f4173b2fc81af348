"""Logs with one line per event: JSON for programs, text for people.

They contain no tokens, query strings or bodies.
"""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from asgi_correlation_id import correlation_id
from cachetools import LRUCache

LogFormat = Literal["json", "text"]

access_logger = logging.getLogger("framecache.server.access")

_THROTTLED_LOGGERS: Final = ("asyncio", "uvicorn.error", "framecache.server.connections")
"""Loggers whose messages any client can cause at any rate."""
_THROTTLE_SECONDS: Final = 60.0
_MAX_REMEMBERED: Final = 1000


class JsonFormatter(logging.Formatter):
    """Formatter of a record as one JSON object, with the fields of ``extra={"fields": …}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one JSON object."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formatter of a record as a line of text: local time, level, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line of text, and a traceback in lines after it."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = _fields(record)
        if record.name == access_logger.name:
            return _escape_control_characters(f"{clock} {_access_line(fields)}")
        told = ", ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{clock} {record.levelname.lower()}: {record.getMessage()}"
        lines = [f"{line} ({told})" if told else line]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        return "\n".join(map(_escape_control_characters, lines))


class Throttle:
    """Rate limit that lets equal events be logged once a minute. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: LRUCache[Hashable, tuple[float, int]] = LRUCache(_MAX_REMEMBERED)
        """Per event, the time until which it is suppressed, and how often it was."""

    def __len__(self) -> int:
        """Return the number of different events that are remembered."""
        return len(self._seen)

    def count_suppressed(self, event: Hashable) -> int | None:
        """Return how often an event was suppressed, or None if it is suppressed now as well."""
        now = time.monotonic()
        with self._lock:
            until, count = self._seen.get(event, (now, 0))
            if now < until:
                self._seen[event] = until, count + 1
                return None
            self._seen[event] = now + _THROTTLE_SECONDS, 0
        return count


class DuplicateFilter(logging.Filter):
    """Filter that passes equal messages once a minute, with the number of suppressed ones.

    Messages with an exception are equal only if it was raised at the same place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        kept_back = self._throttle.count_suppressed((str(record.msg), *_exception_origin(record)))
        if kept_back:
            record.fields = {**_fields(record), "repeated": kept_back}
        return kept_back is not None


def _exception_origin(record: logging.LogRecord) -> tuple[Hashable, ...]:
    """Return the type of a record's exception and the line that raised it; () without one."""
    if not record.exc_info or record.exc_info[1] is None:
        return ()
    error = record.exc_info[1]
    places = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return type(error), *places[-1:]


def configure(log_format: LogFormat, *, logs_requests: bool) -> None:
    """Write the logs of this process to stderr.

    Args:
        log_format: format of the lines; ``text`` leaves out messages about a normal start and stop.
        logs_requests: True to log each request.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    for name in ("framecache", "uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        is_own = name == "framecache"
        logger.setLevel(logging.INFO if is_own or log_format == "json" else logging.WARNING)
        logger.propagate = False
    access_logger.setLevel(logging.INFO if logs_requests else logging.WARNING)
    for name in _THROTTLED_LOGGERS:
        logging.getLogger(name).filters = [DuplicateFilter()]


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the fields of a record; within a request, its id is one of them."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    request_id = correlation_id.get()
    return fields if request_id is None else {"request_id": request_id, **fields}


def _access_line(fields: Mapping[str, Any]) -> str:
    return (
        f"{fields['method']} {fields['path']} {fields['status']}, {fields['sent_bytes']} bytes in "
        f"{fields['milliseconds']} ms, to {fields['client']}"
    )


def _escape_control_characters(text: str) -> str:
    """Escape control characters, so that no path or error can move the cursor or add a line."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
