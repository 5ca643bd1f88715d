"""`muad probe-encoder`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from muad.cli import completion
from muad.cli.display import progress_bar, quiet_engine, say, show
from muad.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

    from muad.experiments.probe import Probe


def command(
    encoder: Annotated[
        str,
        typer.Argument(
            help="Encoder name, or a weights file in DINO's or DINOv2's naming.", autocompletion=completion.encoders
        ),
    ],
    data: Annotated[Path, typer.Argument(help="Data set with train and test split.")],
    seeds: Annotated[int, typer.Option(help="Number of Dinomaly runs.", min=1)] = 1,
    first_seed: Annotated[int, typer.Option(help="Seed of the first run; each after it has the next.", min=0)] = 1,
    steps: Annotated[int, typer.Option(help="Steps of each run, at batch 16.", min=10)] = 400,
    image_px: Annotated[int, typer.Option(help="Side of the images, a multiple of the patch.", min=28)] = 224,
    out: Annotated[Path | None, typer.Option(help="Keep the runs here; the same command continues them.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print every report as JSON instead of a table.")] = False,
) -> None:
    """Judge an encoder by a short Dinomaly run and by a nearest-neighbour baseline on the same features."""
    from muad.experiments.probe import encoder_named, probe_encoder

    quiet_engine()
    try:
        with progress_bar() as update:
            probe = probe_encoder(
                encoder_named(encoder), data, name=encoder, seeds=seeds, first_seed=first_seed, steps=steps,
                image_px=image_px, out=out, device=device, progress=update, note=say,
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = "nothing was kept; --out would have" if out is None else f"the same command continues the runs in {out}"
        say(f"interrupted; {kept}.")
        raise typer.Exit(130) from None
    if as_json:
        show(json.dumps(probe.to_json(), indent=2))
    else:
        Console().print(probe_table(probe))


def probe_table(probe: Probe) -> Table:
    """Image AUROC, pixel AP and AUPRO of both detectors, per category; the other metrics are in the JSON."""
    from rich import box
    from rich.table import Table

    from muad.experiments.probe import spread
    from muad.metrics.report import METRIC_NAMES

    shown = [name for name in METRIC_NAMES if name in ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_aupro")]
    size = f"{counted(probe.steps, 'step')}, {probe.image_px} px, {counted(len(probe.dinomaly), 'seed')}"
    title = f"{probe.encoder}: {size}, mean ± deviation"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("category", no_wrap=True)
    table.add_column("detector", no_wrap=True)
    for name in shown:
        table.add_column(name.replace("_", " "), justify="right")
    for category in (*probe.nearest_neighbour.categories, None):
        for detector, reports in (("Dinomaly", probe.dinomaly), ("nearest", (probe.nearest_neighbour,))):
            cells = []
            for name in shown:
                figure = spread(reports, name, category)
                wide = f" ± {figure[1]:.3f}" if figure is not None and len(reports) > 1 else ""
                cells.append("-" if figure is None else f"{figure[0]:.3f}{wide}")
            table.add_row(category or "mean", detector, *cells, style="bold" if category is None else None)
    return table
