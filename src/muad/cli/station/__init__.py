"""`muad station`: a file for each verb, added here."""

from __future__ import annotations

import typer

from muad.cli.station import backup, learning, openapi, report, retain, token

app = typer.Typer(no_args_is_help=True)
app.add_typer(token.app, name="token", help="Who is let in: make, list and take back tokens.")
app.command("openapi")(openapi.command)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("retain")(retain.command)
app.command("export-words")(learning.export_words)
app.command("recalibrate")(learning.recalibrate)
app.command("report")(report.report)
