"""`muad station export-words` and `muad station recalibrate`."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import say, show, show_json
from muad.cli.station.opening import STATION, Data, open_history

Products = Annotated[list[str] | None, typer.Option("--product", help="Only this product; may be repeated.")]
Since = Annotated[
    datetime | None, typer.Option(help="Parts from this day on, UTC.", formats=["%Y-%m-%d"], show_default=False)
]
Until = Annotated[
    datetime | None, typer.Option(help="Parts before this day, UTC.", formats=["%Y-%m-%d"], show_default=False)
]


def export_words(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    products: Products = None,
    since: Since = None,
    until: Until = None,
    audit_only: Annotated[
        bool, typer.Option("--audit-only", help="Only parts of the audit sample: the only fair ones to calibrate with.")
    ] = False,
    most_a_day: Annotated[int, typer.Option(help="Good ones, and bad ones, of a product and day.", min=1)] = 50,
    most_a_product: Annotated[int, typer.Option(help="Good ones, and bad ones, of a product.", min=1)] = 1000,
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write what people said of parts as a data set for check-data, train and calibrate."""
    from muad.service.followup.words_export import export_words as export
    from muad.service.history import Pictures

    with open_history(data) as history:
        export(
            history, Pictures(data), out, products=products or (), since=_utc(since), until=_utc(until),
            audit_only=audit_only, most_a_day=most_a_day, most_a_product=most_a_product, note=say,
        )  # fmt: skip
    if as_json:
        show_json({"manifest": out / "manifest.csv", "good": out / "good", "bad": out / "bad"})
        return
    show(f"{out / 'manifest.csv'} is for check-data and train; to calibrate: {out / 'good'} and --bad {out / 'bad'}")


def recalibrate(
    products: Products = None,
    since: Since = None,
    until: Until = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Part of good parts that may be rejected.", show_default="as in force")
    ] = None,
    review_rate: Annotated[
        float | None, typer.Option(help="Part that may be reviewed or rejected.", show_default="as in force")
    ] = None,
    put: Annotated[
        bool, typer.Option("--set", help="Put the limits in force; without it they are only shown.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; needed with --set, and kept.", show_default=False)] = None,
    who: Annotated[str, typer.Option(help="Who sets them; kept.")] = "the command line",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
    data: Data = STATION,
) -> None:
    """Limits anew from parts that people confirmed good in the audit sample: before and after, set only on request."""
    from muad.cli.calibrate import show_limits
    from muad.errors import ConfigError
    from muad.service.followup.recalibration import recalibrate as compute

    with open_history(data) as history:
        active = next((model for model in history.models() if model.state == "active"), None)
        if active is None:
            raise ConfigError(f"station must have an active model, got none in {data}. Start it: muad serve BUNDLE")
        found = compute(
            history, data / active.path, active.id, products=products or (), since=_utc(since), until=_utc(until),
            false_alarm_rate=false_alarm_rate, review_rate=review_rate, set_by=who if put else None, reason=reason,
            note=say,
        )  # fmt: skip
    if as_json:
        show(json.dumps({name: dataclasses.asdict(one) for name, one in found.items()}, indent=2))
        return
    say("before:")
    show_limits({name: one.before for name, one in found.items() if one.before is not None})
    say("in force now:" if put else "after, if they are set:")
    show_limits({name: one.after for name, one in found.items()})
    for name, one in found.items():
        for sentence in one.sentences():
            say(f"{name}: {sentence}")
    if not put:
        say("nothing was changed; to set them: --set --reason 'why'")


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)
