"""What a service has still to do, as it is stored until it is done."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, get_args

from framecache import keys
from framecache.errors import CorruptFrame
from framecache.http.schema import TaskKind

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Order:
    """One task, as it was asked for."""

    task_id: str
    timeline_id: str
    kind: TaskKind
    arguments: Mapping[str, Any]
    """Of JSON's types; what they are depends on the kind."""
    created_at: datetime

    @classmethod
    def new(cls, timeline_id: str, kind: TaskKind, arguments: Mapping[str, Any]) -> Self:
        """An order that is made now; its id sorts by time."""
        now = datetime.now(UTC)
        task_id = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}"
        return cls(task_id, keys.check_id(timeline_id, what="timeline_id"), kind, arguments, now)

    @property
    def key(self) -> str:
        """Where it is stored."""
        return keys.task(self.task_id)

    def encode(self) -> bytes:
        """The JSON that is stored."""
        document = {
            "format": _FORMAT,
            "task_id": self.task_id,
            "timeline_id": self.timeline_id,
            "kind": self.kind,
            "arguments": dict(self.arguments),
            "created_at": self.created_at.isoformat(),
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def decode(cls, body: bytes, *, key: str) -> Self:
        """Read a stored order.

        Raises:
            CorruptFrame: it is damaged, or of a newer framecache.
        """
        try:
            document = json.loads(body)
            order = cls(
                task_id=document["task_id"],
                timeline_id=keys.check_id(document["timeline_id"], what="timeline_id"),
                kind=document["kind"],
                arguments=dict(document["arguments"]),
                created_at=datetime.fromisoformat(document["created_at"]),
            )
            is_known = document["format"] == _FORMAT and order.kind in get_args(TaskKind)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFrame(f"the task {key} is damaged: delete it, and ask again") from error
        if not is_known or order.key != key:
            raise CorruptFrame(f"the task {key} is of another framecache: delete it, and ask again")
        return order
