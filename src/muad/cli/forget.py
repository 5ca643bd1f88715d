"""`muad forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import progress_bar, quiet_engine, say, show_json
from muad.cli.extend import show_movements


def command(
    run: Annotated[Path, typer.Argument(help="Run folder of a memory of patches; it is only read.")],
    product: Annotated[str, typer.Argument(help="Which product goes.")],
    out: Annotated[Path | None, typer.Option(help="New run folder.", show_default="RUN-without-PRODUCT")] = None,
    bound: Annotated[
        float | None,
        typer.Option(help="Part of the way to the limit a score may move with limits kept.", show_default="0.03"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Make a run without one of its products, of which nothing is left in it but the name in its history."""
    from muad.extension import forget

    quiet_engine()
    try:
        with progress_bar() as update:
            found = forget(
                run,
                product,
                out,
                bound=bound,
                device=device,
                encoder_weights=encoder_weights,
                progress=update,
                note=say,
            )
    except KeyboardInterrupt:
        say(f"interrupted; {run} is as it was.")
        raise typer.Exit(130) from None
    if as_json:
        show_json(found.to_json())
        return
    for sentence in found.entry.sentences():
        say(sentence)
    show_movements(found.entry.products)
    say(f"without {product}: {found.out}")
