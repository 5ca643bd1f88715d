"""Tokens are kept as digests, and let in until they expire or are taken back."""

from __future__ import annotations

import dataclasses
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from muad.errors import ConfigError
from muad.service.access.first_token import make_first_token
from muad.service.access.logins import Logins
from muad.service.access.roles import Role
from muad.service.access.tokens import Tokens
from muad.service.history.database import Database
from muad.service.history.faults import NotRecordedError
from muad.service.history.history import History
from muad.service.history.ids import now


def soon(**how: float) -> datetime:
    return now() + timedelta(**how)


def test_each_role_may_do_what_those_below_it_may() -> None:
    allowed = {role: [needed for needed in Role if role.may(needed)] for role in Role}
    assert allowed == {role: list(Role)[: place + 1] for place, role in enumerate(Role)}


def test_a_token_is_found_and_the_database_does_not_hold_it(tokens: Tokens, database: Database, tmp_path: Path) -> None:
    made = tokens.make("press 3", Role.LINE, who="admin")
    assert len(made.text) == len("muad_") + 43
    found = tokens.find(made.text)
    assert found == made.token
    assert tokens.listed()[0].last_used_at is not None
    database.close()
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert made.text.encode() not in written
    assert made.text.removeprefix("muad_").encode() not in written


@pytest.mark.parametrize("text", ["", "muad_", "muad_x", "x" * 10_000, "muad_" + "ä" * 43, "' OR 1=1 --"])
def test_any_other_text_finds_no_token(tokens: Tokens, text: str) -> None:
    tokens.make("press", Role.LINE, who="admin")
    assert tokens.find(text) is None


def test_an_expired_and_a_revoked_token_let_nobody_in_and_free_their_name(tokens: Tokens) -> None:
    short = tokens.make("a", Role.LINE, who="admin", expires_at=soon(milliseconds=1))
    while now() < short.token.expires_at:
        pass
    assert tokens.find(short.text) is None
    other = tokens.make("a", Role.LINE, who="admin")
    with pytest.raises(ConfigError, match="no other token"):
        tokens.make("a", Role.ADMIN, who="admin")
    tokens.revoke("a", who="admin", keep_an_admin=True)
    assert tokens.find(other.text) is None
    assert tokens.find(tokens.make("a", Role.LINE, who="admin").text) is not None
    with pytest.raises(ConfigError, match="must lie ahead"):
        tokens.make("b", Role.LINE, who="admin", expires_at=datetime(2020, 1, 1, tzinfo=UTC))


def test_the_last_administrator_is_not_locked_out_unless_told(tokens: Tokens) -> None:
    tokens.make("boss", Role.ADMIN, who="admin")
    tokens.make("deputy", Role.ADMIN, who="admin", expires_at=soon(days=1))
    tokens.revoke("deputy", who="boss", keep_an_admin=True)
    with pytest.raises(ConfigError, match="must not be the last administrator's, got 'boss'"):
        tokens.revoke("boss", who="boss", keep_an_admin=True)
    tokens.revoke("boss", who="the command line", keep_an_admin=False)
    assert not tokens.has_admin()
    with pytest.raises(NotRecordedError, match="got 'boss'"):
        tokens.revoke("boss", who="admin", keep_an_admin=False)


@pytest.mark.parametrize(
    "name", ["", " x", "x ", "<script>alert(1)</script>", "a\nb", "a" * 61, "../x", "a'; DROP TABLE tokens"]
)
def test_a_name_is_one_that_can_be_shown_anywhere(tokens: Tokens, name: str) -> None:
    with pytest.raises(ConfigError, match="name must be 1 to 60 letters"):
        tokens.make(name, Role.LINE, who="admin")
    tokens.make("Bänder-Linie 3", Role.LINE, who="admin")


def test_who_made_and_revoked_a_token_is_in_the_list_of_changes(tokens: Tokens, tmp_path: Path) -> None:
    tokens.make("press", Role.LINE, who="boss", expires_at=datetime(2999, 1, 2, 3, 4, tzinfo=UTC))
    tokens.revoke("press", who="deputy", keep_an_admin=True)
    history = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    changes = [(change.who, change.subject, change.old, change.new) for change in history.changes("token")]
    history.close()
    assert changes == [
        ("deputy", "press", "line", "revoked"),
        ("boss", "press", None, "line until 2999-01-02T03:04:00+00:00"),
    ]


def test_the_first_token_is_an_administrators_in_a_file_for_one_user(tokens: Tokens, tmp_path: Path) -> None:
    file = make_first_token(tmp_path, tokens)
    assert file == tmp_path / "first-token.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = tokens.find(file.read_text().strip())
    assert found is not None
    assert (found.name, found.role) == ("first", Role.ADMIN)
    assert make_first_token(tmp_path, tokens) is None
    tokens.revoke("first", who="it", keep_an_admin=False)
    assert make_first_token(tmp_path, tokens) == file  # whoever may write here is let in again


def test_a_login_ends_with_its_time_its_token_and_when_it_is_told_to(tokens: Tokens, database: Database) -> None:
    logins = Logins(database, tokens, hours=1)
    made = tokens.make("desk", Role.OPERATOR, who="admin", expires_at=soon(minutes=10))
    login = logins.begin(made.token)
    assert login.expires_at == made.token.expires_at
    found = logins.find(login.cookie)
    assert found is not None
    assert (found.csrf, found.token.name) == (login.csrf, "desk")
    assert logins.find(login.csrf) is None
    logins.end(login.cookie)
    assert logins.find(login.cookie) is None
    again = logins.begin(made.token)
    tokens.revoke("desk", who="admin", keep_an_admin=True)
    assert logins.find(again.cookie) is None
    over = Logins(database, tokens, hours=1e-9).begin(tokens.make("x", Role.LINE, who="admin").token)
    assert logins.find(over.cookie) is None


def test_a_full_history_does_not_lock_out_who_has_a_token(tokens: Tokens, database: Database) -> None:
    made = tokens.make("press", Role.LINE, who="admin")
    with database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    assert dataclasses.replace(tokens.find(made.text), last_used_at=None) == made.token
