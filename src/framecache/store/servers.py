"""The server that a store's requests go to, as named in error messages and reports."""

from dataclasses import dataclass
from typing import Final

from framecache.store.proxies import without_credentials
from framecache.store.settings import Setting

DEFAULT: Final = "the default"
"""Source of settings that are not set anywhere."""
_SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and a region if it has regions."""

    endpoint: Setting
    region: Setting | None = None

    def __str__(self) -> str:
        """Return a short name of both, without a login in the address."""
        endpoint = f"endpoint {_shortened(without_credentials(self.endpoint.value))}"
        if self.region is None:
            return endpoint
        return f"{endpoint}, region {_shortened(self.region.value)}"


def _shortened(text: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return shown if shown.isprintable() else repr(shown)
