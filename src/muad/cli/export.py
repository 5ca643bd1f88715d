"""`muad export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import progress_bar, quiet_engine, say, show, show_json
from muad.cli.log_file import keep_log


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="The file to write, such as bolts.muad.")],
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Beside fp32, which is always in it: bf16 or int8. May be given twice."),
    ] = None,
    openvino: Annotated[bool, typer.Option("--openvino", help="Also hold the networks in OpenVINO's format.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Good images to measure by, in folders named like their category.", show_default="those of the run"
        ),
    ] = None,
    most_images: Annotated[
        int | None, typer.Option(help="How many of them, spread over categories.", min=1, show_default="all")
    ] = None,
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print file, size and deviations as JSON.")] = False,
) -> None:
    """Write a run as one file for the line, which needs no torch; refused where it would not say what the run says."""
    from muad.bundling.export import export

    quiet_engine()
    keep_log(run, "run.json")
    with progress_bar() as update:
        found = export(
            run, out, precisions=tuple(precision or ()), openvino=openvino, force=force, images=images,
            most_images=most_images, encoder_weights=encoder_weights, progress=update, note=say,
        )  # fmt: skip
    if as_json:
        parity = {
            key: [{**dataclasses.asdict(own), "form": str(own.form)} for own in forms]
            for key, forms in found.parity.items()
        }
        show_json({"bundle": found.path, "bytes": found.bytes, "parity": parity})
    else:
        say(f"{found.path} holds {found.bytes / 1e6:.1f} MB; next: muad predict {found.path} PHOTOS --out RESULTS")
        show(str(found.path))
