"""`muad recipes list` and `muad recipes show`."""

from __future__ import annotations

from typing import Annotated

import typer

from muad.cli.display import plain_table, show, show_json, show_table

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with all published figures.")] = False,
) -> None:
    """Every recipe with what it trains and the image AUROC its source prints."""
    from muad.configuration.run_config import config_to_dict, load_config, recipe_names

    if as_json:
        show_json([{"recipe": name, **config_to_dict(load_config(name))} for name in recipe_names()])
        return
    table = plain_table()
    table.add_column("recipe", no_wrap=True)
    table.add_column("encoder", no_wrap=True)
    for heading in ("resize", "crop", "steps", "AUROC"):
        table.add_column(heading, justify="right")
    for name in recipe_names():
        config = load_config(name)
        detector, published = config.detector, config.published.image_auroc
        figure = "-" if published is None else f"{published:.3f}"
        steps = str(config.schedule.total_steps)
        sizes = (str(detector.resize_px[0]), str(detector.crop_px[0]))
        encoder = config.encoder_name or "none"
        table.add_row(name, encoder, *sizes, steps, figure)
    show_table(table)


@app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="Name, or a TOML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print every setting as JSON, defaults included.")] = False,
) -> None:
    """The text of one recipe: command, expected numbers, settings."""
    from muad.configuration.run_config import config_to_dict, load_config, recipe_text

    if as_json:
        show_json(config_to_dict(load_config(name)))
        return
    show(recipe_text(name).rstrip())
