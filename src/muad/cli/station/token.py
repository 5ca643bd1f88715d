"""`muad station token add`, `list` and `revoke`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muad.cli.display import plain_table, say, show, show_json, show_table
from muad.cli.station.opening import STATION, Data, open_history

if TYPE_CHECKING:
    from muad.service.access.tokens import Tokens

app = typer.Typer(no_args_is_help=True)
WHO = "the command line"


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Who or what gets it; recorded with what is done with it.")],
    role: Annotated[str, typer.Option(help="line, operator, engineer or admin.")],
    days: Annotated[float | None, typer.Option(help="For how long it lets in; without end if not given.")] = None,
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a token and print it, this once: the station keeps only its digest."""
    from muad.errors import ConfigError
    from muad.service.access.roles import Role
    from muad.service.history.ids import now

    if role not in list(Role):
        raise ConfigError(f"role must be one of {', '.join(Role)}, got {role!r}.")
    if days is not None and not 0 < days <= 36_600:
        raise ConfigError(f"days must be above 0 and at most 36600, got {days:g}.")
    with _tokens(data) as tokens:
        expires_at = None if days is None else now() + timedelta(days=days)
        made = tokens.make(name, Role(role), who=WHO, expires_at=expires_at)
    if as_json:
        show_json({**asdict(made.token), "token": made.text})
        return
    until = "without end" if expires_at is None else f"until {expires_at:%Y-%m-%d %H:%M} UTC"
    say(f"token for {name}, {role}, {until}; it is shown this once")
    show(made.text)


@app.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with all times.")] = False,
    data: Data = STATION,
) -> None:
    """Every token there ever was: who has it, what it allows, when it was last used."""
    from muad.service.history.ids import now

    with _tokens(data) as tokens:
        listed = tokens.listed()
    if as_json:
        show_json([asdict(token) for token in listed])
        return
    table = plain_table()
    for heading in ("name", "role", "state", "made", "last used", "id"):
        table.add_column(heading, no_wrap=True)
    for token in listed:
        state = "lets in" if token.expires_at is None else f"until {token.expires_at:%Y-%m-%d}"
        state = "revoked" if token.revoked_at else state if token.lets_in(now()) else "expired"
        used = "never" if token.last_used_at is None else f"{token.last_used_at:%Y-%m-%d %H:%M}"
        table.add_row(token.name, token.role, state, f"{token.created_at:%Y-%m-%d}", used, token.id)
    show_table(table)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Its name, or its id.")],
    data: Data = STATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Take a token back: it lets nobody in any more, and logins made with it end within a second."""
    with _tokens(data) as tokens:
        taken = tokens.revoke(name, who=WHO, keep_an_admin=False)
        if as_json:
            show_json(asdict(taken))
        else:
            say(f"revoked {taken.name} ({taken.role})")
        if not tokens.has_admin():
            say("there is no administrator now: the station makes a first token again when it starts")


@contextmanager
def _tokens(data: Path) -> Iterator[Tokens]:
    """The tokens of the station in this folder."""
    from muad.service.access.tokens import Tokens

    with open_history(data) as history:
        yield Tokens(history.database)
