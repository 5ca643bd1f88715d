"""`muad fetch-encoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli import completion
from muad.cli.display import say, show_json


def command(
    name: Annotated[
        str, typer.Argument(help="Encoder name, e.g. dinov2-reg-base.", autocompletion=completion.encoders)
    ],
    to: Annotated[Path, typer.Option(help="File to write, ending in .safetensors.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print name, file and size as JSON.")] = False,
) -> None:
    """Download an encoder's weights to a file that another, offline machine can use."""
    from muad.encoders.hub import fetch_encoder

    fetch_encoder(name, to)
    if as_json:
        show_json({"encoder": name, "file": to, "bytes": to.stat().st_size})
    say(f"fetched: {to}. Use it with muad train ... --encoder {name} --encoder-weights {to}")
