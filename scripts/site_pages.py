"""Hooks of MkDocs: pages that are files of the root folder, and generated parts of pages.

A page in ``docs/`` marks a part that is generated with a comment on a line of its own, such as
``<!-- generated: commands -->``. Nothing that is generated is stored in the repository.
"""

import ast
import inspect
import json
import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from framecache._core import keys  # noqa: E402 -- found in the line above

ROOT_PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the site by the files of the root folder that they are made from."""

PICTURES: Final = {
    "viewer_list": "The list of timelines, with a thumbnail, state, number of frames, duration and "
    "size of each.",
    "viewer_frame": "A frame with the overlays of two stages; below it, its neighbors, the curve "
    "of visual change, and a row of marks for each stage.",
    "viewer_compare": "The edges that two jobs found in one frame, with a border to drag.",
}
"""Descriptions of the pictures of the viewer, which scripts/viewer_pictures.py makes."""
PICTURE_FOLDER: Final = ROOT / ".cache" / "docs" / "pictures"

_LINK: Final = re.compile(r"(?<=\]\()([^()\s:#]+)(?=[)#])")
_FENCE: Final = re.compile(r"^(\s*```\w+) no-run$", re.MULTILINE)
_GENERATED: Final = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root folder."""
    for name, page in ROOT_PAGES.items():
        text = (ROOT / name).read_text()
        files.append(File.generated(config, page, content=relinked(text, name, page)))
    for name in PICTURES:
        path = picture_path(name)
        if path.exists():
            files.append(File.generated(config, f"images/{path.name}", abs_src_path=str(path)))
    return files


def picture_path(name: str) -> Path:
    """Return the path of a picture of the viewer, which may not exist."""
    return PICTURE_FOLDER / f"{name.replace('_', '-')}.png"


def picture(name: str) -> str:
    """Return a picture of the viewer, or nothing if there is none; in a page of ``docs/``."""
    path = picture_path(name)
    return f"![{PICTURES[name]}](images/{path.name})" if path.exists() else ""


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 -- as MkDocs calls it
    """Return the text of a page as MkDocs understands it."""
    source = page.file.src_uri
    if source not in ROOT_PAGES.values():
        markdown = relinked(markdown, f"docs/{source}", source)
    markdown = _FENCE.sub(r"\1", markdown)
    return _GENERATED.sub(lambda match: GENERATORS[match[1]](), markdown)


def relinked(text: str, source: str, page: str) -> str:
    """Return a page with links between files of the repository turned into links of the site."""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if (ROOT / target).is_dir():
            target += "/README.md"
        inside = ROOT_PAGES.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(inside, posixpath.dirname(page) or ".")

    return _LINK.sub(link, text)


def commands() -> str:
    """Return the help of every command."""
    folder = ROOT / "tests" / "cli" / "help"
    top = (folder / "framecache.txt").read_text()
    parts = [f"## framecache\n\n```text\n{top}```\n"]
    for name in listed_commands(top):
        text = (folder / f"{name}.txt").read_text()
        parts.append(f"## framecache {name}\n\n```text\n{text}```\n")
        parts += [
            f"### framecache {name} {inner}\n\n"
            f"```text\n{(folder / f'{name}-{inner}.txt').read_text()}```\n"
            for inner in listed_commands(text)
        ]
    return "\n".join(parts)


def listed_commands(text: str) -> list[str]:
    """Return the names in the list of commands of a help text, in its order."""
    _, _, rest = text.partition("\nCommands:\n")
    return re.findall(r"^  (\w+)  ", rest.partition("\n\n")[0], re.MULTILINE)


def columns() -> str:
    """Return a table of the columns of an index."""
    module = ast.parse((ROOT / "src/framecache/_index/columns.py").read_text())
    types = ast.literal_eval(assigned(module, "COLUMNS"))
    table = ast.parse((ROOT / "src/framecache/_index/table.py").read_text())
    [index] = [
        node for node in table.body if isinstance(node, ast.ClassDef) and node.name == "Index"
    ]
    about = {
        node.name: ast.get_docstring(node)
        for node in index.body
        if isinstance(node, ast.FunctionDef)
    }
    rows = [f"| `{name}` | {kind} | {sentence(about[name])} |" for name, kind in types.items()]
    return "\n".join(["| column | type | contents |", "|---|---|---|", *rows])


def assigned(module: ast.Module, name: str) -> ast.expr:
    """Return the value that a module assigns to a name."""
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == name:
            return node.value
    raise LookupError(name)


