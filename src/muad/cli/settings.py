"""`muad settings`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from muad.cli.completion import detectors, setting_paths
from muad.cli.display import say, show, show_json


def command(
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="Part of a name or of its meaning, e.g. tiles; or a name with *.", autocompletion=setting_paths
        ),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Leave out what other detectors have.", autocompletion=detectors)
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print as a page, such as docs/settings.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List what `--set` and recipes may set: name, default, what it may be, what it means."""
    import json

    from muad.configuration import settings_table

    found = settings_table.find_settings(pattern, detector)
    if as_json:
        show_json([dataclasses.asdict(setting) for setting in found])
        return
    if as_markdown:
        show(settings_table.as_markdown(found).rstrip())
        return
    for setting in found:
        default = "(left out)" if setting.default is None else json.dumps(setting.default, ensure_ascii=False)
        only = "" if setting.detector is None else f" [{setting.detector}]"
        show(f"{setting.path} = {default}  ({setting.allowed}){only}")
        if setting.meaning:
            show(f"    {setting.meaning}")
    say("Without a recipe muad train chooses sizes and length for your data and machine, and says which.")
