"""`muad station retain`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muad.cli.display import say, show, show_json
from muad.cli.station.opening import STATION, Data, open_history


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Remove what station.toml lets go, and files that no inspection has; a station that runs does so by itself."""
    from muad.service.history import Pictures, now
    from muad.service.history.upkeep.retention import Retention
    from muad.service.settings import read_settings

    with open_history(data) as history:
        retention = Retention(history, Pictures(data), read_settings(data).history)
        done = retention.plan(now()) if dry_run else retention.apply(now())
        left = 0 if dry_run else retention.tidy(now())
    if as_json:
        show_json({"removed": [asdict(forgotten) for forgotten in done], "files_without_inspection": left})
        return
    for forgotten in done:
        show(str(forgotten))
    if left:
        show(f"{left} files that no inspection has")
    if not done:
        say("nothing is to go by the settings under [history]")
