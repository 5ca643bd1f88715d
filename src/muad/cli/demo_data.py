"""`muad demo-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import progress_bar, say, show_json


def command(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Seed of all images.", min=0)] = 0,
    image_px: Annotated[int, typer.Option(help="Side of the images.", min=64)] = 256,
    depth: Annotated[bool, typer.Option("--depth", help="Write a tray under a colour and a depth camera.")] = False,
    product: Annotated[
        str | None, typer.Option(help="A product of several views instead: valve_box, five views a part.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write the toy factory: rendered products with exact defect masks, in the layout of MVTec AD or 3D-AD."""
    from muad.errors import ConfigError
    from muad.toy_factory import write_toy_factory, write_trays, write_viewed_product
    from muad.toy_factory.viewed_products import PARTS_MANIFEST

    if product is not None and depth:
        raise ConfigError(f"product must be left out with depth, which writes a tray, got {product}.")
    with progress_bar() as update:
        news = lambda done, total: update("render", done, total, None)  # noqa: E731
        if product is not None:
            write_viewed_product(out, product, seed=seed, image_px=image_px, progress=news)
        else:
            (write_trays if depth else write_toy_factory)(out, seed=seed, image_px=image_px, progress=news)
    data = out if product is None else out / PARTS_MANIFEST
    if as_json:
        pattern = "*/rgb/*.png" if depth else "*/*.png"
        images = [*out.glob(f"*/train/{pattern}"), *out.glob(f"*/test/{pattern}")]
        show_json({"data": data, "seed": seed, "image_px": image_px, "images": len(images)})
    say(f"toy factory: {data}. Next: muad train {data} --out RUN")
