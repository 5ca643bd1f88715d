"""`muad serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muad.cli.display import say, show

if TYPE_CHECKING:
    from muad.service.station import Station


def command(
    run: Annotated[
        Path | None, typer.Argument(help="Bundle or run folder; not needed where the station has a model.")
    ] = None,
    data: Annotated[Path, typer.Option(help="The station's folder: history, pictures, station.toml.")] = Path(
        "station"
    ),
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 for any free one.", show_default="8420")] = None,
    root_path: Annotated[
        str | None, typer.Option(help="The path that a proxy in front shows it below.", show_default=False)
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="A camera: its number, a stream's address or a video file.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check station.toml and what it names, and end.")] = False,
) -> None:
    """Serve a station: photographs come in over HTTP, verdicts go out, everything is remembered and shown on a page."""
    from muad.service.serve import check_settings, serve
    from muad.service.settings import SETTINGS_FILE, read_settings

    said = {"host": host, "port": port, "root_path": root_path}
    given = {name: value for name, value in said.items() if value is not None}
    overrides: dict[str, dict[str, Any]] = {"service": given} if given else {}
    if camera is not None:
        is_file = Path(camera).is_file()  # as seen from here; in station.toml it would be from the station's folder
        overrides["camera"] = {"source": str(Path(camera).absolute()) if is_file else camera}
    if check:
        for sentence in check_settings(read_settings(data, overrides), data):
            say(sentence)
        there = (data / SETTINGS_FILE).is_file()
        show(f"{data / SETTINGS_FILE} is well" if there else f"no {SETTINGS_FILE} in {data}: all is as usual")
        return
    serve(data, run, overrides=overrides, note=say, ready=_ready)


def _ready(station: Station, address: str) -> None:
    model = station.models.active
    say(f"{model.facts.name} ({model.id}) judges {', '.join(model.predictor.categories) or 'photographs'}")
    token = station.access.first_token(station.folder)
    if token is not None:
        say(f"the first token, an administrator's, is in {token}")
    show(f"{address} serves {station.folder}; Ctrl-C ends")
