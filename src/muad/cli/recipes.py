"""`muad recipes list` and `muad recipes show`."""

from __future__ import annotations

from typing import Annotated

import typer

from muad.cli.completion import recipes
from muad.cli.display import plain_table, show, show_json, show_table

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with all published figures.")] = False,
) -> None:
    """Every recipe with what it trains and the image AUROC its source prints."""
    from muad.configuration.recipe_files import recipe_names, recipe_summary

    if as_json:
        from muad.configuration.run_config import config_to_dict, load_config

        show_json([{"recipe": name, **config_to_dict(load_config(name))} for name in recipe_names()])
        return
    table = plain_table()
    table.add_column("recipe", no_wrap=True)
    table.add_column("encoder", no_wrap=True)
    for heading in ("resize", "crop", "steps", "AUROC"):
        table.add_column(heading, justify="right")
    for found in map(recipe_summary, recipe_names()):
        figure = "-" if found.image_auroc is None else f"{found.image_auroc:.3f}"
        sizes = (str(found.resize_px), str(found.crop_px), str(found.steps))
        table.add_row(found.name, found.encoder or "none", *sizes, figure)
    show_table(table)


@app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="Name, or a TOML file.", autocompletion=recipes)],
    as_json: Annotated[bool, typer.Option("--json", help="Print every setting as JSON, defaults included.")] = False,
) -> None:
    """The text of one recipe: command, expected numbers, settings."""
    from muad.configuration.recipe_files import recipe_text

    if as_json:
        from muad.configuration.run_config import config_to_dict, load_config

        show_json(config_to_dict(load_config(name)))
        return
    show(recipe_text(name).rstrip())
