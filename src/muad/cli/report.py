"""`muad report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import progress_bar, quiet_engine, show, show_json


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle; evaluate it first.")],
    out: Annotated[Path | None, typer.Option(help="The page; RUN/report.html if left out.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where the evaluated photographs are now.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the page's path as JSON.")] = False,
) -> None:
    """Write one HTML page to file: what was trained on what, whether to trust it, verdicts, curves, hardest images."""
    from muad.reporting import report

    quiet_engine()
    with progress_bar() as update:
        page = report(run, out, data=data, device=device, encoder_weights=encoder_weights, progress=update)
    if as_json:
        show_json({"report": page})
    else:
        show(str(page))
