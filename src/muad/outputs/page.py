"""`results.html`: one page to leaf through what was predicted, the rejected first; it needs nothing but a browser."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

RESULTS_HTML = "results.html"
_COLUMNS = (
    *("path", "category", "verdict", "score", "p_value", "review_above", "reject_above", "highest"),
    *("reason", "notice", "error", "overlay", "original", "part"),
)


def page_row(entry: Mapping[str, Any], out: Path) -> list[Any]:
    """What the page needs of an entry of `results.json`; links are relative to the output folder."""
    row = {name: entry.get(name) for name in _COLUMNS}
    place = entry.get("highest")
    row["highest"] = (
        None if place is None else f"{place['peak']:.4g} at x {place['peak_at'][0]}, y {place['peak_at'][1]}"
    )
    row["overlay"] = None if entry.get("overlay") is None else quote(os.fsencode(entry["overlay"]))
    row["original"] = _link(Path(entry.get("moved_to") or entry["path"]), out)
    row["path"] = os.fsencode(str(entry["path"])).decode("utf-8", "backslashreplace")
    return list(row.values())


def write_results_page(out: Path, rows: Iterable[list[Any]]) -> Path:
    """Write the page; nothing is there or the whole of it.

    Args:
        out: Output folder.
        rows: From `page_row`.

    Raises:
        OSError: It cannot be written.
    """
    template = resources.files("muad.outputs").joinpath(RESULTS_HTML).read_text(encoding="utf-8")
    title = f"Results: {os.fsencode(out.absolute().name).decode('utf-8', 'backslashreplace')}"
    data = json.dumps({"columns": _COLUMNS, "rows": list(rows)}, separators=(",", ":"))
    before, between = template.split("@@data@@")
    page, draft = out / RESULTS_HTML, out / f"{RESULTS_HTML}.partial"
    # Within a script element only `<` could end it.
    text = before.replace("@@title@@", html.escape(title)) + data.replace("<", "\\u003c") + between
    draft.write_text(text, encoding="utf-8")
    draft.replace(page)
    return page


def _link(path: Path, out: Path) -> str:
    """The way from the page to a photograph."""
    try:
        way = os.path.relpath(path, out)
    except ValueError:  # on another drive
        return path.absolute().as_uri()
    return quote(os.fsencode(Path(way).as_posix()))
