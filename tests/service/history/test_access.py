"""Tokens and logins mean the same in both databases, also when two processes make one at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from muad.errors import ConfigError
from muad.service.access.first_token import make_first_token
from muad.service.access.logins import Logins
from muad.service.access.roles import Role
from muad.service.access.tokens import Tokens
from muad.service.history import History, now


def test_a_token_lets_in_logs_in_and_is_taken_back(history: History) -> None:
    tokens = Tokens(history.database)
    made = tokens.make("Bänder 3", Role.OPERATOR, who="boss", expires_at=now() + timedelta(days=1))
    assert tokens.find(made.text) == made.token
    logins = Logins(history.database, tokens, hours=1)
    login = logins.begin(made.token)
    found = logins.find(login.cookie)
    assert (found.csrf, found.token.name, found.expires_at) == (login.csrf, "Bänder 3", login.expires_at)
    tokens.revoke("Bänder 3", who="boss", keep_an_admin=True)
    assert (tokens.find(made.text), logins.find(login.cookie)) == (None, None)
    assert [change.kind for change in history.changes(subject="Bänder 3")] == ["token", "login", "token"]


def test_processes_that_start_at_once_make_one_first_token(url: str, tmp_path: Path) -> None:
    histories = [History(url) for _ in range(4)]
    folders = [tmp_path / "station"] * 4
    folders[0].mkdir()

    def make(history: History) -> object:
        try:
            return Tokens(history.database).make("one", Role.LINE, who="x")
        except ConfigError as error:
            return str(error)

    try:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(make, histories))
            files = list(pool.map(lambda one: make_first_token(folders[0], Tokens(one.database)), histories))
        assert sum(not isinstance(one, str) for one in made) == 1
        assert [token.name for token in Tokens(histories[0].database).listed()].count("first") == 1
        assert folders[0] / "first-token.txt" in files
        text = (folders[0] / "first-token.txt").read_text().strip()
        assert Tokens(histories[0].database).find(text).role is Role.ADMIN
    finally:
        for history in histories:
            history.close()
