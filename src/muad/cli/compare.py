"""`muad compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muad.cli import completion
from muad.cli.display import plain_table, progress_bar, quiet_engine, say, show_json, show_table
from muad.cli.log_file import keep_log

if TYPE_CHECKING:
    from rich.table import Table

    from muad.comparison import Comparison


def command(
    data: Annotated[Path, typer.Argument(help="Labelled data set.")],
    out: Annotated[Path, typer.Option(help="Folder for page, table and runs; the same command goes on in it.")],
    detectors: Annotated[
        str, typer.Option(help="Names with commas between them, or all.", autocompletion=completion.detectors)
    ] = "all",
    encoders: Annotated[
        str,
        typer.Option(
            help="Encoders to try, commas between them, a+b for two side by side; else each detector's own.",
            autocompletion=completion.encoders,
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(help="Trainings of each.", min=1)] = 3,
    shots: Annotated[
        int | None, typer.Option(help="Good images of each product; every seed draws its own.", min=1)
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for all of it, e.g. 30m; shared among the detectors.")
    ] = None,
    choose: Annotated[
        bool, typer.Option("--choose", help="Set a third of the labelled images aside to choose by.")
    ] = False,
    image_px: Annotated[int, typer.Option(help="Side of the images, for every detector that takes it.", min=16)] = 224,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override for all, or NAME:section.key=value for one detector.",
            autocompletion=completion.settings,
        ),
    ] = None,
    layout: Annotated[str, typer.Option(help="How the data lie on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what compare.json holds.")] = False,
) -> None:
    """Compare detectors on your photographs under one protocol: figures, costs, maps side by side, a recommendation."""
    from muad.comparison import compare

    quiet_engine()
    keep_log(out, "comparison.json")
    try:
        with progress_bar() as update:
            found = compare(
                data, out, detectors=detectors, encoders=encoders, seeds=seeds, shots=shots, budget=budget,
                choose=choose, image_px=image_px, overrides=settings or [], layout=layout, device=device,
                progress=update, note=say,
            )  # fmt: skip
    except KeyboardInterrupt:
        say(f"interrupted; what is finished is in {out / 'compare.html'}. The same command goes on.")
        raise typer.Exit(130) from None
    if as_json:
        show_json(found.to_json())
    else:
        show_table(comparison_table(found))
    for sentence in found.recommendation:
        say(sentence)
    say(f"page: {found.page}")


def comparison_table(found: Comparison) -> Table:
    """Means over the categories of the figures people compare by, and the costs."""
    from muad.comparison.page import part

    table = plain_table()
    table.add_column("detector", no_wrap=True)
    for heading in (
        "image\nAUROC",
        "pixel\nAP",
        "AUPRO",
        "seeds",
        "steps",
        "of pub-\nlished",
        "training",
        "image",
        "memory",
    ):
        table.add_column(heading, justify="right")
    for entry, row in zip(found.ordered(), found.means, strict=True):
        if not row["seeds"]:
            table.add_row(entry.key, f"[not run] {row['error'] or ''}"[:60])
            continue
        share = row["share_of_published"]
        table.add_row(
            entry.key,
            *(_figure(row, name) for name in ("image_auroc", "pixel_ap", "pixel_aupro")),
            str(row["seeds"]),
            "one look" if row["steps"] is None else str(row["steps"]),
            "-" if share is None else part(share),
            _number(row["training_s"], 1, "s"),
            _number(row["image_s"], 1000, "ms"),
            _number(row["memory_bytes"], 2**-20, "MiB"),
        )
    return table


def _figure(row: dict[str, Any], name: str) -> str:
    value, wide = row[name], row[f"{name}_sd"]
    return "-" if value is None else f"{value:.3f}" + ("" if wide is None else f" ± {wide:.3f}")


def _number(value: float | None, factor: float, unit: str) -> str:
    return "-" if value is None else f"{factor * value:.0f} {unit}"
