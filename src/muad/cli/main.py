"""The `muad` command: which commands there are, and how faults end."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Annotated

import typer

from muad._version import __version__
from muad.bench import not_installed
from muad.cli import (
    cache,
    calibrate,
    check_bundle,
    check_data,
    compare,
    data,
    demo,
    demo_data,
    doctor,
    evaluate,
    export,
    extend,
    fetch_encoder,
    forget,
    import_official,
    limits,
    predict,
    probe_encoder,
    recipes,
    report,
    serve,
    settings,
    station,
    train,
    watch,
)
from muad.cli.display import Loudness, loudness, say, say_fault, set_loudness, show
from muad.cli.log_file import end_log, write_log
from muad.cli.loudness import Verbs
from muad.errors import MuadError
from muad.threads import prepare_threads

_WORK = "From photographs to verdicts, in this order"
_SETTINGS = "Settings and data"
_DEMO = "A trial without photographs of your own"
_ENCODERS = "Encoders, weights and this machine"

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Visual anomaly detection: train on photographs of good parts, find the bad ones and show where.",
)
app.command("check-data", rich_help_panel=_WORK)(check_data.command)
app.command("train", rich_help_panel=_WORK)(train.command)
app.command("compare", rich_help_panel=_WORK)(compare.command)
app.command("evaluate", rich_help_panel=_WORK)(evaluate.command)
app.command("calibrate", rich_help_panel=_WORK)(calibrate.command)
app.command("limits", rich_help_panel=_WORK)(limits.command)
app.command("report", rich_help_panel=_WORK)(report.command)
app.command("predict", rich_help_panel=_WORK)(predict.command)
app.command("export", rich_help_panel=_WORK)(export.command)
app.command("extend", rich_help_panel=_WORK)(extend.command)
app.command("forget", rich_help_panel=_WORK)(forget.command)
app.command("watch", rich_help_panel=_WORK)(watch.command)
app.command("serve", rich_help_panel=_WORK)(serve.command)
app.command("check-bundle", rich_help_panel=_WORK)(check_bundle.command)
app.add_typer(
    station.app,
    name="station",
    help="Look after a station: who is let in, backups, what people said.",
    rich_help_panel=_WORK,
)
app.add_typer(
    recipes.app,
    name="recipes",
    help="Settings that come with muad: one file per published result.",
    rich_help_panel=_SETTINGS,
)
app.command("settings", rich_help_panel=_SETTINGS)(settings.command)
app.add_typer(
    data.app, name="data", help="Look at a data set, and prepare it for DiffusionAD.", rich_help_panel=_SETTINGS
)
app.command("demo", rich_help_panel=_DEMO)(demo.command)
app.command("demo-data", rich_help_panel=_DEMO)(demo_data.command)
app.command("fetch-encoder", rich_help_panel=_ENCODERS)(fetch_encoder.command)
app.command("probe-encoder", rich_help_panel=_ENCODERS)(probe_encoder.command)
app.command("import-official", rich_help_panel=_ENCODERS)(import_official.command)
app.add_typer(
    cache.app,
    name="cache",
    help="Features of the frozen encoder kept on disk for later runs.",
    rich_help_panel=_ENCODERS,
)
app.command("doctor", rich_help_panel=_ENCODERS)(doctor.command)


def _show_version(asked: bool) -> None:
    if asked:
        show(f"muad {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


# No fault of muad, wherever it is met: names too long, no right to write, disks that are full or broken.
_OF_THE_DISK = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG, errno.ENOSPC, errno.EPERM, errno.EROFS}
    | {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
)


def run() -> None:
    """Run the command line. A user's fault is one line and exit code 2; anything else is a bug and a traceback."""
    prepare_threads()
    set_loudness(Loudness.USUAL)
    try:
        app()
    except Exception as error:
        if (sentence := _users_fault(error)) is None:
            write_log(traceback.format_exc())
            raise
        if loudness() is Loudness.VERBOSE:
            say(traceback.format_exc().rstrip())
        say_fault(f"error: {sentence}")
        sys.exit(2)
    finally:
        set_loudness(Loudness.USUAL)
        end_log()


def _users_fault(error: Exception) -> str | None:
    """What to do about a fault that is none of muad's; None of a bug."""
    if isinstance(error, MuadError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return not_installed(error)
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return f"{error.strerror}: {error.filename or 'a file'}. Free space, or name another place."
    return None
