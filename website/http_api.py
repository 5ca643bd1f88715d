"""The page of the station's HTTP interface, written from docs/openapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE = "http-api.md"
SCHEMA = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
_HEAD = """# HTTP API

What a station answers to, below `/v1`; programs are written against [openapi.json](openapi.json), which this page is
written from and which every station serves at `/v1/openapi.json`. How it is used is told in
[station-connect.md](station-connect.md#http). A request shows its token as `Authorization: Bearer muad_…`; which role
may ask for what says [station-security.md](station-security.md).
"""


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema as a word or two: `text`, `number or null`, `list of Region`, linked to the schema's own table."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(kind(choice) for choice in choices)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if schema.get("format") == "binary":
        return "bytes"
    words = {"string": "text", "integer": "whole number", "object": "object", "boolean": "true or false"}
    return words.get(schema.get("type", ""), schema.get("type", "anything"))


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _fields(rows: list[tuple[str, dict[str, Any], bool]]) -> Iterator[str]:
    yield from ("", "| name | is | means |", "|---|---|---|")
    for name, schema, needed in rows:
        means = schema.get("description", "")
        if schema.get("default") is not None:
            means += f" Without it: `{json.dumps(schema['default'])}`."
        yield f"| `{name}`{' (required)' if needed else ''} | {_cell(kind(schema))} | {_cell(means)} |"


def _route(method: str, path: str, route: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {method.upper()} `{path}`\n\n{route.get('description') or route.get('summary', '')}"
    if parameters := route.get("parameters"):
        about = [(entry, {"description": entry.get("description", ""), **entry["schema"]}) for entry in parameters]
        yield from _fields([(entry["name"], schema, entry.get("required", False)) for entry, schema in about])
    body = route.get("requestBody", {}).get("content", {})
    if body:
        yield "\nBody: " + "; ".join(f"`{sort}`, {kind(content.get('schema', {}))}" for sort, content in body.items())
    yield from ("", "| status | answer | when |", "|---|---|---|")
    for status, answer in sorted(route["responses"].items()):
        what = {kind(content.get("schema", {})) for content in answer.get("content", {}).values()}
        when = answer["description"].replace("Successful Response", "it is done")
        yield f"| {status} | {_cell(' or '.join(sorted(what)))} | {_cell(when)} |"


def page(openapi: dict[str, Any]) -> str:
    """Markdown of all routes by what they are about, and of everything that is sent and answered."""
    about: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            about.setdefault((route.get("tags") or ["other"])[0], []).extend(_route(method, path, route))
    lines = [_HEAD]
    for tag, routes in about.items():
        lines += [f"\n## {tag.capitalize()}", *routes]
    lines.append("\n## What is sent and answered")
    for name, schema in sorted(openapi["components"]["schemas"].items()):
        lines.append(f"\n### {name} {{ #{name.lower()} }}\n\n{schema.get('description', '')}")
        if fields := schema.get("properties"):
            needed = set(schema.get("required", []))
            lines += _fields([(field, about_it, field in needed) for field, about_it in fields.items()])
        elif "enum" in schema:
            lines.append(f"One of {kind(schema)}.")
    return "\n".join(lines) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page into the section Reference, after the command line."""
    (reference,) = [entry["Reference"] for entry in config.nav or [] if "Reference" in entry]
    reference.insert(1, {"HTTP API": PAGE})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page, which is no file."""
    files.append(File.generated(config, PAGE, content=page(json.loads(SCHEMA.read_text(encoding="utf-8")))))
    return files
