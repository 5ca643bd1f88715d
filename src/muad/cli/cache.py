"""`muad cache list` and `muad cache clear`."""

from __future__ import annotations

import time

import typer
from rich.console import Console
from rich.table import Table

from muad.cli.display import say

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_features() -> None:
    """Features kept on disk for later runs."""
    from muad.training.feature_cache import cache_root, cached_sets

    table = Table("features", "images", "MiB", "last used", title=str(cache_root()), title_justify="left")
    for entry in cached_sets():
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        table.add_row(entry.folder.name, str(entry.images), f"{entry.bytes / 2**20:.0f}", day)
    Console().print(table)


@app.command("clear")
def clear() -> None:
    """Delete all of them; running trainings keep what they have open."""
    from muad.training.feature_cache import cache_root, clear_cache

    say(f"freed {clear_cache() / 2**20:.0f} MiB in {cache_root()}")
