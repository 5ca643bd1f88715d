"""`muad extend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muad.cli.display import plain_table, progress_bar, quiet_engine, say, show, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.runs.history import Movement


def command(
    run: Annotated[Path, typer.Argument(help="Run folder, trained to its end; it is only read.")],
    data: Annotated[Path, typer.Argument(help="Photographs of new products, or more good ones of known products.")],
    out: Annotated[Path | None, typer.Option(help="New run folder.", show_default="RUN-extended")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes and risks; nothing is written.")
    ] = False,
    take_suspicious: Annotated[
        bool, typer.Option("--take-suspicious", help="Take in new images that look suspicious as well.")
    ] = False,
    bound: Annotated[
        float | None,
        typer.Option(help="Part of the way to the limit a score may move with limits kept.", show_default="0.03"),
    ] = None,
    most_a_day: Annotated[
        int | None, typer.Option(help="New images of a known product and day, at most.", show_default="20")
    ] = None,
    most_a_product: Annotated[
        int | None, typer.Option(help="New images of a product, at most.", show_default="1000")
    ] = None,
    known_share: Annotated[
        float | None,
        typer.Option(help="New images of a known product, at most, for each it was trained on.", show_default="0.5"),
    ] = None,
    rehearsal: Annotated[
        float | None, typer.Option(help="Share of old images in each step (Dinomaly).", show_default="0.5")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of Dinomaly.", show_default="a quarter of those it was trained for")
    ] = None,
    roi: Annotated[Path | None, typer.Option(help="Folder with a region of interest of each new product.")] = None,
    layout: Annotated[str, typer.Option(help="How the data lie on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Add products, or more good parts of known ones, to a trained run, and show that the old ones did not move."""
    from muad.extension import ExtensionSettings, extend

    quiet_engine()
    asked: dict[str, Any] = {
        "bound": bound, "most_a_day": most_a_day, "most_a_product": most_a_product, "known_share": known_share,
        "rehearsal": rehearsal, "steps": steps,
    }  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    settings = ExtensionSettings(**given, take_suspicious=take_suspicious)
    try:
        with progress_bar() as update:
            found = extend(
                run, data, out, settings=settings, roi=roi, layout=layout, device=device,
                encoder_weights=encoder_weights, dry_run=dry_run, progress=update, note=say,
            )  # fmt: skip
    except KeyboardInterrupt:
        say(f"interrupted; {run} is as it was. The same command goes on.")
        raise typer.Exit(130) from None
    if as_json:
        show_json(found.to_json())
        return
    if found.cost is not None:
        from muad.extension.cost import described

        for why, count in found.intake.reasons.items():
            show(f"left out, {why}: {count}")
        show(described(found.cost))
        for sentence in found.cost.risks:
            show(f"  {sentence}")
        show("nothing was written")
    elif found.entry is not None:
        for sentence in found.entry.sentences():
            say(sentence)
        show_movements(found.entry.products)
        say(f"extended: {found.out}. Next: muad evaluate {found.out} DATA, or muad export {found.out} FILE")


def show_movements(products: Mapping[str, Movement]) -> None:
    """What became of each product that was there before."""
    table = plain_table()
    table.add_column("product", no_wrap=True)
    for heading in ("compared", "lower", "higher", "moved, % of\nway to limit", "verdicts\nchanged", "limits"):
        table.add_column(heading, justify="left" if heading == "limits" else "right")
    for name, one in products.items():
        part = "-" if one.part is None else f"{100 * one.part:.2g}"
        table.add_row(name, str(one.images), str(one.lower), str(one.higher), part, str(len(one.changes)), one.limits)
    show_table(table)
