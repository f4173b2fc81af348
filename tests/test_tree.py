"""What the files of the project must be, wherever they lie."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.requirements import Requirement

import framecache

ROOT = Path(__file__).parents[1]
LARGEST_BINARY_BYTES = 64 * 1024
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:home|root|Users|mnt|opt|srv|work)/\w")
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def tree() -> Iterator[Path]:
    """Every file that is not ignored: the patterns in .gitignore are plain names here."""
    patterns = (ROOT / ".gitignore").read_text().split()
    ignored = {pattern.strip("/") for pattern in patterns} | {".git"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, one) for one in ignored)]
        yield from (Path(folder, name) for name in names if name not in ignored)


def text_of(path: Path) -> str | None:
    content = path.read_bytes()
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def test_binary_files_are_tiny() -> None:
    large = [path for path in tree() if path.stat().st_size > LARGEST_BINARY_BYTES]
    assert [path for path in large if text_of(path) is None] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tree()
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_pin_and_hash_every_package_and_name_no_registry(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"://|file:|^\s*-(?:-index|-extra|-find|i |f )", text, re.MULTILINE)
    pins = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?(.*)\n(.*)", text, re.MULTILINE)
    assert pins
    assert all(pin.startswith("==") and "--hash=sha256:" in line for pin, line in pins)


def test_the_lock_of_the_viewer_hashes_every_package_and_names_no_host() -> None:
    text = (ROOT / "viewer" / "package-lock.json").read_text()
    assert "://" not in text, "npm adds resolved and funding fields: take them out"
    packages = json.loads(text)["packages"]
    del packages[""]
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", ["server"]), ("requirements-dev.lock", ["dev", "server"])],
)
def test_locks_satisfy_pyproject(lock: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE))
    unmet = [
        text
        for text in wanted
        if (one := Requirement(text)).name not in pins or pins[one.name] not in one.specifier
    ]
    assert unmet == [], "run `make lock`"


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(
        rf"\b{re.escape(framecache.__version__)}\b", (ROOT / "CHANGELOG.md").read_text()
    )


def test_shell_scripts_parse_and_can_be_run() -> None:
    scripts = [path for path in tree() if (text_of(path) or "").startswith("#!/usr/bin/env bash")]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        assert os.access(script, os.X_OK), script


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def links(page: Path) -> list[str]:
    found = [token.attrGet("href") or token.attrGet("src") for token in inline(page)]
    return [link for link in found if isinstance(link, str) and not re.match(r"\w+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and GitLab give to headings."""
    tokens = MarkdownIt().parse(page.read_text())
    headings = [
        heading.content for opening, heading in pairwise(tokens) if opening.type == "heading_open"
    ]
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def inline(page: Path) -> Iterator[Token]:
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        yield from token.children or []
