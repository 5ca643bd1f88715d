"""`--quiet` and `--verbose`, which stand before or after any verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from muad.cli.display import Loudness, set_loudness

_MEANING = {
    Loudness.QUIET: "Show results and errors alone: no notes, no progress.",
    Loudness.VERBOSE: "Also show times, what libraries log, and where an error came from.",
}


class Verbs(TyperGroup):
    """Commands that take `--quiet` and `--verbose`, as do all those within."""

    def __init__(self, *, commands: dict[str, Any] | Sequence[Any] | None = None, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(commands=commands, **settings)
        _give(typer.main.get_command(_OPTIONS).params, self)


def _give(options: Sequence[Any], command: Any) -> None:  # noqa: ANN401  of click, or of Typer's copy of it
    command.params += options
    for inside in getattr(command, "commands", {}).values():
        _give(options, inside)


def _choice(chosen: Loudness) -> Any:  # noqa: ANN401  as `typer.Option`
    def choose(given: bool) -> None:
        if given:
            set_loudness(chosen)

    names = f"--{chosen.value}", f"-{chosen.value[0]}"
    return typer.Option(*names, callback=choose, expose_value=False, show_default=False, help=_MEANING[chosen])


_OPTIONS = typer.Typer(add_completion=False)


@_OPTIONS.command(add_help_option=False)
def _options(
    quiet: Annotated[bool, _choice(Loudness.QUIET)] = False,
    verbose: Annotated[bool, _choice(Loudness.VERBOSE)] = False,
) -> None:
    """Have Typer make the two options."""
