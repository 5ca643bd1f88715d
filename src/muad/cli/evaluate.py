"""`muad evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muad.cli import completion
from muad.cli.acceleration import acceleration_of
from muad.cli.display import plain_table, progress_bar, say, show_json, show_report, show_table
from muad.cli.log_file import keep_log

if TYPE_CHECKING:
    from rich.table import Table

    from muad.conditions.outcome import ConditionsReport


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle.")],
    data: Annotated[Path, typer.Argument(help="Labelled data set.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files it writes; RUN if left out.")] = None,
    protocol: Annotated[str, typer.Option(help="auto (by the data), dinomaly, exact, or a data set's own.")] = "auto",
    layout: Annotated[str, typer.Option(help="How the data lie on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as trained), fp32, bf16 or int8.")] = "auto",
    compile_network: Annotated[bool, typer.Option("--compile", help="Generate code for this machine first.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 16,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse images the run has seen; else left out.")] = False,
    conditions: Annotated[
        bool, typer.Option("--conditions", help="Under other light, blur, noise, pose and dust instead.")
    ] = False,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this one, such as light or light=0.9; may be repeated.", autocompletion=completion.conditions
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="With --conditions: good, and defective, images of each category; 0 for all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --conditions: of the choice and what is drawn.")] = None,
    objects: Annotated[
        str | None,
        typer.Option(help="Parts of several views, where the data do not say: folder, a pattern, or a manifest."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")] = False,
) -> None:
    """Measure a run on labelled test images; also written to RUN/evaluation.json and .csv, or RUN/conditions."""
    from muad.bundles.editing import run_folder
    from muad.conditions.study import MOST_IMAGES, evaluate_conditions
    from muad.errors import ConfigError
    from muad.evaluation.evaluate import evaluate
    from muad.evaluation.published_figures import published_figures
    from muad.runs.folder import read_run
    from muad.runs.settings import run_settings

    what = "conditions.json" if conditions or condition else "evaluation.json"
    keep_log(*((run, "run.json") if out is None else (out, what)))
    acceleration = acceleration_of(backend, precision, compile_network)
    if conditions or condition:
        if objects is not None:
            raise ConfigError(f"objects must be left out with conditions, which judge photographs, got {objects!r}.")
        try:
            with progress_bar() as update:
                found = evaluate_conditions(
                    run, data, out=out, conditions=condition or (), seed=0 if seed is None else seed,
                    most_images=MOST_IMAGES if images is None else images, layout=layout, device=device,
                    protocol=protocol,  # type: ignore[arg-type]  # a name there is not is told
                    encoder_weights=encoder_weights, acceleration=acceleration, batch_size=batch_size,
                    strict=strict, progress=update, note=say,
                )  # fmt: skip
        except KeyboardInterrupt:
            say("interrupted; what is finished is kept. The same command goes on.")
            raise typer.Exit(130) from None
        _show_conditions(found, as_json=as_json)
        return
    for option, value in (("images", images), ("seed", seed)):
        if value is not None:
            raise ConfigError(f"{option} must be left out without conditions, got {value}. Add --conditions.")
    with progress_bar() as update:
        report = evaluate(
            run, data, out=out, layout=layout, device=device, encoder_weights=encoder_weights,
            protocol=protocol,  # type: ignore[arg-type]  # a name there is not is told
            acceleration=acceleration, batch_size=batch_size, strict=strict, objects=objects, progress=update, note=say,
        )  # fmt: skip
    with run_folder(run) as folder:
        facts, stated = read_run(folder), run_settings(folder).published
    published = published_figures(stated, report.categories, facts.get("recipe"), facts.get("changed_settings"))
    if as_json:
        beside = {} if published is None else {"published": dataclasses.asdict(published)}
        show_json(report.to_json() | beside)
    else:
        show_report(report, published)


def _show_conditions(found: ConditionsReport, *, as_json: bool) -> None:
    from muad.conditions.page import sentences

    if as_json:
        show_json(found.to_json())
    else:
        show_table(conditions_table(found))
        for sentence in sentences(found):
            say(sentence)
    say(f"page: {found.page}")


def conditions_table(found: ConditionsReport) -> Table:
    """A row for each condition and category; what is more than as photographed, beyond chance, has a star."""
    from muad.conditions.page import table_rows

    table = plain_table()
    for heading in ("condition", "category"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "image\nAUROC", "pixel\nAP", "good,\nstopped", "good,\nrejected", "defective,\npassed", "unwarned",
        "flagged,\ngood", "flagged,\ndefective",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for row in table_rows(found):
        figures = ("-" if row[name] is None else f"{row[name]:.3f}" for name in ("image_auroc", "pixel_ap"))
        table.add_row(
            row["condition"], row["category"], *figures, row["stopped"] + ("*" if row["more_alarms"] else ""),
            row["rejected"], row["missed"] + ("*" if row["more_misses"] else ""), row["unnoticed"],
            row["warned_good"], row["warned_bad"],
        )  # fmt: skip
    return table
