"""API reference: the OpenAPI document as an HTML page without scripts or external resources."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
h2 { margin-top: 2.5rem; } h3 { font: 600 1rem/1.5 ui-monospace, monospace; margin-bottom: 0; }
code { font: 0.9rem ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top;
       padding: 0.15rem 1rem 0.15rem 0; } details { margin-left: 1rem; }
"""

Document = Mapping[str, Any]


def stylesheet() -> str:
    """Return the page's style sheet; as a file of its own, it needs no inline styles allowed."""
    return _STYLE


def render(document: Document) -> str:
    """Return the page: all operations by subject, then all schemas."""
    info = document["info"]
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(info['title'])}: the service</title>",
            '<link rel="stylesheet" href="docs.css">',
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            f"<p>{escape(info['summary'])} As an OpenAPI document: ",
            '<a href="api/v1/openapi.json">openapi.json</a>.</p>',
            *_operations(document),
            "<h2>Documents</h2>",
            *_schemas(document["components"]["schemas"]),
            "</html>",
        ]
    )


def _operations(document: Document) -> Iterator[str]:
    by_subject: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            shown = "".join(_operation(method, path, operation))
            by_subject.setdefault(operation["tags"][0], []).append(shown)
    for subject, operations in by_subject.items():
        yield f"<h2>{escape(subject.capitalize())}</h2>"
        yield from operations


def _operation(method: str, path: str, operation: Document) -> Iterator[str]:
    yield f"<h3>{method.upper()} {escape(path)}</h3><p>{escape(operation['description'])}</p>"
    rows = [
        (one["name"], _type_name(one["schema"]), one.get("description", ""))
        for one in operation.get("parameters", [])
    ]
    if body := operation.get("requestBody"):
        rows += [
            ("body", f"{name}: {_type_name(one['schema'])}", "")
            for name, one in body["content"].items()
        ]
    if rows:
        yield _table(rows)
    answers = [
        (status, _response_types(one), one["description"])
        for status, one in operation["responses"].items()
    ]
    yield f"<details><summary>Answers</summary>{_table(answers)}</details>"


def _response_types(response: Document) -> str:
    content = response.get("content", {})
    return ", ".join(
        f"{name}: {_type_name(one.get('schema', {}))}" for name, one in content.items()
    )


def _schemas(schemas: Document) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f"<h3>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
        rows = [
            (field, _type_name(one), one.get("description", ""))
            for field, one in schema.get("properties", {}).items()
        ]
        if rows:
            yield _table(rows)


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = (
        f"<tr><td><code>{escape(name)}</code><td><code>{escape(kind)}</code><td>{escape(what)}"
        for name, kind, what in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _type_name(schema: Document) -> str:
    """Return a short name for a schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_type_name(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(map(repr, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("format") or schema.get("type", "any"))
    if kind == "array":
        return f"[{_type_name(schema.get('items', {}))}]"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{{name: {_type_name(schema['additionalProperties'])}}}"
    return kind