def sentence(docstring: str | None) -> str:
    """Return the first sentence of a docstring, for a cell of a table."""
    first = (docstring or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")
    return first.replace("|", r"\|")


SAMPLES: Final[Mapping[str, object]] = {
    "attempt": "5f0c1d2e3a4b6978",
    "chunk_id": 0,
    "epoch": "000001-9c1e04ab",
    "job_id": "run-7",
    "max_side": 640,
    "name": "mask",
    "number": 0,
    "part": "000000",
    "prefix": "",
    "sequence": 120,
    "stage": "edges",
    "task_id": "8d2f",
    "timeline_id": "match-42",
    "version": 3,
}
"""Arguments of the functions of `framecache._core.keys` in the table of keys."""

_ROOTS: Final = ("cache/", "lambda/", "service/", "uploads/")
"""Beginnings of the keys in a store."""


def stored_keys() -> str:
    """Return a table of the keys of blobs, one of each kind, with what is stored there."""
    rows = [f"| `{key}` | {about} |" for key, about in sorted(kinds_of_keys())]
    return "\n".join(["| key, for example | contents |", "|---|---|", *rows])


def kinds_of_keys() -> Iterator[tuple[str, str]]:
    """Yield a key of each kind and what is stored there, from the functions that make keys."""
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        if (
            name.startswith(("_", "check_", "parse_", "is_"))
            or function.__module__ != keys.__name__
        ):
            continue
        arguments = {
            parameter: value
            for parameter, value in SAMPLES.items()
            if parameter in inspect.signature(function).parameters
        }
        if name == "upload":
            arguments["name"] = "half1.mp4"
        try:
            key = function(**arguments)
        except TypeError:  # it takes a key, so it makes none
            continue
        about = re.fullmatch(r"Return the key of (?:the )?(.*)", sentence(function.__doc__))
        if about and isinstance(key, str) and key.startswith(_ROOTS):
            yield key, about[1].rstrip(".")


def operations() -> str:
    """Return all operations of the service, by tag, with their parameters and responses."""
    document = json.loads((ROOT / "tests/server/openapi.json").read_text())
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            [tag] = operation["tags"]
            by_tag.setdefault(tag, []).append(one_operation(method, path, operation))
    parts = [f"## {tag.capitalize()}\n\n" + "\n".join(texts) for tag, texts in by_tag.items()]
    schemas = document["components"]["schemas"].items()
    parts.append(
        "## Documents\n\n" + "\n".join(one_schema(name, schema) for name, schema in schemas)
    )
    return "\n".join(parts)


def one_operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return one operation of the service."""
    # The list of contents has space for the end of a path only.
    label = f"{method.upper()} {path.removeprefix('/api').removeprefix('/timelines/{timeline_id}')}"
    heading = f"### {method.upper()} {path} {{ data-toc-label='{label}' }}"
    lines = [heading, "", operation["description"], ""]
    if parameters := operation.get("parameters"):
        lines += ["| parameter | in | type | contents |", "|---|---|---|---|"]
        for one in parameters:
            about = cell(one.get("description", ""))
            if "default" in one["schema"]:
                about = f"{about} Default: `{json.dumps(one['schema']['default'])}`.".lstrip()
            required = ", required" if one["in"] == "query" and one.get("required") else ""
            lines.append(
                f"| `{one['name']}` | {one['in']}{required} | {type_of(one['schema'])} | {about} |"
            )
        lines.append("")
    if body := operation.get("requestBody"):
        lines += [f"**Body:** {contents(body)}", ""]
    good = {code: one for code, one in operation["responses"].items() if code < "400"}
    bad = [code for code in operation["responses"] if code >= "400"]
    lines += [f"**{code}:** {contents(one) or 'no body'}\n" for code, one in good.items()]
    if bad:
        lines += [f"**Errors**, as [Problem](#problem): {', '.join(bad)}", ""]
    return "\n".join(lines)


def contents(body: Mapping[str, Any]) -> str:
    """Return the media types of a body, with their schemas."""
    return ", ".join(
        f"`{kind}` {type_of(one.get('schema', {}))}".rstrip()
        for kind, one in body.get("content", {}).items()
    )


def one_schema(name: str, schema: Mapping[str, Any]) -> str:
    """Return the table of the fields of a document."""
    lines = [f"### {name}", "", schema.get("description", ""), ""]
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        lines += ["| field | type | contents |", "|---|---|---|"]
        for field, one in properties.items():
            about = cell(one.get("description", ""))
            if "default" in one:
                about = f"{about} Default: `{json.dumps(one['default'])}`.".lstrip()
            optional = "" if field in required or "default" in one else ", optional"
            lines.append(f"| `{field}` | {type_of(one)}{optional} | {about} |")
        lines.append("")
    return "\n".join(lines)


_BOUNDS: Final = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
}


def type_of(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema in one line."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(type_of(one) for one in choices)
    if values := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return " or ".join(f"`{json.dumps(one)}`" for one in values)
    kind = schema.get("type", "")
    inner = schema.get("items" if kind == "array" else "additionalProperties")
    if isinstance(inner, dict):
        return f"{kind} of {type_of(inner) or 'values'}"
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in _BOUNDS.items()
        if key in schema and abs(schema[key]) < 10**15  # larger ones are the limits of 64 bits
    ]
    return " ".join([kind, *bounds]).strip()


def cell(text: str) -> str:
    """Return a string for a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


GENERATORS: Final[Mapping[str, Callable[[], str]]] = {
    "columns": columns,
    "commands": commands,
    "keys": stored_keys,
    "operations": operations,
    **{name: partial(picture, name) for name in PICTURES},
}
