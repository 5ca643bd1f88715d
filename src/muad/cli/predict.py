"""`muad predict`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muad.cli import scale
from muad.cli.acceleration import acceleration_of
from muad.cli.advice import say_what_next
from muad.cli.display import progress_bar, say, say_fault, show, show_verdicts
from muad.cli.log_file import keep_log
from muad.wording import counted

if TYPE_CHECKING:
    from muad.runtime.predictor import Predictor

_NAMED = 5  # faults named one by one; all are in results.csv


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or bundle.")],
    paths: Annotated[list[str], typer.Argument(help="Images, or folders of images; for Ray also lists, s3://…")],
    out: Annotated[str, typer.Option(help="Folder for results.html, results.csv, results.json, overlays, maps.")],
    category: Annotated[str | None, typer.Option(help="What the images show, if their folder does not say.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as trained), fp32, bf16 or int8.")] = "auto",
    compile_network: Annotated[bool, typer.Option("--compile", help="Generate code for this machine first.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 16,
    save: Annotated[
        str, typer.Option(help="Images that leave overlay and map: all, review (or worse), reject, none.")
    ] = "review",
    maps: Annotated[
        str | None, typer.Option(help="none, small (up to 512 px), full, 16-bit (full, png).", show_default="small")
    ] = None,
    map_format: Annotated[
        str | None,
        typer.Option(help="tiff or npy (32-bit, exact), or png (16-bit); alone: full maps.", show_default="tiff"),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            help="Parts of several views: folder, a pattern such as '{object}_{view}', a manifest, or none.",
            show_default="the run's rule",
        ),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to results in OUT; done ones are left out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Also print the results as JSON.")] = False,
    engine: Annotated[
        str, typer.Option(help="here: this process; ray: many, or many machines, a bundle alone; writes Parquet.")
    ] = "here",
    address: Annotated[str | None, typer.Option(help="For Ray: host:port of a cluster, or auto.")] = None,
    judges: Annotated[int | None, typer.Option(help="For Ray: processes.", show_default="one a core")] = None,
    part_images: Annotated[int | None, typer.Option(help="For Ray: images a part.", show_default="512")] = None,
) -> None:
    """Score images and draw where they are anomalous, in their own pixels."""
    from muad.decisions.limits import NO_LIMITS
    from muad.decisions.object_limits import NO_OBJECT_LIMITS
    from muad.errors import ConfigError
    from muad.outputs import earlier_results, find_images, picture_choice, rows_as_json, write_predictions
    from muad.outputs.objects import parts_of, read_objects, rule_of, undone
    from muad.outputs.sources import base_of
    from muad.runtime.predictor import Predictor

    pictures = picture_choice(save, maps, map_format)
    if engine != "here":
        given = {"append": append, "overwrite": overwrite, "json": as_json, "device": device != "auto",
                 "objects": objects is not None,
                 "encoder_weights": encoder_weights is not None}  # fmt: skip
        scale.require_engine(engine, [name for name, is_given in given.items() if is_given])
        scale.predict(
            run, paths, out, acceleration=acceleration_of(backend, precision, compile_network), batch_size=batch_size,
            category=category, pictures=pictures, address=address, judges=judges, part_images=part_images,
        )  # fmt: skip
        return
    scale.require_here(paths, out, {"address": address, "judges": judges, "part_images": part_images})
    if append and overwrite:
        raise ConfigError("append and overwrite must not be given together, got both. Leave one out.")
    folder = Path(out)
    keep_log(folder, "results.csv")
    earlier = earlier_results(folder, "append" if append else "overwrite" if overwrite else "refuse")
    places = [Path(path) for path in paths]
    found = find_images(places, out=folder, taken=earlier.names)
    predictor = Predictor(
        run,
        device=device,
        encoder_weights=encoder_weights,
        acceleration=acceleration_of(backend, precision, compile_network),
        note=say,
    )
    if predictor.limits is None:
        say(NO_LIMITS)
    parts = None
    if (rule := rule_of(objects, _grouping(predictor), say)) is not None:
        whole = parts_of(found, rule, base_of(places), given=objects is not None, category=category, note=say)
        parts = undone(whole, earlier, folder) if whole.parts else None
        if predictor.object_limits is None:
            say(NO_OBJECT_LIMITS)
    sources = earlier.unknown(found) if parts is None else parts.sources
    if len(sources) < len(found):
        say(f"{len(found) - len(sources)} of {len(found)} images are in {folder / 'results.csv'} already and unchanged")
    with progress_bar() as update:
        rows = write_predictions(
            predictor, sources, folder, batch_size=batch_size, category=category,
            save=save, maps=maps, map_format=map_format, used=earlier.used, parts=parts,  # type: ignore[arg-type]
            progress=lambda done, total: update("predict", done, total, None),
        )  # fmt: skip
    unreadable = _say_what_was_found(rows, folder)
    judged = [] if parts is None else _judged_now(read_objects(folder), [one.name for one, _ in parts.parts])
    if parts is not None:
        say(f"{counted(len(judged), 'part')} of several views judged: {folder / 'objects.csv'}")
    if as_json:
        both = json.dumps({"photographs": rows, "objects": judged}, indent=2)
        show(rows_as_json(rows) if parts is None else both, logged=False)
    elif parts is not None and predictor.object_limits is not None:
        show_verdicts(
            Counter((one["category"] or "-", one["verdict"] or "none") for one in judged), "parts", "incomplete"
        )
    elif predictor.limits is not None:
        show_verdicts(
            Counter((row["category"] or "-", row["verdict"] or "none") for row in rows if row["error"] is None)
        )
    _require_one(rows, unreadable, folder)
    say_what_next(run, folder / "results.json")


def _grouping(predictor: Predictor) -> str:
    """The rule the run makes parts by; empty where it judges none."""
    return "" if predictor.object_limits is None else predictor.object_limits.rules.grouping


def _judged_now(entries: Sequence[dict[str, Any]], names: Sequence[str | None]) -> list[dict[str, Any]]:
    """Entries of the parts that were judged now."""
    wanted = set(names)
    return [entry for entry in entries if entry["object"] in wanted]


def _say_what_was_found(rows: Sequence[dict[str, Any]], out: Path) -> list[str]:
    """Faults, notices, and where the results are; returns the faults."""
    unreadable = [row["error"] for row in rows if row["error"] is not None]
    for error in unreadable[:_NAMED]:
        say_fault(f"not predicted: {error}")
    if len(unreadable) > _NAMED:
        say_fault(f"{len(unreadable) - _NAMED} more not predicted: see results.csv")
    noticed = [f"{row['path']}: {row['notice']}" for row in rows if row["notice"] is not None]
    for notice in noticed[:_NAMED]:
        say(notice)
    if len(noticed) > _NAMED:
        say(f"{len(noticed) - _NAMED} more notices: see results.csv")
    _tell_reasons([row["reason"] for row in rows if row["reason"] is not None])
    written = [f"{out / folder}" for folder, column in (("overlays", "overlay"), ("maps", "map"))
               if any(row[column] is not None for row in rows)]  # fmt: skip
    count = len(rows) - len(unreadable)
    said = f"{count} image{'' if count == 1 else 's'} predicted, {len(unreadable)} not"
    say(f"{said}: {', '.join([str(out / 'results.csv'), *written])}")
    say(f"to leaf through, the rejected first: {out / 'results.html'}")
    return unreadable


def _tell_reasons(reasons: list[str]) -> None:
    """One line on how many images need a person whatever their score, and why; the figures are in results.csv."""
    kinds = Counter(part.rsplit(" (", 1)[0] for reason in reasons for part in reason.split("; "))
    if kinds:
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        say(f"{len(reasons)} of the images do not pass, whatever their score: {said} (column reason)")


def _require_one(rows: Sequence[dict[str, Any]], unreadable: Sequence[str], out: Path) -> None:
    """Refuse to call it done when nothing was: what stands at a line must notice."""
    from muad.errors import DataError

    if rows and len(unreadable) == len(rows):
        raise DataError(
            f"images must hold at least one that can be read, got none of {len(rows)}. "
            f"Each one's reason is in {out / 'results.csv'}."
        )
