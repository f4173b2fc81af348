"""Background tasks as they are stored (orders) until they have ended."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, get_args

from framecache._core import json_documents, keys
from framecache.errors import CorruptFrame
from framecache.server.schema import TaskKind

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Stored specification of one task."""

    task_id: str
    timeline_id: str
    kind: TaskKind
    arguments: Mapping[str, Any]
    """Arguments of JSON types; which there are depends on the kind."""
    created_at: datetime

    @classmethod
    def create(cls, timeline_id: str, kind: TaskKind, arguments: Mapping[str, Any]) -> Self:
        """Create an order with the current time; its id sorts by time."""
        now = datetime.now(UTC)
        task_id = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}"
        return cls(task_id, keys.check_id(timeline_id, what="timeline_id"), kind, arguments, now)

    @property
    def key(self) -> str:
        """Key of the blob that holds the order."""
        return keys.task(self.task_id)

    def encode(self) -> bytes:
        """Return the JSON to store.

        Raises:
            InvalidValue: the JSON could not be read back.
        """
        document = {
            "format": _FORMAT,
            "task_id": self.task_id,
            "timeline_id": self.timeline_id,
            "kind": self.kind,
            "arguments": dict(self.arguments),
            "created_at": self.created_at.isoformat(),
        }
        return json_documents.encode_object(document, what="this task")

    @classmethod
    def decode(cls, body: bytes, *, key: str) -> Self:
        """Read a stored order.

        Raises:
            CorruptFrame: the order is damaged, or was written by another version of framecache.
        """
        try:
            document = json_documents.decode_object(body)
            order = cls(
                task_id=document["task_id"],
                timeline_id=keys.check_id(document["timeline_id"], what="timeline_id"),
                kind=document["kind"],
                arguments=dict(document["arguments"]),
                created_at=datetime.fromisoformat(document["created_at"]),
            )
            if order.created_at.tzinfo is None:
                raise ValueError(order.created_at)  # noqa: TRY301 -- handled like a missing time
            is_known = document["format"] == _FORMAT and order.kind in get_args(TaskKind)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFrame(
                f"the task {key} is damaged: delete it, then create it again"
            ) from error
        if not is_known or order.key != key:
            raise CorruptFrame(
                f"the task {key} was stored by another version of framecache: "
                "delete it, then create it again"
            )
        return order
