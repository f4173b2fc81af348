"""The front door: a cache in a store, and the timelines in it."""

import os
from collections.abc import Iterable
from typing import Final

from framecache import keys
from framecache.gc import GcPlan, GcProgress, plan_gc
from framecache.store import Store, open_store, probed
from framecache.timeline import Timeline

_DEFAULT_FOLDER: Final = "./.framecache"
_GRACE_SECONDS: Final = 24 * 3600.0


class FrameCache:
    """The timelines in one store. Cheap to make, safe to share between threads."""

    def __init__(self, url: str | os.PathLike[str] | None = None) -> None:
        """Name the store; nothing is requested until a timeline is used.

        Args:
            url: ``s3://bucket/prefix``, ``gs://…``, ``az://…``, ``memory://name`` or a local
                folder. None: ``$FRAMECACHE_URL``, else ``s3://$S3_BUCKET``, else
                ``./.framecache``.

        Raises:
            InvalidValue: a URL of another kind.
        """
        chosen = os.fspath(url) if url is not None else _url_from_environment()
        self._store = probed(open_store(chosen))

    def __repr__(self) -> str:
        return f"<FrameCache {self.url}>"

    @property
    def url(self) -> str:
        """Where the cache lies."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The blobs themselves."""
        return self._store

    def timeline(self, timeline_id: str) -> Timeline:
        """A timeline by its id, whether it exists or not; makes no request.

        Raises:
            InvalidId: an id that cannot be part of a key.
        """
        return Timeline(self._store, timeline_id)

    def timelines(self) -> list[str]:
        """The ids of all timelines in the store, sorted; folders that are none are passed over."""
        return [name for name in self._store.list_folders(keys.ROOT) if keys.is_id(name)]

    def plan_gc(
        self,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        max_bytes: int | None = None,
        max_age_seconds: float | None = None,
        timelines: Iterable[str] | None = None,
        progress: GcProgress | None = None,
    ) -> GcPlan:
        """Find what nobody needs any more; ``plan.carry_out()`` then removes it.

        Without a quota or an age that is only what no reader ever sees: what is left of cleared
        epochs, crashed programs and replaced versions. With one, whole timelines lose their
        frames too, least recently used first, as by :meth:`Timeline.clear`; not one whose chunks
        are not all there to extract it again, which takes one request a chunk to know.

        Args:
            grace_seconds: what was stored within that time stays, by the store's clock against
                this machine's; longer than any program that uses the cache sleeps.
            max_bytes: how much all timelines may take together, overlays included.
            max_age_seconds: how long a timeline may go unused.
            timelines: look only at these; all figures are then theirs. None: at all.
            progress: told after each timeline.

        Raises:
            InvalidValue: a number out of its range.
            NotCached: one of ``timelines`` does not exist.
        """
        return plan_gc(
            self._store,
            timelines=timelines,
            grace_seconds=grace_seconds,
            max_bytes=max_bytes,
            max_age_seconds=max_age_seconds,
            progress=progress,
        )


def _url_from_environment() -> str:
    bucket = os.environ.get("S3_BUCKET")
    fallback = f"s3://{bucket}" if bucket else _DEFAULT_FOLDER
    return os.environ.get("FRAMECACHE_URL") or fallback
