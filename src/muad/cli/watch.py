"""`muad watch`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from muad.cli.acceleration import acceleration_of
from muad.cli.display import say


def command(
    folder: Annotated[Path, typer.Argument(help="Folder that photographs arrive in, in folders too.")],
    run: Annotated[Path, typer.Option(help="Run folder or bundle.")],
    out: Annotated[Path, typer.Option(help="Folder for results, a folder a day, and for what is done.")],
    move: Annotated[
        Path | None, typer.Option(help="Where finished photographs go; left in place if not given.")
    ] = None,
    category: Annotated[str | None, typer.Option(help="What the images show, if their folder does not say.")] = None,
    save: Annotated[
        str, typer.Option(help="Images that leave overlay and map: all, review (or worse), reject, none.")
    ] = "all",
    maps: Annotated[str, typer.Option(help="none, small (up to 512 px), full, 16-bit (full, png).")] = "none",
    map_format: Annotated[
        str | None, typer.Option(help="tiff or npy (32-bit, exact), or png (16-bit).", show_default="tiff")
    ] = None,
    settle: Annotated[float, typer.Option(help="Seconds a file stays as it is to be complete.", min=0.0)] = 0.5,
    patience: Annotated[float, typer.Option(help="Seconds before an unreadable file is given up.", min=0.0)] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to judge.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    encoder_weights: Annotated[Path | None, typer.Option(help="Where the encoder's file lies now.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto (as trained), fp32, bf16 or int8.")] = "auto",
    compile_network: Annotated[bool, typer.Option("--compile", help="Generate code for this machine first.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images judged together, if so many wait.", min=1)] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each image instead of words.")] = False,
) -> None:
    """Judge photographs as they arrive in a folder, one line each, until Ctrl-C; go on after a restart."""
    from muad.decisions.limits import NO_LIMITS
    from muad.outputs import picture_choice
    from muad.runtime.predictor import Predictor
    from muad.watching import watch

    pictures = picture_choice(save, maps, map_format)
    predictor = Predictor(
        run,
        device=device,
        encoder_weights=encoder_weights,
        acceleration=acceleration_of(backend, precision, compile_network),
        note=say,
    )
    if predictor.limits is None:
        say(NO_LIMITS)
    say(f"watching {folder} for {', '.join(predictor.categories)}; Ctrl-C ends")
    with _stopped_by_signals() as stop:
        counts = watch(
            folder, predictor, out, stop=stop, report=_show_json if as_json else _show_line, note=say,
            pictures=pictures, category=category, move=move, batch_size=batch_size, settle_s=settle,
            patience_s=patience, once=once,
        )  # fmt: skip
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.verdicts.items()))
    unreadable = f", {counts.unreadable} not readable" if counts.unreadable else ""
    images = f"{counts.judged} image{'' if counts.judged == 1 else 's'} judged"
    say(f"{images}{f' ({verdicts})' if verdicts else ''}{unreadable}: {out}")


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """An event that Ctrl-C and a request to terminate set; a second one ends at once."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_json(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


def _show_line(entry: dict[str, Any]) -> None:
    """Verdict, product, score, file, and what else there is to know."""
    name = entry["name"].encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")
    if entry["error"] is not None:
        line = f"{'not read':<15}  {name}  {entry['error']}"
    else:
        line = f"{entry['verdict'] or 'no verdict':<15}  {entry['category'] or '-'}  {entry['score']:.4g}  {name}"
        for more in (entry["reason"], entry["notice"]):
            line += f"  [{more}]" if more else ""
    sys.stdout.write(" ".join(line.splitlines()) + "\n")
    sys.stdout.flush()
