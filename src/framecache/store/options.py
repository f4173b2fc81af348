"""Storage options: settings for access to stores when the environment does not fit them all."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from framecache.errors import InvalidValue
from framecache.store.urls import Location, parse

_SUPPORTED: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("endpoint", "key", "secret", "token", "region", "ca", "style", "profile", "anon"),
    "gs": ("endpoint", "credentials", "token", "ca", "anon"),
    "az": ("endpoint", "account", "key", "sas", "connection_string", "ca", "anon"),
}
_SWITCHES: Final = frozenset({"anon"})
_SWITCH_VALUES: Final[Mapping[object, str]] = {True: "true", False: "", "true": "true", "false": ""}
_FILE_VARIABLE: Final = "FRAMECACHE_STORAGE_OPTIONS"
_PATHS: Final = frozenset({"ca", "credentials"})

_Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, repr=False)
class StorageOptions:
    """Options of stores by URL prefix. Values may be secrets, so none is ever shown."""

    _by_prefix: tuple[tuple[str, _Options], ...] = ()
    """Options by prefix, without a trailing slash, sorted from longest to shortest."""

    def __repr__(self) -> str:
        shown = (f"{prefix}: {', '.join(dict(found))}" for prefix, found in self._by_prefix)
        return f"<storage options {'; '.join(shown)}>"

    def for_location(self, location: Location) -> dict[str, str]:
        """Return the options of the longest prefix that matches a location; empty if none does."""
        for prefix, found in self._by_prefix:
            if _is_under(prefix, location.url):
                return dict(found)
        return {}

    def only_for_location(self, location: Location) -> "StorageOptions":
        """Return a location's options as the only ones, applied to its whole scheme."""
        found = self.for_location(location)
        return StorageOptions(((f"{location.scheme}:/", tuple(found.items())),) if found else ())


NO_OPTIONS: Final = StorageOptions()
"""No options: all settings come from the environment."""


def check_options(given: object, *, url: str) -> StorageOptions:
    """Check the storage options that a program gives for a cache at ``url``.

    Args:
        given: options by name, which apply to all URLs with the cache's scheme, and mappings of
            options by URL prefix, which apply below it. None for those in the file named by
            ``$FRAMECACHE_STORAGE_OPTIONS``, if that is set.
        url: URL of the cache.

    Raises:
        InvalidValue: an option is unknown for its scheme or has a wrong type, or the file cannot
            be used.
    """
    if given is None:
        given = _read_options_file()
    own: dict[str, Any] = {}
    by_prefix: dict[str, _Options] = {}
    for name, value in _items(given, "storage_options"):
        if "://" not in name:
            own[name] = value
            continue
        scheme, prefix = _prefix(name)
        if prefix in by_prefix:
            raise InvalidValue(f"storage_options names {name!r} twice, with and without a slash")
        by_prefix[prefix] = _check_items(_items(value, f"storage_options[{name!r}]"), scheme)
    if own:
        scheme = parse(url).scheme
        if f"{scheme}:/" in by_prefix:
            raise InvalidValue(f"storage_options has both '{scheme}://' and {next(iter(own))!r}")
        by_prefix[f"{scheme}:/"] = _check_items(list(own.items()), scheme)
    return StorageOptions(tuple(sorted(by_prefix.items(), key=lambda item: -len(item[0]))))


def _read_options_file() -> dict[str, Any]:
    """Read the options from a TOML file. It serves all kinds of stores, so all are by prefix."""
    named = os.environ.get(_FILE_VARIABLE)
    if not named:
        return {}
    where = f"{named} (${_FILE_VARIABLE})"
    try:
        found = tomllib.loads(Path(named).read_text())
    except OSError as error:
        raise InvalidValue(f"{where} cannot be read: {error.strerror}. Correct its path") from error
    except ValueError as error:
        raise InvalidValue(f"{where} is not valid TOML: correct it") from error
    if alone := next((name for name in found if "://" not in name), None):
        raise InvalidValue(
            f"{where} has {alone!r} outside a table: put it in a table named by a URL prefix, "
            'such as ["s3://"]'
        )
    return found


def _items(given: object, name: str) -> list[tuple[str, Any]]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InvalidValue(
            f"{name} must be a mapping from names to options, not a {_type_name(given)}"
        )
    return list(given.items())


def _prefix(name: str) -> tuple[str, str]:
    scheme, _, rest = name.partition("://")
    prefix = f"{scheme.lower()}:/" if not rest else parse(name).url
    return prefix.partition(":")[0], prefix


def _check_items(given: list[tuple[str, Any]], scheme: str) -> _Options:
    known = _SUPPORTED.get(scheme, ())
    checked = []
    for name, value in given:
        if name not in known:
            what = f"give {', '.join(known)}" if known else "this store has no options"
            raise InvalidValue(
                f"storage_options has {name!r}, which {scheme}:// URLs do not support: {what}"
            )
        if name in _SWITCHES:
            if (switched := _parse_switch(value)) is None:
                raise InvalidValue(f"storage_options[{name!r}] must be True or False")
            checked += [(name, switched)] if switched else []
            continue
        text = os.fsdecode(value) if name in _PATHS and isinstance(value, os.PathLike) else value
        if not isinstance(text, str) or not text:
            raise InvalidValue(f"storage_options[{name!r}] must be a string that is not empty")
        checked.append((name, text))
    return tuple(checked)


def _parse_switch(value: object) -> str | None:
    return _SWITCH_VALUES.get(value) if isinstance(value, bool | str) else None


def _type_name(given: object) -> str:
    return type(given).__name__


def _is_under(prefix: str, url: str) -> bool:
    return url == prefix or url.startswith(f"{prefix}/")
