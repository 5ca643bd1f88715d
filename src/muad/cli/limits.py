"""`muad limits`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.calibrate import limits_as_json, show_limits
from muad.cli.display import say, show


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A limit to change: screw.reject=0.35 (or =none), of parts objects.box.reject=1; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Show the limits in force, and what they promise; with --set, change some first."""
    from muad.bundles.editing import run_folder, told_of
    from muad.decisions.limit_edit import parse_setting, set_limits
    from muad.decisions.limit_sentences import NOT_COVERED
    from muad.decisions.limit_setting import limits_in_force, object_limits_in_force

    wanted = [parse_setting(text) for text in changes or ()]
    with run_folder(run, by="limits" if wanted else None) as folder:
        if wanted:
            set_limits(folder, wanted, told_of(run, folder, say))
        results, of_parts = limits_in_force(folder), object_limits_in_force(folder)
    if as_json:
        show(json.dumps(limits_as_json(results, of_parts), indent=2))
        return
    show_limits(results)
    if of_parts:
        show_limits(of_parts, "parts")
    say(NOT_COVERED)
