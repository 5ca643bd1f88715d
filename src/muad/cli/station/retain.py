"""`muad station retain`."""

from __future__ import annotations

from typing import Annotated

import typer

from muad.cli.display import say, show
from muad.cli.station.opening import STATION, Data, open_history


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    data: Data = STATION,
) -> None:
    """Remove what station.toml lets go, and files that no inspection has; a station that runs does so by itself."""
    from muad.service.history import Pictures, now
    from muad.service.history.upkeep.retention import Retention
    from muad.service.settings import read_settings

    with open_history(data) as history:
        retention = Retention(history, Pictures(data), read_settings(data).history)
        done = retention.plan(now()) if dry_run else retention.apply(now())
        for forgotten in done:
            show(str(forgotten))
        if not dry_run and (left := retention.tidy(now())):
            show(f"{left} files that no inspection has")
    if not done:
        say("nothing is to go by the settings under [history]")
