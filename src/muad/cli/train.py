"""`muad train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from muad.cli import completion
from muad.cli.display import progress_bar, quiet_engine, say, show_json
from muad.cli.log_file import keep_log


def command(
    data: Annotated[Path, typer.Argument(help="Data set: any known layout, or a folder of good photographs.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    recipe: Annotated[
        str | None, typer.Option(help="Name (see `muad recipes list`) or TOML file.", autocompletion=completion.recipes)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, e.g. optim.lr=1e-3.", autocompletion=completion.settings),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="A detector, e.g. patchcore; see docs/detectors.md.", autocompletion=completion.detectors),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length; as --set schedule.total_steps=.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="As --set training.seed=.", min=0)] = None,
    shots: Annotated[
        int | None, typer.Option(help="Good images drawn of each product; as --set training.shots=.", min=1)
    ] = None,
    shots_seed: Annotated[int | None, typer.Option(help="Of that draw; as --set training.shots_seed=.", min=0)] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder name, e.g. dinov2-reg-base; a,b for both.", autocompletion=completion.encoders),
    ] = None,
    encoder_weights: Annotated[Path | None, typer.Option(help="Local file with the encoder's weights.")] = None,
    smallest_defect: Annotated[
        str | None, typer.Option(help="Width of what must be found: 0.5mm or 12px; size or tiles are chosen for it.")
    ] = None,
    field_of_view: Annotated[str | None, typer.Option(help="Width a photograph shows, e.g. 120mm.")] = None,
    objects: Annotated[
        str | None,
        typer.Option(help="Parts of several views, where the data do not say: folder, a pattern, or a manifest."),
    ] = None,
    layout: Annotated[str, typer.Option(help="How the data lie on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes per node.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Number of nodes.", min=1)] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable images out and name them.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Also log to MLflow, else to mlflow.db here.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Also log to W&B, in OUT unless WANDB_MODE is set.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what RUN/run.json says as JSON.")] = False,
) -> None:
    """Train one detector for all categories on photographs of good parts."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from muad.runs.folder import read_run
    from muad.training.run import train

    quiet_engine()
    keep_log(out, "run.json")
    overrides = list(settings or [])
    overrides += [] if detector is None else [f"detector.name={json.dumps(detector)}"]
    overrides += [] if steps is None else [f"schedule.total_steps={steps}"]
    overrides += [] if seed is None else [f"training.seed={seed}"]
    overrides += [] if shots is None else [f"training.shots={shots}"]
    overrides += [] if shots_seed is None else [f"training.shots_seed={shots_seed}"]
    if encoder is not None:
        names = [name.strip() for name in encoder.split(",")]
        one = f"detector.encoder.name={json.dumps(encoder)}"
        overrides.append(one if len(names) == 1 else f"detector.encoders={json.dumps(names)}")
    if encoder_weights is not None:
        overrides.append(f"detector.encoder.weights={json.dumps(str(encoder_weights))}")
    overrides += ["training.skip_bad=true"] if skip_bad else []
    loggers = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}
    overrides += [f"training.{name}=true" for name, wanted in loggers.items() if wanted]
    try:
        with progress_bar() as update:
            train(
                data, out, recipe=recipe, overrides=overrides, layout=layout, device=device, devices=devices,
                nodes=nodes, resume=resume, smallest_defect=smallest_defect, field_of_view=field_of_view,
                objects=objects,
                progress=update, note=say,
            )  # fmt: skip
    except KeyboardInterrupt:
        say(f"interrupted; what was done is saved in {out}. Continue with --resume.")
        raise typer.Exit(130) from None
    if as_json:
        rank_zero_only(show_json)({"run": str(out), **read_run(out)})
    rank_zero_only(say)(f"trained: {out}. Next: muad evaluate {out} {data}, or muad predict {out} IMAGES --out DIR")
