"""Verdicts by HTTP to whoever listens, signed as webhooks commonly are (standardwebhooks.com).

`webhook-id` is the inspection's, by which a receiver knows one that comes twice; `webhook-timestamp` the second it was
sent; `webhook-signature` is `v1,` and, in base64, the HMAC-SHA256 of `ID.TIMESTAMP.BODY` with the shared secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final

import httpx
from pydantic import Field

from muad._version import __version__
from muad.errors import ConfigError
from muad.service.gateways.base import AwayError, Message, RefusedError, Section, client_tls, read_secret

_LEAST_SECRET: Final = 24
_TRY_AGAIN: Final = frozenset({408, 425, 429})
# These refuse whoever asks, not what is sent: with another token, address or method the same message is taken.
_WRONG_DOOR: Final = frozenset({401, 403, 404, 405, 407, 421})
_MOST_ANSWER: Final = 2000


class WebhookSettings(Section):
    """`[webhook]`, or `[[webhook]]` for each of several: an address that every inspection is posted to.

    Attributes:
        url: `https://...`, or `http://...`, without user and password.
        name: Of its spool and in the metrics, if there are several.
        secret_file: Holds the shared secret: text of at least 24 bytes, or `whsec_` and base64.
        secret_env: Environment variable that holds it.
        token_file: Holds what is sent as `Authorization: Bearer ...`.
        token_env: Environment variable that holds it.
        ca: Certificates that the far end's may be signed by; those of the system if not given.
        proxy: Address of a proxy, if the far end is behind one.
        timeout_s: For the connection, and for the answer.
    """

    url: Annotated[str, Field(min_length=1, max_length=2000)]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")] = "webhook"
    secret_file: Path | None = None
    secret_env: str | None = None
    token_file: Path | None = None
    token_env: str | None = None
    ca: Path | None = None
    proxy: str | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    section: ClassVar[str] = "webhook"

    def check(self, folder: Path) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: An address is none, a file cannot be read, or the secret is too short.
        """
        _require_address("webhook.url", self.url)
        if self.proxy is not None:
            _require_address("webhook.proxy", self.proxy)
        self.secret(folder)
        self.token(folder)
        client_tls("webhook", folder, self.ca)

    def secret(self, folder: Path) -> bytes | None:
        """The shared secret, or None.

        Raises:
            ConfigError: It cannot be read, or is too short.
        """
        text = read_secret("webhook.secret", folder, self.secret_file, self.secret_env)
        if text is None:
            return None
        try:
            secret = base64.b64decode(text[6:], validate=True) if text.startswith("whsec_") else text.encode()
        except binascii.Error:
            raise ConfigError("webhook.secret must be base64 after whsec_, got something else.") from None
        if len(secret) < _LEAST_SECRET:
            raise ConfigError(
                f"webhook.secret must have at least {_LEAST_SECRET} bytes, got {len(secret)}. "
                'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return secret

    def token(self, folder: Path) -> str | None:
        """The bearer token, or None.

        Raises:
            ConfigError: It cannot be read, or is none.
        """
        token = read_secret("webhook.token", folder, self.token_file, self.token_env)
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ConfigError("webhook.token must be one line of plain letters and signs, got something else.")
        return token


class WebhookOutlet:
    """The outlet.

    Args:
        settings: Its section.
        folder: The station's.
    """

    def __init__(self, settings: WebhookSettings, folder: Path) -> None:
        self.name = settings.name
        self._settings, self._folder = settings, folder
        self._client: httpx.Client | None = None
        self._secret: bytes | None = None
        self._where = _without_query(settings.url)

    def open(self) -> None:
        """Read secrets and certificates; connections are made with the first message.

        Raises:
            AwayError: They cannot be read now.
        """
        self.close()
        try:
            self._secret = self._settings.secret(self._folder)
            token = self._settings.token(self._folder)
            context = client_tls("webhook", self._folder, self._settings.ca)
        except ConfigError as error:
            raise AwayError(str(error)) from None
        headers = {"content-type": "application/json", "user-agent": f"muad/{__version__}"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            headers=headers,
            verify=context,
            timeout=self._settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
            proxy=self._settings.proxy,
        )

    def send(self, message: Message) -> None:
        """Post an inspection; the far end has answered with 2xx when this returns.

        Raises:
            AwayError: It does not answer, asks to wait, fails, lets nobody in, or is elsewhere.
            RefusedError: It will not take this message.
        """
        if self._client is None:
            self.open()
        assert self._client is not None
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        now = int(time.time())
        headers = {"webhook-id": message["id"], "webhook-timestamp": str(now)}
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message["id"], now, body)
        try:
            with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
                said = _beginning(answer, self._settings.timeout_s)
        except httpx.HTTPError as error:
            raise AwayError(f"{self._where}: {type(error).__name__}: {error}") from None
        self._judge(answer, said)

    def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _judge(self, answer: httpx.Response, said: str) -> None:
        status = answer.status_code
        if 200 <= status < 300:
            return
        reason = f"{self._where} answers {status} {answer.reason_phrase}{said and f': {said}'}"
        if 300 <= status < 400:
            raise AwayError(f"{reason}; it is not followed, write the new address into webhook.url")
        if status in _WRONG_DOOR:
            self.close()  # a token that was changed meanwhile is read with the next attempt
            raise AwayError(f"{reason}; messages wait until address and token are right")
        if status in _TRY_AGAIN or status >= 500:
            raise AwayError(reason, wait_s=_retry_after(answer.headers.get("retry-after")))
        raise RefusedError(reason)


def signature(secret: bytes, identity: str, timestamp: int, body: bytes) -> str:
    """What `webhook-signature` says.

    >>> secret = base64.b64decode("plJ3nmyCDGBKInavdOK15jsl")
    >>> signature(secret, "msg_loFOjxBNrRLzqYUf", 1731705121, b'{"event_type":"ping","data":{"success":true}}')
    'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0='
    """
    content = b".".join((identity.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def _require_address(key: str, address: str) -> None:
    """Refuse what is no address of the web; never say it with its password."""
    try:
        url = httpx.URL(address)
        fits = url.scheme in ("http", "https") and bool(url.host)
    except httpx.InvalidURL:
        fits, url = False, httpx.URL("")
    if not fits:
        raise ConfigError(f"{key} must begin with https:// or http:// and name a host, got another.")
    if url.userinfo:
        raise ConfigError(f"{key} must be without user and password, got some. Use webhook.token_file.")


def _without_query(address: str) -> str:
    """The address as it may be printed: what is behind the ? is often secret."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return "webhook"
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))


def _beginning(answer: httpx.Response, most_s: float) -> str:
    """The first of what was answered, on one line; the rest, however much or slow, is not read."""
    content, end = b"", time.monotonic() + most_s
    for part in answer.iter_bytes(_MOST_ANSWER):
        content += part
        if len(content) >= _MOST_ANSWER or time.monotonic() > end:
            break
    text = content[:_MOST_ANSWER].decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def _retry_after(value: str | None) -> float | None:
    """Seconds that `Retry-After` asks for, given as such or as a date."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
