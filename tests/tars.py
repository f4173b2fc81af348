"""Packs as other programs read them: by Python's tarfile, by GNU tar, and by webdataset."""

import io
import json
import subprocess
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import webdataset

from outside import Outside

Members = dict[str, bytes]
"""Members of a tar by name, in their order."""


def packs_of(blobs: Outside, timeline_id: str) -> dict[str, bytes]:
    """All blobs under a timeline's ``packs/``, by key."""
    return {key: blobs.read(key) for key in blobs.list(f"cache/timelines/{timeline_id}/packs/")}


def by_tarfile(path: Path) -> Members:
    members: Members = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            assert member.isreg()
            file = tar.extractfile(member)
            assert file is not None
            assert member.name not in members
            members[member.name] = file.read()
    return members


def by_gnu_tar(path: Path) -> Members:
    listed = _gnu_tar("--list", path).decode().splitlines()
    members = {name: _gnu_tar("--extract", path, "--to-stdout", name) for name in listed}
    assert len(members) == len(listed)
    return members


def by_webdataset(path: Path) -> Members:
    """Return the members of the samples of a pack."""
    samples = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    # webdataset leaves the file open until it is garbage-collected.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        return {
            f"{sample['__key__']}.{kind}": data
            for sample in samples
            for kind, data in sample.items()
            if not kind.startswith("__")
        }


TOOLS: Final[dict[str, Callable[[Path], Members]]] = {
    "tarfile": by_tarfile,
    "GNU tar": by_gnu_tar,
    "webdataset": by_webdataset,
}


def members_of(pack: bytes) -> Members:
    """Return the members of a pack, by tarfile."""
    with tarfile.open(fileobj=io.BytesIO(pack), mode="r:") as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        return {name: file.read() for name, file in files if file is not None}


def jpegs_in(packs: dict[str, bytes]) -> dict[int, bytes]:
    """The JPEGs of packs, by sequence."""
    return {
        int(name.removesuffix(".jpg")): data
        for pack in packs.values()
        for name, data in members_of(pack).items()
        if name.endswith(".jpg")
    }


def metadata_in(members: Members) -> list[dict[str, Any]]:
    """Return the contents of the JSON members, in their order."""
    return [json.loads(data) for name, data in members.items() if name.endswith(".json")]


def _gnu_tar(action: str, path: Path, *arguments: str) -> bytes:
    command = ["tar", action, "--file", str(path), *arguments]
    finished = subprocess.run(command, check=True, capture_output=True)
    assert finished.stderr == b""
    return finished.stdout
