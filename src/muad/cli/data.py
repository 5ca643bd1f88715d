"""`muad data`: summary, foreground, preview-synthesis."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import plain_table, say, show, show_json, show_table

app = typer.Typer(no_args_is_help=True)

Recipe = Annotated[str | None, typer.Option(help="Recipe that will be trained: name or TOML file.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. detector.resize_px=[128,128].")]


@app.callback()
def group() -> None:
    """Look at a data set, and prepare it for DiffusionAD."""


@app.command("summary")
def summary(
    path: Annotated[Path, typer.Argument(help="Data set: folder or manifest.")],
    layout: Annotated[str, typer.Option(help="How it lies on disk.")] = "auto",
    check_files: Annotated[bool, typer.Option("--check-files", help="Decode every image and mask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Count images per category and split, and compare with the published release."""
    from muad.datasets.index import open_catalog
    from muad.datasets.summary import summarise

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


@app.command("foreground")
def foreground(
    path: Annotated[Path, typer.Argument(help="Data set: folder or manifest.")],
    out: Annotated[Path, typer.Option(help="Folder of masks to write.")],
    recipe: Recipe = None,
    settings: Settings = None,
    layout: Annotated[str, typer.Option(help="How it lies on disk.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Write a mask of the object in every training image, for DiffusionAD to keep its anomalies on."""
    from muad.cli.display import progress_bar
    from muad.experiments.preparation import write_foreground_masks

    with progress_bar() as update:
        config, found = write_foreground_masks(
            path, out, recipe=recipe, overrides=settings or [], layout=layout,
            progress=lambda done, total: update("foreground", done, total, None),
        )  # fmt: skip
    if as_json:
        show_json([dataclasses.asdict(row) for row in found])
    else:
        table = plain_table()
        table.add_column("category", no_wrap=True)
        for heading in ("images", "with\nbackground", "mean share"):
            table.add_column(heading, justify="right")
        for row in found:
            table.add_row(row.category, str(row.images), str(row.with_background), f"{row.mean_share:.3f}")
        show_table(table)
    height, width = config.resize_px
    say(f"masks of {height} x {width} px: {out}. Look at them, then train with "
        f"--set detector.synthesis.foreground_dir={out}")  # fmt: skip


@app.command("preview-synthesis")
def preview(
    path: Annotated[Path, typer.Argument(help="Data set: folder or manifest.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")],
    recipe: Recipe = None,
    settings: Settings = None,
    layout: Annotated[str, typer.Option(help="How it lies on disk.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the anomalies.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the file's name as JSON.")] = False,
) -> None:
    """Draw the synthetic anomalies DiffusionAD would learn from: original, mask, anomaly, overlay."""
    from muad.experiments.preparation import preview_synthesis

    preview_synthesis(path, out, recipe=recipe, overrides=settings or [], layout=layout, seed=seed)
    if as_json:
        show_json({"picture": out})
    say(f"synthetic anomalies: {out}")
