"""Pattern of the URLs of chunks, which gives the timeline and number of each. Pure: no I/O."""

import re
from dataclasses import dataclass, field
from typing import Final

from framecache._core import keys
from framecache.errors import InvalidValue

_TEMPLATE: Final = re.compile(r"(?:s3|gs|az|memory)://[A-Za-z0-9._-]+/[^/].*", re.DOTALL)
_TOKEN: Final = re.compile(r"(\{timeline_id\}|\{number\}|\*)")
_TOKENS: Final = {
    "{timeline_id}": rf"(?P<timeline_id>{keys.ID_PATTERN.pattern})",
    # All digits that follow each other, so that the number does not depend on other parts.
    "{number}": rf"(?<![0-9])(?P<number>[0-9]{{1,{keys.CHUNK_NUMBER_DIGITS}}})(?![0-9])",
    "*": "[^/]*",
}


@dataclass(frozen=True, slots=True)
class ArrivedChunk:
    """Chunk named by an event: its URL, timeline and number."""

    url: str
    timeline_id: str
    number: int
    """Number in its key, which orders the chunks of a timeline."""


@dataclass(frozen=True, slots=True)
class ChunkPattern:
    """Pattern such as ``s3://videos/live/{timeline_id}/{number}.ts``."""

    template: str
    """URL with ``{timeline_id}`` and ``{number}`` once each; ``*`` stands for any characters except
    a slash."""
    bucket: str = field(init=False)
    """Name of the bucket that holds the chunks."""
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the template.

        Raises:
            InvalidValue: it is not a URL in a bucket, or does not have both names once.
        """
        if not _TEMPLATE.fullmatch(self.template):
            raise _invalid(self.template, "it is not the URL of an object in a bucket")
        parts = _TOKEN.split(self.template)
        for name in ("{timeline_id}", "{number}"):
            if parts.count(name) != 1:
                raise _invalid(self.template, f"it must have {name} once")
        around = "".join(parts).split("{number}")
        if around[0][-1].isdigit() or around[1][:1].isdigit():
            raise _invalid(self.template, "a digit next to {number} would be part of the number")
        expression = "".join(_TOKENS.get(part) or re.escape(part) for part in parts)
        object.__setattr__(self, "bucket", self.template.split("/")[2])
        object.__setattr__(self, "_expression", re.compile(expression, re.DOTALL))

    def url_of(self, bucket: str, key: str) -> str:
        """Return the URL of an object, with the scheme of the pattern."""
        return f"{self.template.partition('://')[0]}://{bucket}/{key}"

    def parse(self, url: str) -> ArrivedChunk | None:
        """Return the timeline and number of a chunk, or None if its URL does not match.

        Raises:
            InvalidId: the URL matches, but the timeline_id in it contains ``..``.
        """
        match = self._expression.fullmatch(url)
        if match is None:
            return None
        timeline_id = keys.check_id(match["timeline_id"], what="timeline_id")
        return ArrivedChunk(url, timeline_id, int(match["number"]))

    def require(self, bucket: str, key: str) -> ArrivedChunk:
        """Return the timeline and number of the chunk that an event names.

        Raises:
            InvalidValue: it is in another bucket, or its key does not match.
            InvalidId: its key matches, but the timeline_id in it contains ``..``.
        """
        if bucket != self.bucket:
            raise InvalidValue(
                f"an event names {key!r} in bucket {bucket!r}, but chunks are expected in "
                f"{self.bucket!r}: change the notification of that bucket, or "
                "$FRAMECACHE_LAMBDA_CHUNKS"
            )
        found = self.parse(self.url_of(bucket, key))
        if found is None:
            raise InvalidValue(
                f"the key {key!r} does not match {self.template}: limit the notification of the "
                "bucket to the keys of chunks, or change $FRAMECACHE_LAMBDA_CHUNKS"
            )
        return found


def _invalid(template: str, problem: str) -> InvalidValue:
    return InvalidValue(
        f"{template!r} is not a pattern of chunks: {problem}. Give a URL such as "
        "s3://videos/live/{timeline_id}/{number}.ts"
    )
