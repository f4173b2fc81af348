"""The active profile of the AWS tools, read as they read it, without boto3."""

import configparser
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from framecache.errors import InvalidValue, StorePermissionDenied
from framecache.store.settings import Setting, from_environment

_DEFAULT: Final = "default"
_PROFILE_VARIABLES: Final = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
_CONFIG: Final = ("AWS_CONFIG_FILE", "~/.aws/config")
_CREDENTIALS: Final = ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
# Each of these keys gives the source of credentials, some only in combination with others.
_CREDENTIAL_KEYS: Final = (
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "source_profile",
    "sso_account_id",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
)

_Section = dict[str, str]


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings of one profile in the AWS configuration files."""

    name: str
    name_source: str | None
    """Source of the profile's name; None if nothing names it and the default applies."""
    values: Mapping[str, Setting]
    services: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    """Settings by service, from the ``services`` section that the profile refers to."""

    def get(self, key: str) -> Setting | None:
        """Return a setting of the profile, or None if it is missing or empty."""
        return _non_empty(self.values.get(key))

    def get_nested(self, service: str, key: str) -> Setting | None:
        """Return a setting nested below a service, such as ``addressing_style`` below ``s3``."""
        outer = self.values.get(service)
        found = _nested(outer).get(key) if outer else None
        return _non_empty(found)

    def get_service_setting(self, service: str, key: str) -> Setting | None:
        """Return a setting of a service from the ``services`` section."""
        return _non_empty(self.services.get(service, {}).get(key))

    @property
    def has_credentials(self) -> bool:
        """True if the profile names a source of credentials."""
        return any(self.get(key) for key in _CREDENTIAL_KEYS)


def read_profile(chosen: Setting | None = None) -> Profile:
    """Read the profile named by ``chosen`` or by the environment, or else the default profile.

    Args:
        chosen: name of the profile, if the program gave one.

    Raises:
        InvalidValue: a file cannot be parsed, or refers to a section that does not exist.
        StorePermissionDenied: no file has a profile of that name.
    """
    named = chosen or from_environment(*_PROFILE_VARIABLES)
    name = named.value if named else _DEFAULT
    config_path, credentials_path = _path(*_CONFIG), _path(*_CREDENTIALS)
    config, credentials = _sections(config_path), _sections(credentials_path)
    found = _settings(_find_section(config, "profile", name), config_path, f"profile {name}")
    found.update(_settings(credentials.get(name), credentials_path, name))
    if named and not found and not _is_profile_defined(config, credentials, name):
        raise StorePermissionDenied(
            f"{named.source} {name!r} cannot be used: there is no such profile in {config_path} "
            f"or {credentials_path}. Check its name"
        )
    services: dict[str, dict[str, Setting]] = {}
    if reference := _non_empty(found.get("services")):
        section = _find_section(config, "services", reference.value)
        if section is None:
            raise InvalidValue(
                f"{reference.source} names [services {reference.value}], which is not in "
                f"{config_path}: add it, or remove that line"
            )
        outer = _settings(section, config_path, f"services {reference.value}")
        services = {service: _nested(setting) for service, setting in outer.items()}
    return Profile(name, named.source if named else None, found, services)


def _path(variable: str, usual: str) -> Path:
    given = os.environ.get(variable) or usual
    try:
        return Path(os.path.expandvars(given)).expanduser()
    except RuntimeError:  # the home folder is unknown
        return Path(given)


def _sections(path: Path) -> dict[str, _Section]:
    """Return the sections of a file; as in boto3, a file that may not be read counts as absent."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        lines = [number for number, _ in getattr(error, "errors", [])]
        line = lines[0] if lines else getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise InvalidValue(
            f"{where} cannot be parsed as a configuration file of the AWS tools: correct it"
        ) from error
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _find_section(sections: Mapping[str, _Section], kind: str, name: str) -> _Section | None:
    """Return the last section ``[kind name]``; ``[default]`` counts as ``[profile default]``."""
    found = None
    for header, section in sections.items():
        is_default = kind == "profile" and header == _DEFAULT
        if (is_default and name == _DEFAULT) or (
            header.startswith(kind) and _split_header(header)[1:] == [name]
        ):
            found = section
    return found


def _split_header(header: str) -> list[str]:
    try:
        return shlex.split(header)
    except ValueError:
        return []


def _is_profile_defined(
    config: Mapping[str, _Section], credentials: Mapping[str, _Section], name: str
) -> bool:
    return _find_section(config, "profile", name) is not None or name in credentials


def _settings(section: _Section | None, path: Path, header: str) -> dict[str, Setting]:
    return {
        key: Setting(value, f"{key} of [{header}] in {path}")
        for key, value in (section or {}).items()
    }


def _nested(outer: Setting) -> dict[str, Setting]:
    found = {}
    for line in outer.value.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            found[key.strip()] = Setting(value.strip(), f"{key.strip()} below {outer.source}")
    return found


def _non_empty(setting: Setting | None) -> Setting | None:
    return setting if setting and setting.value else None
