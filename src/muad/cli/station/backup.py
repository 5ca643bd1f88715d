"""`muad station backup` and `restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import say, show, show_json
from muad.cli.station.opening import STATION, Data, open_history


def backup(
    target: Annotated[Path, typer.Argument(help="Empty folder, or an earlier backup to bring up to date.")],
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Copy a station while it runs: its history as of one moment, its pictures, models and settings."""
    from muad.service.history.upkeep.backup import back_up

    with open_history(data) as history:
        made = back_up(history, data, target, say)
    if as_json:
        show_json(asdict(made))
        return
    show(f"{made.inspections} inspections and {made.pictures} pictures, {made.copied} of them new: {target}")
    if made.missing:
        say(f"{made.missing} inspections name a picture that is not there, or is not the one that was recorded")


def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    data: Data = STATION,
    url: Annotated[str | None, typer.Option(help="The database; as in the backup's station.toml if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a station of a backup, in an empty folder."""
    from muad.service.history.upkeep import restoring
    from muad.service.settings import read_settings

    target = url or read_settings(source).history.url_in(data)
    restored = restoring.restore(source, data, target, say)
    if as_json:
        show_json(asdict(restored))
        return
    made = restored.backup
    show(f"{made.inspections} inspections and {restored.pictures} pictures as of {made.created}: {data}")
    if restored.missing:
        say(f"{restored.missing} inspections have lost a picture: it was not in the backup, or was damaged")
