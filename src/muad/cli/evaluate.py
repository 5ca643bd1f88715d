"""`muad evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from muad.cli.acceleration import acceleration_of
from muad.cli.display import progress_bar, say, show_json, show_report
from muad.cli.log_file import keep_log


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle.")],
    data: Annotated[Path, typer.Argument(help="Labelled data set.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files it writes; RUN if left out.")] = None,
    protocol: Annotated[str, typer.Option(help="dinomaly (as published) or exact.")] = "dinomaly",
    layout: Annotated[str, typer.Option(help="How the data lie on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as trained), fp32, bf16 or int8.")] = "auto",
    compile_network: Annotated[bool, typer.Option("--compile", help="Generate code for this machine first.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 16,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse images the run has seen; else left out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")] = False,
) -> None:
    """Measure a run on labelled test images; also written to RUN/evaluation.json and .csv."""
    from muad.bundles.editing import run_folder
    from muad.evaluation.evaluate import evaluate
    from muad.evaluation.published_figures import published_figures
    from muad.runs.folder import read_run
    from muad.runs.settings import run_settings

    keep_log(*((run, "run.json") if out is None else (out, "evaluation.json")))
    with progress_bar() as update:
        report = evaluate(
            run, data, out=out, layout=layout, device=device, encoder_weights=encoder_weights,
            protocol=protocol,  # type: ignore[arg-type]  # a name there is not is told
            acceleration=acceleration_of(backend, precision, compile_network), batch_size=batch_size,
            strict=strict, progress=update, note=say,
        )  # fmt: skip
    with run_folder(run) as folder:
        facts, stated = read_run(folder), run_settings(folder).published
    published = published_figures(stated, report.categories, facts.get("recipe"), facts.get("changed_settings"))
    if as_json:
        beside = {} if published is None else {"published": dataclasses.asdict(published)}
        show_json(report.to_json() | beside)
    else:
        show_report(report, published)
