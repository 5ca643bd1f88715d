"""`muad recipes list` and `muad recipes show`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from muad.cli.display import show

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """Every recipe with what it trains and the image AUROC its source prints."""
    from muad.config import load_config, recipe_names

    table = Table("recipe", "encoder", "input", "mode", "steps", "published image AUROC")
    for name in recipe_names():
        config = load_config(name)
        detector, published = config.detector, config.published.image_auroc
        size = f"{detector.resize_px[0]} -> {detector.crop_px[0]}"
        figure = "-" if published is None else f"{published:.3f}"
        steps = str(config.schedule.total_steps)
        table.add_row(name, detector.encoder.name, size, config.training.mode, steps, figure)
    Console().print(table)


@app.command("show")
def show_recipe(name: Annotated[str, typer.Argument(help="Name, or a TOML file.")]) -> None:
    """The text of one recipe: command, expected numbers, settings."""
    from muad.config import recipe_text

    show(recipe_text(name).rstrip())
