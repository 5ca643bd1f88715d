"""Tokens: what a controller, a program or a person shows to be let in. The station keeps only their digests.

A token has 256 random bits, so a plain sha256 cannot be turned around, and there is nothing to be slowed down against
guessing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from muad.errors import ConfigError
from muad.service.access.roles import Role
from muad.service.history.database import Database
from muad.service.history.faults import HistoryError, NotRecordedError
from muad.service.history.ids import new_id, now
from muad.service.history.people import note_change
from muad.service.history.tables import LoginRow, TokenRow

BEGINS = "muad_"
"""What every token begins with, so that a search for secrets in files finds it."""
_SECRET_BYTES = 32
_NAME = re.compile(r"\w(?:[\w .@+-]{0,58}\w)?")
_USED_EVERY = timedelta(minutes=1)  # last use is noted no finer, so that asking does not mean writing
LONGEST_TOKEN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token; not the token.

    Attributes:
        id: Its own.
        name: Who or what has it; what is recorded with words and changes.
        role: What it allows.
        created_at: When it was made.
        expires_at: From when on it lets nobody in; None for never.
        revoked_at: When it was taken back, or None.
        last_used_at: To the minute; None for never.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def lets_in(self, at: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token just made.

    Attributes:
        text: The token, which is shown once and kept nowhere.
        token: What is kept of it.
    """

    text: str
    token: Token


class Tokens:
    """The tokens of a station. Any thread may ask; several processes may share them.

    Args:
        database: Of the station's history.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(
        self,
        name: str,
        role: Role,
        *,
        who: str,
        expires_at: datetime | None = None,
        hand_over: Callable[[str], None] | None = None,
    ) -> NewToken:
        """A new token.

        Args:
            name: Who or what gets it; no two that let in have the same one.
            role: What it allows.
            who: Who makes it.
            expires_at: From when on it lets nobody in.
            hand_over: Given the token before it is valid, so that a token whose holder was told nothing is never valid.

        Raises:
            ConfigError: The name is taken or none, or it would have expired already.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"name must be 1 to 60 letters, digits, spaces or . @ + - _, and begin and end with a letter or digit, "
                f"got {name[:80]!r}."
            )
        text = BEGINS + secrets.token_urlsafe(_SECRET_BYTES)
        at = now()
        if expires_at is not None and expires_at <= at:
            raise ConfigError(f"expiry must lie ahead, got {expires_at.isoformat()}.")
        token = Token(id=new_id(at), name=name, role=role, created_at=at, expires_at=expires_at)
        with self._database.writing() as connection:
            self._database.in_order(connection)  # so that two processes do not give one name away twice
            if any(other.name == name and other.lets_in(at) for other in _all(connection)):
                raise ConfigError(
                    f"name must be that of no other token, got {name!r}. Revoke that one, or take another."
                )
            values = {"id": token.id, "name": name, "role": role.value, "created_at": at, "expires_at": expires_at}
            connection.execute(sa.insert(TokenRow).values(**values, digest=digest_of(text)))
            until = "" if expires_at is None else f" until {expires_at.isoformat(timespec='seconds')}"
            note_change(connection, who, "token", name, new=f"{role}{until}")
            if hand_over is not None:
                hand_over(text)
        return NewToken(text=text, token=token)

    def listed(self) -> list[Token]:
        """All there ever were, the oldest first."""
        with self._database.reading() as connection:
            return _all(connection)

    def revoke(self, name_or_id: str, *, who: str, keep_an_admin: bool) -> Token:
        """Take a token back, and the logins that were made with it.

        Args:
            name_or_id: The name of one that lets in, or the id of any.
            who: Who takes it back.
            keep_an_admin: Refuse it for the last administrator's token that lets in.

        Raises:
            NotRecordedError: There is none of that name.
            ConfigError: It is the last administrator's.
        """
        at = now()
        with self._database.writing() as connection:
            tokens = _all(connection)
            token = next((one for one in tokens if one.id == name_or_id), None)
            token = token or next((one for one in tokens if one.name == name_or_id and one.lets_in(at)), None)
            if token is None:
                raise NotRecordedError(f"token must be one that lets somebody in, got {name_or_id[:80]!r}.")
            admins = [one for one in tokens if one.role is Role.ADMIN and one.lets_in(at)]
            if keep_an_admin and admins == [token]:
                raise ConfigError(
                    f"token must not be the last administrator's, got {token.name!r}. Make another one first."
                )
            if token.revoked_at is None:
                token = replace(token, revoked_at=at)
                connection.execute(sa.update(TokenRow).where(TokenRow.id == token.id).values(revoked_at=at))
                note_change(connection, who, "token", token.name, old=token.role, new="revoked")
            connection.execute(sa.delete(LoginRow).where(LoginRow.token_id == token.id))
        return token

    def find(self, text: str) -> Token | None:
        """What is known of a token that lets in; None for any other text."""
        if not text.startswith(BEGINS) or len(text) > LONGEST_TOKEN:
            return None
        with self._database.reading() as connection:
            row = connection.execute(_COLUMNS.where(TokenRow.digest == digest_of(text))).mappings().first()
        return None if row is None else self.in_use(token_of(row))

    def in_use(self, token: Token) -> Token | None:
        """The token with its use noted, where it lets in; None where it does not."""
        at = now()
        if not token.lets_in(at):
            return None
        if token.last_used_at is None or at - token.last_used_at > _USED_EVERY:
            with (
                suppress(HistoryError),
                self._database.writing() as connection,
            ):  # a full disk must not lock out anybody
                connection.execute(sa.update(TokenRow).where(TokenRow.id == token.id).values(last_used_at=at))
        return token

    def has_admin(self) -> bool:
        """Whether some token lets an administrator in."""
        at = now()
        return any(token.role is Role.ADMIN and token.lets_in(at) for token in self.listed())


_COLUMNS = sa.select(
    TokenRow.id,
    TokenRow.name,
    TokenRow.role,
    TokenRow.created_at,
    TokenRow.expires_at,
    TokenRow.revoked_at,
    TokenRow.last_used_at,
)


def digest_of(secret: str) -> str:
    """What is kept of a token or of a login's cookie."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(row: Mapping[Any, Any]) -> Token:
    """The token of a row."""
    return Token(**{**row, "role": Role(row["role"])})


def _all(connection: Connection) -> list[Token]:
    return [token_of(row) for row in connection.execute(_COLUMNS.order_by(TokenRow.id)).mappings()]
