"""`muad calibrate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muad.cli.acceleration import acceleration_of
from muad.cli.advice import say_what_next
from muad.cli.display import plain_table, progress_bar, quiet_engine, say, show_json, show_table
from muad.cli.log_file import keep_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.decisions.limit_setting import CategoryResult, Limit


IN_FORCE = "as in force, {} at first"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle.")],
    good: Annotated[
        Path | None,
        typer.Argument(help="Good images it was not trained on, in folders named like their category."),
    ] = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Part of good parts that may be rejected.", show_default=IN_FORCE.format(0.005))
    ] = None,
    review_rate: Annotated[
        float | None,
        typer.Option(help="Part of good parts that may be reviewed or rejected.", show_default=IN_FORCE.format(0.05)),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--cross-fit",
            help="Also count training images, each scored by one of this many more detectors that had not seen it.",
            min=2,
        ),
    ] = None,
    bad: Annotated[Path | None, typer.Option(help="Images of bad parts: counts misses, moves no limit.")] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            help="Limits of parts too: folder, a pattern such as '{object}_{view}', or a manifest.",
            show_default="as the data say, or the rule in force",
        ),
    ] = None,
    object_score: Annotated[
        str | None,
        typer.Option(
            help="Score of a part: mean_top (of the largest 1 % of all map values) or max (of its views).",
            show_default=IN_FORCE.format("mean_top"),
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Confidence of the bounds that are stated.", show_default=IN_FORCE.format(0.95)),
    ] = None,
    sure: Annotated[
        bool | None,
        typer.Option(
            "--sure/--on-average",
            help="Keep the rates with that confidence, or on average.",
            show_default=IN_FORCE.format("on average"),
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as trained), fp32, bf16 or int8.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Set limits for pass, review and reject from good images alone; written to RUN/limits.toml."""
    from muad.bundles.bundle import is_bundle
    from muad.bundles.editing import run_folder
    from muad.calibration.calibrate import calibrate
    from muad.decisions.limit_sentences import NOT_COVERED
    from muad.decisions.limit_setting import object_limits_in_force
    from muad.errors import ConfigError

    if folds is not None and is_bundle(run):
        raise ConfigError(
            f"cross_fit must be left out for a bundle, got {folds}: it trains detectors, which needs the run."
        )
    keep_log(run, "run.json")
    acceleration, cross_fitted = acceleration_of(backend, precision, False), None
    with progress_bar() as update:
        try:
            if folds is not None:
                from muad.training.cross_fitting import cross_fit

                quiet_engine()
                cross_fitted = cross_fit(
                    run, folds, device=device, encoder_weights=encoder_weights, acceleration=acceleration,
                    batch_size=batch_size, progress=update, note=say,
                )  # fmt: skip
        except KeyboardInterrupt:
            say("interrupted; what was done is saved. The same command goes on with it.")
            raise typer.Exit(130) from None
        results = calibrate(
            run, good, false_alarm_rate=false_alarm_rate, review_rate=review_rate, confidence=confidence, sure=sure,
            bad=bad, objects=objects,
            object_score=object_score,  # type: ignore[arg-type]  # a name there is not is told
            device=device, encoder_weights=encoder_weights,
            acceleration=acceleration, batch_size=batch_size, cross_fitted=cross_fitted, progress=update, note=say,
        )  # fmt: skip
    with run_folder(run) as folder:
        of_parts = object_limits_in_force(folder)
    if as_json:
        show_json(limits_as_json(results, of_parts))
        return
    show_limits(results)
    if of_parts:
        show_limits(of_parts, "parts")
    say(NOT_COVERED)
    if is_bundle(run):
        say(f"limits are in the bundle; show them, and change them with --set: muad limits {run}")
    else:
        say(f"limits, to read and to edit: {run / 'limits.toml'}")
    say_what_next(run)


def limits_as_json(
    results: Mapping[str, CategoryResult], of_parts: Mapping[str, CategoryResult]
) -> dict[str, dict[str, Any]]:
    """Limits by category as plain values; those of parts below `objects` of their category."""
    found = {name: dataclasses.asdict(result) for name, result in results.items()}
    for name, result in of_parts.items():
        found[name] = found.get(name, {}) | {"objects": dataclasses.asdict(result)}
    return found


def show_limits(results: Mapping[str, CategoryResult], what: str = "category") -> None:
    """A table of limits, and below it what each of them promises.

    Args:
        results: By category.
        what: Heads the column of categories: `parts` where limits are of parts.
    """
    table = plain_table()
    table.add_column(what, no_wrap=True)
    units = "images" if what == "category" else "ones"
    for heading in (f"good\n{units}", "review\nabove", "reject\nabove", f"bad\n{units}", "of them\npass"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        misses = result.misses
        missed = ("-", "-") if misses is None else (str(misses.count), str(misses.passed))
        table.add_row(name, str(result.count), _value(result.review), _value(result.reject), *missed)
    show_table(table)
    for name, result in results.items():
        for sentence in result.sentences():
            say(f"{name}: {sentence}" if what == "category" else f"{name}, whole parts: {sentence}")


def _value(limit: Limit) -> str:
    if limit.value is None:
        return "none" if limit.by_hand else f"{limit.more_images} more images"
    coarser = f" ({100 * limit.carried:.2g} %)" if limit.is_coarser and limit.carried is not None else ""
    return f"{limit.value:.6g}{coarser}"
