"""The `muad` command: which commands there are, and how faults end."""

from __future__ import annotations

import sys

import typer

from muad.cli import (
    cache,
    calibrate,
    check_data,
    data,
    demo,
    demo_data,
    doctor,
    evaluate,
    fetch_encoder,
    import_official,
    predict,
    probe_encoder,
    recipes,
    report,
    train,
)
from muad.cli.display import say
from muad.errors import MuadError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual anomaly detection: train on photographs of good parts, find the bad ones and show where.",
)
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("calibrate")(calibrate.command)
app.command("predict")(predict.command)
app.command("report")(report.command)
app.add_typer(recipes.app, name="recipes", help="Settings that come with muad: one file per published result.")
app.add_typer(data.app, name="data", help="Look at a data set, and prepare it for DiffusionAD.")
app.command("check-data")(check_data.command)
app.command("demo-data")(demo_data.command)
app.command("demo")(demo.command)
app.command("import-official")(import_official.command)
app.command("fetch-encoder")(fetch_encoder.command)
app.command("probe-encoder")(probe_encoder.command)
app.add_typer(cache.app, name="cache", help="Features of the frozen encoder kept on disk for later runs.")
app.command("doctor")(doctor.command)


def run() -> None:
    """Run the command line. A user's fault is one line and exit code 2; anything else is a bug and a traceback."""
    try:
        app()
    except MuadError as error:
        say(f"error: {' '.join(str(error).split())}")
        sys.exit(2)
