"""Requirements on the files of the project, in any folder."""

import ast
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.requirements import Requirement

import framecache
from framecache._core.optional_imports import EXTRAS
from framecache.model import Layout

ROOT = Path(__file__).parents[1]
LARGEST_BINARY_BYTES = 64 * 1024
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:home|root|Users|mnt|opt|srv|work)/\w")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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


def test_no_file_contains_a_machine_specific_path() -> None:
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


@pytest.mark.parametrize("folder", ["viewer", "tests/azurite"])
def test_npm_locks_hash_every_package_and_name_no_host(folder: str) -> None:
    text = (ROOT / folder / "package-lock.json").read_text()
    assert "://" not in text, "npm adds resolved and funding fields: take them out"
    packages = json.loads(text)["packages"]
    del packages[""]
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", ["extract", "server"]), ("requirements-dev.lock", ["dev"])],
)
def test_locks_satisfy_pyproject(lock: str, extras: list[str]) -> None:
    assert unmet(lock, [*PROJECT["dependencies"], *extra_requirements(*extras)]) == []


def test_docs_lock_satisfies_pyproject() -> None:
    assert unmet("requirements-docs.lock", extra_requirements("docs")) == []


def extra_requirements(*extras: str) -> list[str]:
    """Return what extras require, with the extras that they include."""
    found: list[str] = []
    for text in (text for extra in extras for text in PROJECT["optional-dependencies"][extra]):
        one = Requirement(text)
        found += extra_requirements(*one.extras) if one.name == PROJECT["name"] else [text]
    return found


def unmet(lock: str, wanted: list[str]) -> list[str]:
    """The requirements that a lock does not satisfy: run `make lock`."""
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE))
    return [
        text
        for text in wanted
        if (one := Requirement(text)).name not in pins or pins[one.name] not in one.specifier
    ]


def test_extras_named_in_errors_match_pyproject() -> None:
    extras = {name: extra_requirements(name) for name in EXTRAS}
    packages = {extra: {Requirement(one).name for one in found} for extra, found in extras.items()}
    assert {extra: set(modules.values()) for extra, modules in EXTRAS.items()} == packages
    assert set(extra_requirements("all")) == {one for found in extras.values() for one in found}
    assert set(extra_requirements("all")) <= set(extra_requirements("dev"))


def test_package_lock_satisfies_its_dependency_group() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["package"]
    text = (ROOT / "requirements-package.lock").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    needed = [Requirement(one) for one in wanted]
    assert [str(one) for one in needed if pins.get(one.name, "0") not in one.specifier] == []


def test_lowest_lock_pins_the_lower_bounds_of_pyproject() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, tools = document["project"], document["dependency-groups"]["test-lowest"]
    assert set(tools) <= set(project["optional-dependencies"]["dev"])
    text = (ROOT / "requirements-lowest.lock").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    for one in [*project["dependencies"], *extra_requirements("all"), *tools]:
        needed = Requirement(one)
        assert f"{pins[needed.name]}.".startswith(f"{str(needed.specifier).strip('>=')}."), one


def test_workflows_run_existing_targets_on_supported_versions() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    used = set(re.findall(r"run: make (\S+)", text))
    integrations = {"test-interop", "test-lambda", "test-ray", "test-torch"}
    assert used == {"docs-check", "lint", "package", "test", "test-lowest", *integrations}
    assert used <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    (tested,) = re.findall(r"python: \[(.*)\]", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = [one.rpartition(" :: ")[2] for one in project["classifiers"] if "3." in one]
    assert re.findall(r"[\d.]+", tested) == supported


def test_changelog_mentions_this_version() -> None:
    assert re.search(
        rf"\b{re.escape(framecache.__version__)}\b", (ROOT / "CHANGELOG.md").read_text()
    )


def test_shell_scripts_parse_and_are_executable() -> None:
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


def test_only_the_layouts_know_each_others_names() -> None:
    """All else asks the strategy, so that a layout is one module."""
    names = {*get_args(Layout)}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in sorted(ROOT.glob("src/framecache/**/*.py"))
        if path.parent.name != "_layouts"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.Subscript | ast.MatchValue)
        and "layout" in ast.unparse(node).lower()
        and any(isinstance(one, ast.Constant) and one.value in names for one in ast.walk(node))
    ]
    assert [one for one in found if "Literal[" not in one] == []
