"""Who is let in to one station: its tokens and logins, what they may ask for, and how often."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from pathlib import Path
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from muad.service.access.faults import NotLoggedInError, TooManyRequestsError
from muad.service.access.first_token import make_first_token
from muad.service.access.logins import Login, Logins
from muad.service.access.rate_limit import RateLimit, address_key
from muad.service.access.roles import ANYONE, Person
from muad.service.access.settings import AccessSettings
from muad.service.access.tokens import Token, Tokens, digest_of
from muad.service.history.database import Database

_log = logging.getLogger("muad.access")
_KNOWN_S = 1.0
"""How long an answer of the database about a token holds: a revocation elsewhere is heeded after so long."""
_MOST_KNOWN = 1000

Known = TypeVar("Known")


class Access:
    """Asked at every route, from the event loop.

    Args:
        database: Of the station's history.
        settings: `[access]` of station.toml.
    """

    def __init__(self, database: Database, settings: AccessSettings) -> None:
        self.settings = settings
        self.tokens = Tokens(database)
        self.logins = Logins(database, self.tokens, settings.login_hours)
        self._known_tokens: _Remembered[Token] = _Remembered()
        self._known_logins: _Remembered[Login] = _Remembered()
        self._asked = RateLimit(settings.requests_per_s, settings.burst)
        self._failed = RateLimit(settings.failures_per_minute / 60, max(1.0, settings.failures_per_minute))

    def first_token(self, folder: Path) -> Path | None:
        """Where the first administrator's token lies; None if there is one already, or tokens are not asked for."""
        return None if self.settings.open else make_first_token(folder, self.tokens)

    async def by_token(self, text: str, address: str | None) -> Person:
        """Who shows this token.

        Raises:
            NotLoggedInError: It lets nobody in.
            TooManyRequestsError: Its holder asks too often, or too many wrong ones came from the address.
        """
        token = await self._token(text, address)
        self._count(f"token {token.id}")
        return Person(name=token.name, role=token.role, token_id=token.id)

    async def by_cookie(self, cookie: str, address: str | None) -> Person:
        """Who has logged in with this browser.

        Raises:
            NotLoggedInError: Nobody, or it is over.
            TooManyRequestsError: As for a token.
        """
        digest = digest_of(cookie)
        login = self._known_logins.get(digest)
        if login is None:
            login = await run_in_threadpool(self.logins.find, cookie)
            if login is None:
                raise self._failure("login must be one that lasts, got one that has ended. Log in again.", address)
            self._known_logins.put(digest, login)
        self._count(f"token {login.token.id}")
        return Person(name=login.token.name, role=login.token.role, token_id=login.token.id, csrf=login.csrf)

    def nobody(self, address: str | None) -> None:
        """Count a request that needs no token.

        Raises:
            TooManyRequestsError: The address asks too often.
        """
        self._count(f"address {address_key(address)}")

    def anyone(self, address: str | None) -> Person:
        """Whoever asks, where no token is asked for.

        Raises:
            TooManyRequestsError: The address asks too often.
        """
        self.nobody(address)
        return ANYONE

    async def log_in(self, text: str, address: str | None) -> Login:
        """A login for a browser that shows this token.

        Raises:
            NotLoggedInError: It lets nobody in.
            TooManyRequestsError: As for a token.
        """
        token = await self._token(text.strip(), address)
        return await run_in_threadpool(self.logins.begin, token)

    async def log_out(self, cookie: str) -> None:
        """End a login."""
        self._known_logins.forget()
        await run_in_threadpool(self.logins.end, cookie)

    async def revoke(self, name_or_id: str, *, who: str) -> Token:
        """Take a token back; here it is heeded at once, by other processes of the station within a second.

        Raises:
            NotRecordedError: There is none of that name.
            ConfigError: It is the last administrator's.
        """
        revoked = await run_in_threadpool(self.tokens.revoke, name_or_id, who=who, keep_an_admin=True)
        self._known_tokens.forget()
        self._known_logins.forget()
        return revoked

    async def _token(self, text: str, address: str | None) -> Token:
        digest = digest_of(text)
        token = self._known_tokens.get(digest)
        if token is None:
            token = await run_in_threadpool(self.tokens.find, text)
            if token is None:
                raise self._failure(
                    "token must be one that lets in, got one that is unknown, expired or revoked.", address
                )
            self._known_tokens.put(digest, token)
        return token

    def _failure(self, message: str, address: str | None) -> NotLoggedInError | TooManyRequestsError:
        key = address_key(address)
        _log.warning("refused: unknown, expired or revoked token from %s", key)
        if wait_s := self._failed.take(key):
            return TooManyRequestsError(f"too many wrong tokens from this address. Wait {wait_s:.0f} s.", wait_s)
        return NotLoggedInError(message)

    def _count(self, key: str) -> None:
        if wait_s := self._asked.take(key):
            rate = f"{self.settings.requests_per_s:g} requests a second"
            raise TooManyRequestsError(
                f"at most {rate} are answered, got more. Wait, or raise access.requests_per_s.", wait_s
            )


class _Remembered(Generic[Known]):
    """What the database said a moment ago."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Known, float]] = OrderedDict()

    def get(self, key: str) -> Known | None:
        known, until = self._kept.get(key, (None, 0.0))
        return known if time.monotonic() < until else None

    def put(self, key: str, known: Known) -> None:
        self._kept[key] = (known, time.monotonic() + _KNOWN_S)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KNOWN:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        self._kept.clear()
