"""The documentation site builds without a warning, and its reference leaves nothing out."""

import html
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow
from viewer_pictures import PICTURES, WIDTH, missing_requirements

import framecache
from framecache import functional
from framecache._index import Index
from framecache._index.columns import COLUMNS

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "docs" / "reference" / "library.md"


def test_every_public_name_has_one_entry_in_the_reference() -> None:
    entries = re.findall(r"^::: framecache\.(\w+)$", LIBRARY.read_text(), re.MULTILINE)
    assert sorted(entries) == sorted([*framecache.__all__, "fsspec", "functional"])


def test_every_column_of_the_index_has_a_description() -> None:
    assert [name for name in COLUMNS if not inspect.getdoc(getattr(Index, name))] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, and return its folder. A warning, such as a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "scripts" / "docs_site.py"), "build", str(folder)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text()


def text_of(page: str) -> str:
    """The text of a page without its code, in which Markdown that was not understood stays."""
    article = re.search(r"<article.*?</article>", page, re.DOTALL)
    assert article
    without_code = re.sub(r"<(pre|code)\b.*?</\1>", "", article[0], flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", without_code))


@pytest.mark.docs
def test_every_public_name_and_function_has_an_anchor(site: Path) -> None:
    anchors = set(re.findall(r'id="(framecache[\w.]*)"', page(site, "reference/library")))
    functions = [
        name
        for name, one in inspect.getmembers(functional, inspect.isfunction)
        if one.__module__ == functional.__name__ and not name.startswith("_")
    ]
    assert len(functions) == 9
    wanted = {f"framecache.{name}" for name in framecache.__all__}
    wanted |= {f"framecache.functional.{name}" for name in functions}
    wanted |= {f"framecache.Timeline.{name}" for name in ("extract", "frames", "index")}
    assert wanted - anchors == set()


@pytest.mark.docs
@pytest.mark.skipif(
    os.environ.get("CI") != "true" and missing_requirements() != [],
    reason="needs chromium and the built viewer",
)
def test_viewer_images_are_on_their_page(site: Path) -> None:
    shown = re.findall(r'<img alt="[^"]{20,}" src="\.\./(images/[^"]+)"', page(site, "viewer"))
    assert sorted(shown) == sorted(f"images/{name}" for name in PICTURES)
    for name, (_, height) in PICTURES.items():
        with Pillow.open(site / "images" / name) as picture:
            assert picture.size == (WIDTH, height)


@pytest.mark.docs
def test_reference_lists_every_command_operation_column_and_key(site: Path) -> None:
    commands = page(site, "reference/command-line")
    helps = (ROOT / "tests" / "cli" / "help").glob("*.txt")
    names = {one.stem.replace("framecache", "") for one in helps}
    missing = [name for name in names if f'id="{f"framecache-{name}".strip("-")}"' not in commands]
    assert missing == []

    operations = html.unescape(page(site, "reference/http"))
    document = json.loads((ROOT / "tests" / "server" / "openapi.json").read_text())
    paths = [
        f"{method.upper()} {path}" for path, one in document["paths"].items() for method in one
    ]
    assert [one for one in paths if f">{one}<" not in operations] == []

    index = page(site, "reference/index-and-keys")
    assert [name for name in COLUMNS if f"<td><code>{name}</code></td>" not in index] == []
    kinds = ("claims", "frames", "index", "overlays", "packs", "sprites", "timeline")
    assert [one for one in kinds if f"<code>cache/timelines/match-42/{one}/" not in index] == []


@pytest.mark.docs
def test_no_markdown_syntax_is_left_in_pages(site: Path) -> None:
    found = [
        f"{one.relative_to(site)}: {line}"
        for one in site.glob("**/index.html")
        for line in text_of(one.read_text()).splitlines()
        if re.search(r"^\s*([-*] |\||```|#+ |<!--)|\*\*(?!\d)|\]\(|:(class|func|meth|attr):`", line)
    ]
    assert found == []


@pytest.mark.docs
def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')
    found = [
        (str(one.relative_to(site)), match)
        for one in site.glob("**/*.html")
        for match in loads.findall(one.read_text())
    ]
    assert found == []


def test_performance_image_has_the_figures_of_its_page() -> None:
    picture = (ROOT / "docs" / "images" / "performance.svg").read_text()
    text = (ROOT / "docs" / "performance.md").read_text()
    measured = text.partition("<!-- figures: begin -->")[2]
    values = re.findall(r">([\d.]+)</text>", picture)
    assert len(values) == 9
    assert [one for one in values if f"| {one} |" not in measured] == []
