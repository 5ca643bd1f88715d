"""Logins of the page: a browser shows a token once, and then a cookie that only this station can make sense of.

The cookie holds 256 random bits, of which the digest is kept. Scripts cannot read it, other sites' pages cannot send
it, and what it may do ends with its token. Every post of a page carries a second secret besides, which stands in the
page itself and never in a cookie.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from muad.service.access.tokens import Token, Tokens, digest_of, token_of
from muad.service.history.database import Database
from muad.service.history.ids import new_id, now
from muad.service.history.people import note_change
from muad.service.history.tables import LoginRow, TokenRow

_SECRET_BYTES = 32
_LONGEST_COOKIE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A browser that has logged in.

    Attributes:
        token: What it logged in with.
        csrf: What its posts must carry.
        expires_at: When it must log in again.
        cookie: What the browser keeps; only known when the login is made.
    """

    token: Token
    csrf: str
    expires_at: datetime
    cookie: str | None = None


class Logins:
    """The logins of a station.

    Args:
        database: Of the station's history.
        tokens: Of the same.
        hours: How long one lasts.
    """

    def __init__(self, database: Database, tokens: Tokens, hours: float) -> None:
        self._database, self._tokens, self._lasts = database, tokens, timedelta(hours=hours)

    def begin(self, token: Token) -> Login:
        """A new login, which ends with its token at the latest. Those that have ended are swept away."""
        at = now()
        ends = at + self._lasts if token.expires_at is None else min(at + self._lasts, token.expires_at)
        cookie, csrf = secrets.token_urlsafe(_SECRET_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.writing() as connection:
            connection.execute(sa.delete(LoginRow).where(LoginRow.expires_at <= at))
            row = {"id": new_id(at), "digest": digest_of(cookie), "token_id": token.id, "created_at": at}
            connection.execute(sa.insert(LoginRow).values(**row, expires_at=ends, csrf=csrf))
            note_change(connection, token.name, "login", token.name, new="logged in")
        return Login(token=token, csrf=csrf, expires_at=ends, cookie=cookie)

    def find(self, cookie: str) -> Login | None:
        """The login of a cookie, while it and its token last; None for any other text."""
        if not cookie or len(cookie) > _LONGEST_COOKIE:
            return None
        query = sa.select(LoginRow.csrf, LoginRow.expires_at.label("ends"), *TokenRow.__table__.columns).where(
            LoginRow.digest == digest_of(cookie), TokenRow.id == LoginRow.token_id
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None or row["ends"] <= now():
            return None
        values = {name: row[name] for name in Token.__dataclass_fields__}
        token = self._tokens.in_use(token_of(values))
        return None if token is None else Login(token=token, csrf=row["csrf"], expires_at=row["ends"])

    def end(self, cookie: str) -> None:
        """Forget a login."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(LoginRow).where(LoginRow.digest == digest_of(cookie)))
