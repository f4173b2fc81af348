"""Store with which workers count the pictures that they decode."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from framecache._media.video.container import Container
from ray_cluster.logged_store import LoggedStore

_DECODE: Final[Callable[..., Any]] = Container.decode


class CountingStore(LoggedStore):
    """Store with which a worker appends a byte to a file for each packet that it decodes."""

    @property
    def decoded(self) -> Path:
        """File with a byte for each packet."""
        return self.log.with_suffix(".decoded")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a worker, which may have counted for another file before."""
        vars(self).update(state)
        log = self.decoded

        def count(container: Container, packet: Any) -> Any:  # noqa: ANN401 -- as the method
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, b".")
            os.close(file)
            return _DECODE(container, packet)

        setattr(Container, "decode", count)  # noqa: B010 -- mypy refuses an assignment
