"""`muad data summary`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import plain_table, say, show, show_table

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at a data set."""


@app.command("summary")
def summary(
    path: Annotated[Path, typer.Argument(help="Data set: folder or manifest.")],
    layout: Annotated[str, typer.Option(help="How it lies on disk.")] = "auto",
    check_files: Annotated[bool, typer.Option("--check-files", help="Decode every image and mask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Count images per category and split, and compare with the published release."""
    from muad.data.index import open_catalog
    from muad.data.summary import summarise

    found = summarise(open_catalog(path, layout, for_training=False), check_files=check_files)
    if as_json:
        show(json.dumps(dataclasses.asdict(found), indent=2))
        return
    table = plain_table()
    table.add_column("category", no_wrap=True)
    for heading in ("split", "normal", "anomalous", "with\nmask", "defect types", "height x\nwidth, px"):
        table.add_column(heading, overflow="fold")
    for row in found.splits:
        smallest, largest = row.smallest_px, row.largest_px
        size = (
            "-"
            if smallest is None or largest is None
            else " to ".join(f"{height} x {width}" for height, width in dict.fromkeys((smallest, largest)))
        )
        counts = (str(row.normal), str(row.anomalous), str(row.with_mask))
        table.add_row(row.category, row.split, *counts, ", ".join(row.defect_types) or "-", size)
    show_table(table)
    for line in (*found.notes, *found.published, *found.problems):
        say(line)
