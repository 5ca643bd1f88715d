"""`muad cache list` and `muad cache clear`."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from muad.cli.display import say, show_json

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_features(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Features kept on disk for later runs."""
    from muad.encoders.kept_features import cache_root, cached_sets

    found = cached_sets()
    if as_json:
        show_json([dataclasses.asdict(entry) for entry in found])
        return
    table = Table("features", "images", "MiB", "last used", title=str(cache_root()), title_justify="left")
    for entry in found:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        table.add_row(entry.folder.name, str(entry.images), f"{entry.bytes / 2**20:.0f}", day)
    Console().print(table)


@app.command("clear")
def clear(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Delete all of them; running trainings keep what they have open."""
    from muad.encoders.kept_features import cache_root, clear_cache

    freed = clear_cache()
    if as_json:
        show_json({"freed_bytes": freed, "folder": cache_root()})
    say(f"freed {freed / 2**20:.0f} MiB in {cache_root()}")
