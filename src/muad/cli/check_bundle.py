"""`muad check-bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muad.cli.acceleration import acceleration_of
from muad.cli.display import plain_table, progress_bar, say, say_fault, show_json, show_table

if TYPE_CHECKING:
    from muad.runtime.bundle_check import BundleCheck


def command(
    bundle: Annotated[Path, typer.Argument(help="The file that muad export wrote.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, tensorrt or gpu.")] = "auto",
    backend: Annotated[str, typer.Option(help="auto (all there are here), openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (all in the bundle), fp32, bf16 or int8.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Measure speed and deviation of a bundle here; ends with 1 if the approved figures do not hold."""
    from muad.runtime.bundle_check import check_bundle

    with progress_bar() as update:
        found = check_bundle(
            bundle, device=device, acceleration=acceleration_of(backend, precision, False),
            progress=lambda done, total: update("measure", done, total, None),
        )  # fmt: skip
    if as_json:
        show_json(found.to_json())
    else:
        _show(found)
    if not found.holds:
        raise typer.Exit(1)


def _show(found: BundleCheck) -> None:
    table = plain_table()
    table.add_column("backend", no_wrap=True)
    table.add_column("precision", no_wrap=True)
    for heading in ("ms per\nview", "largest map\ndeviation", "largest score\ndeviation"):
        table.add_column(heading, justify="right")
    table.add_column("approved\nfigures")
    for one in found.outcomes:
        measured = one.measured
        figures = (
            ("-", "-", "-")
            if measured is None
            else (f"{measured.ms_per_view:.1f}", f"{measured.map_deviation:.1e}", f"{measured.score_deviation:.1e}")
        )
        table.add_row(
            one.choice.backend, one.choice.precision, *figures, "hold" if found.is_within(one) else "do not hold"
        )
    show_table(table)
    for one in found.outcomes:
        if one.fault is not None:
            say_fault(f"{one.choice}: {one.fault}")
    limits = found.limits_of(found.outcomes[0])
    if limits is None:
        say("the bundle does not say how far a runtime may be off")
    else:
        said = f"at most {limits.map:.1e} in a map and {limits.score:.1e} in a score were approved"
        verdict = "the approved figures hold here" if found.holds else "the approved figures do not hold here"
        say(f"{verdict} ({said}; {found.samples} golden samples, by {found.outcomes[0].choice})")
