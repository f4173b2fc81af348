"""Layout ``video``: nothing is copied; frames are decoded from their chunks when they are read."""

from collections.abc import Callable
from typing import ClassVar, NoReturn

from framecache._core.manifest import Manifest
from framecache._index import Index
from framecache._layouts.base import FrameLayout
from framecache._layouts.encoding import EncoderPool, FramePosition
from framecache._layouts.storage_stats import Sizes, StorageStats
from framecache.errors import SettingsConflict
from framecache.model import Layout
from framecache.store import Store


class Video(FrameLayout):
    """Layout ``video``."""

    name: ClassVar[Layout] = "video"
    has_public_keys: ClassVar[bool] = False
    stores_frames: ClassVar[bool] = False

    def create_storage(
        self,
        store: Store,  # noqa: ARG002 -- nothing is stored
        manifest: Manifest,
        part: str,  # noqa: ARG002
        encoders: EncoderPool,  # noqa: ARG002
        *,
        on_stored: Callable[[FramePosition], None] = lambda _: None,  # noqa: ARG002
        put: Callable[[str, bytes], None] | None = None,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse to store frames."""
        raise _nothing_stored(manifest)

    def create_rendition_storage(
        self,
        store: Store,  # noqa: ARG002 -- nothing is stored
        manifest: Manifest,
        part: str,  # noqa: ARG002
        encoders: EncoderPool,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse to store renditions."""
        raise _nothing_stored(manifest)

    def create_private_storage(
        self,
        store: Store,  # noqa: ARG002 -- nothing is stored
        manifest: Manifest,
        encoders: EncoderPool,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse to store frames."""
        raise _nothing_stored(manifest)

    def upload_threads(self, store: Store) -> int:  # noqa: ARG002 -- nothing is stored
        """See `FrameLayout`."""
        return 0

    def estimate(self, sizes: Sizes) -> StorageStats:
        """See `FrameLayout`; the requests to the chunks depend on the video and are not counted."""
        return StorageStats(frame_count=len(sizes))

    def holds_all(self, index: Index) -> bool:
        """See `FrameLayout`."""
        return bool(index.is_decoded_on_demand[index.is_ok].all())


def _nothing_stored(manifest: Manifest) -> SettingsConflict:
    return SettingsConflict(
        f"timeline {manifest.timeline_id} has layout video, in which no frame is stored: write "
        "to another timeline, or give another layout"
    )
