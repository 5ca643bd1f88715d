"""`muad limits`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.calibrate import show_limits
from muad.cli.display import say, show


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Show the limits in force, and what they promise; writes nothing."""
    from muad.decisions.limit_setting import NOT_COVERED, limits_in_force

    results = limits_in_force(run)
    if as_json:
        show(json.dumps({name: dataclasses.asdict(result) for name, result in results.items()}, indent=2))
        return
    show_limits(results)
    say(NOT_COVERED)
