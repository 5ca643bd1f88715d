"""`muad import-official`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli import completion
from muad.cli.display import say, show_json


def command(
    file: Annotated[Path, typer.Argument(help="Checkpoint of the authors' Dinomaly code.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe it was trained by, for sizes and scoring.", autocompletion=completion.recipes),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override of the recipe.", autocompletion=completion.settings)
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads; width / 64 unless given.", min=1)] = None,
    encoder_weights: Annotated[Path | None, typer.Option(help="Encoder file, if the checkpoint has none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what RUN/run.json says as JSON.")] = False,
) -> None:
    """Turn a checkpoint of the authors' code into a run folder."""
    from muad.checkpoints.official import import_official
    from muad.configuration.run_config import load_config
    from muad.runs.folder import read_run

    config = load_config(recipe, settings or [])
    import_official(file, out, config, heads=heads, encoder_weights=encoder_weights)
    if as_json:
        show_json({"run": str(out), **read_run(out)})
    say(f"imported: {out}. Next: muad evaluate {out} DATA")
