"""`muad demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muad.cli.display import progress_bar, quiet_engine, say, show_json, show_report
from muad.cli.log_file import keep_log


def command(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for data, run and pictures; what is there is reused.", show_default="demo, or quick-demo"
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two products and few photographs: about a minute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures and paths as JSON.")] = False,
) -> None:
    """The main job in minutes: render a toy factory, train one detector for all, evaluate, draw, report, export."""
    from muad.experiments.demo import BUNDLE, FULL, QUICK, run_demo

    out = out or Path("quick-demo" if quick else "demo")
    quiet_engine()
    keep_log(out, "data")
    try:
        with progress_bar() as update:
            demo = run_demo(out, update, say, QUICK if quick else FULL)
    except KeyboardInterrupt:
        say("interrupted; run the demo again and it goes on from here.")
        raise typer.Exit(130) from None
    if as_json:
        show_json(
            {**demo.report.to_json(), "run": out / "run", "overlays": demo.picture, "report": demo.page,
             "found": demo.found}
        )  # fmt: skip
    else:
        show_report(demo.report)
    say(demo.found)
    say("what to look at next")
    say(f"  1. {demo.picture}: one photograph of each product and defect, what was found on it, and the verdict")
    say(f"  2. {demo.page}: what this run can be trusted with, verdicts, curves, hardest images, what to do next")
    trained = out / BUNDLE if (out / BUNDLE).is_file() else out / "run"
    say(f"  3. muad predict {trained} {out / 'data' / 'pill_blister' / 'test'} --out {out / 'results'}")
    say(f"  4. muad serve {trained} --data {out / 'station'}, and open http://127.0.0.1:8420: the same on a page")
    say("  5. your own: muad check-data PHOTOS --out check.html, then muad train PHOTOS --out RUN")
