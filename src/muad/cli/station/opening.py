"""The history of a station that a verb works on, whether the station runs or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muad.errors import ConfigError

if TYPE_CHECKING:
    from muad.service.history import History

Data = Annotated[Path, typer.Option(help="The station's folder.")]
STATION = Path("station")
"""Its default, as for `muad serve`."""


@contextmanager
def open_history(data: Path) -> Iterator[History]:
    """The history that station.toml of the folder names, closed at the end.

    Raises:
        ConfigError: There is no station in the folder.
        HistoryError: Its history cannot be opened.
    """
    from muad.service.history import History
    from muad.service.history.settings import FILE
    from muad.service.settings import SETTINGS_FILE, read_settings

    settings = read_settings(data)
    if settings.history.url is None and not (data / FILE).is_file():
        raise ConfigError(
            f"data must be the folder of a station, got {data} without {FILE} or a {SETTINGS_FILE} that "
            "names another. Start one with `muad serve`, or name its folder."
        )
    history = History(settings.history.url_in(data))
    try:
        yield history
    finally:
        history.close()
