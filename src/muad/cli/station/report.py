"""`muad station report`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import show, show_json
from muad.cli.station.opening import STATION, Data, open_history

_DAY = typer.Option(formats=["%Y-%m-%d"], show_default=False, help="Of this day; yesterday without either option.")


def report(
    day: Annotated[datetime | None, _DAY] = None,
    week: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], show_default=False, help="Of the week of this day.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for both files.")] = Path(),
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write what a day or a week was like, as one HTML file and as CSV: parts, rates, drift, words, changes."""
    from muad.errors import ConfigError
    from muad.service.followup.audit import Audit, audit_secret
    from muad.service.followup.summary import Period, make_report
    from muad.service.settings import read_settings

    if day is not None and week is not None:
        raise ConfigError("report must be of a day or of a week, got both. Name one of --day and --week.")
    settings = read_settings(data)
    zone = settings.shifts.time_zone()
    chosen = week or day or datetime.now(zone) - timedelta(days=1)
    period = Period.of("week" if week is not None else "day", chosen.date(), zone)
    with open_history(data) as history:
        audit = Audit(audit_secret(data), settings.audit.share)
        made = make_report(history, data, period, name=settings.service.name, audit=audit)
    written = made.write(out)
    if as_json:
        show_json({"files": list(written)})
        return
    for path in written:
        show(str(path))
