"""A category's table in a file that people edit (`limits.toml`, `capture.toml`), taken out of its text or added to it.

Everything else in the file stays as somebody wrote it.
"""

from __future__ import annotations

import tomllib
from typing import Any

import tomli_w


def without_category(text: str, category: str, above: str | None = None) -> str:
    """The text without `[categories.NAME]` and what stands below it; as it is where there is no such table.

    Args:
        text: Of the file.
        category: Whose table.
        above: The table that `categories` is in, such as `objects`; None for the file itself.
    """
    wanted = tomllib.loads(text)
    outer = wanted if above is None else wanted.get(above, {})
    if category not in outer.get("categories", {}):
        return text
    del outer["categories"][category]
    if not outer["categories"]:
        del outer["categories"]
    head: dict[str, Any] = {"categories": {category: {}}}
    head = head if above is None else {above: head}
    lines = text.splitlines()
    heads = [place for place, line in enumerate(lines) if line.lstrip().startswith("[")]
    begin = next((place for place in heads if _table(lines[place]) == head), None)
    if begin is not None:
        end = next((place for place in heads if place > begin), len(lines))
        left = "\n".join([*lines[:begin], *lines[end:]]).rstrip("\n") + "\n"
        if tomllib.loads(left) == wanted:
            return left
    # Written in another manner, such as with inline tables: the values without the comments.
    return tomli_w.dumps(wanted)


def with_table(text: str, table: str) -> str:
    """The text with a table that it does not have yet, at its end."""
    return f"{text.rstrip()}\n\n{table.strip()}\n"


def _table(line: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
