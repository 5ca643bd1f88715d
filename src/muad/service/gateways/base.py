"""What every way in and out has in common: two small interfaces, two kinds of failure, and how secrets are named.

An outlet passes messages on, one at a time, from a `Spool`; an inlet brings photographs in. Each lies in a file of its
own beside its settings, is off unless its section is in `station.toml`, and never stops inspection when it fails.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from muad.errors import ConfigError

if TYPE_CHECKING:
    from muad.service.history import Inspection

Message = Mapping[str, Any]
"""What is passed on: `inspection_message` of an inspection, plain values."""


class AwayError(Exception):
    """The far end cannot take messages now; the same one is tried again, and those behind it wait.

    Args:
        reason: What a person should read.
        wait_s: How long the far end asked us to wait, if it did.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class RefusedError(Exception):
    """The far end will never take this message; it is set aside, and the next one goes on."""


class Outlet(Protocol):
    """A way out."""

    name: str
    """Of its spool, its log lines and its metrics."""

    def open(self) -> None:
        """Connect, or listen; called before the first message, and again until it succeeds.

        Raises:
            AwayError: Not now.
        """

    def send(self, message: Message) -> None:
        """Pass a message on; it has been taken when this returns.

        Raises:
            AwayError: Not now; the same message comes again.
            RefusedError: Never this message.
        """

    def close(self) -> None:
        """Leave; called by the thread that called `open` and `send`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A photograph that came in by another way than HTTP.

    Attributes:
        content: The bytes of an image file.
        name: What it is called; of a file its way from the watched folder.
        source: By which way.
        station: Where it was taken, or None for the station's own name.
        category: What it shows, if that is known.
        serial: The part's, or None.
        lot: Or None.
        extras: Whatever else is known.
        idempotency_key: The same key is judged once.
    """

    content: bytes
    name: str
    source: Literal["watch", "camera"]
    station: str | None = None
    category: str | None = None
    serial: str | None = None
    lot: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None


class LaterError(Exception):
    """The station cannot take a photograph now: its queue or its disk is full. It has to come again.

    Args:
        reason: What a person should read.
        wait_s: After how long it is worth another try.
    """

    def __init__(self, reason: str, wait_s: float = 1.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


Submit = Callable[[Submission], "Future[Inspection]"]
"""Has a photograph judged and recorded like one that came by HTTP; never raises.

The future ends with the recorded inspection, of which one with the verdict `error` could not be judged; with a
`LaterError` if the station cannot take it now; or with a `MuadError` if it never will.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InletState:
    """How a way in does.

    Attributes:
        name: Of the inlet.
        taken: Photographs that were judged and recorded since the start.
        refused: Photographs that the station will never take.
        skipped: Moments of a camera for which there was no photograph, or no place.
        waiting: Files that are not done.
        away_for_s: How long folder or camera have been away; None while they are there.
        error: Why, or why the last photograph was refused; None if nothing is wrong.
    """

    name: str
    taken: int
    refused: int
    skipped: int = 0
    waiting: int = 0
    away_for_s: float | None = None
    error: str | None = None


class Inlet(Protocol):
    """A way in."""

    name: str
    """Of its log lines and its metrics."""

    def start(self, submit: Submit) -> None:
        """Bring photographs in from now on, in a thread of its own."""

    def stop(self) -> None:
        """Bring in no more; what was submitted goes on."""

    def state(self) -> InletState:
        """How it does."""


class InletThread(ABC):
    """A way in with a thread of its own, and how it does.

    Args:
        kind: What it is, for the name of the thread.
        name: Of the inlet.
        stop_s: How long its end is waited for.
    """

    def __init__(self, kind: str, name: str, stop_s: float) -> None:
        self.name = name
        self._kind, self._stop_s = kind, stop_s
        self._stop, self._news = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._taken = self._refused = self._skipped = self._waiting = 0
        self._away_since: float | None = None
        self._error: str | None = None

    def start(self, submit: Submit) -> None:
        """Bring photographs in from now on."""
        name = f"{self._kind} {self.name}"
        self._thread = threading.Thread(target=self._run, args=(submit,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Bring in no more, and wait until that is so."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(self._stop_s)

    def state(self) -> InletState:
        """How it does."""
        away = self._away_since
        return InletState(
            name=self.name,
            taken=self._taken,
            refused=self._refused,
            skipped=self._skipped,
            waiting=self._waiting,
            away_for_s=None if away is None else time.monotonic() - away,
            error=self._error,
        )

    @abstractmethod
    def _run(self, submit: Submit) -> None:
        """Bring photographs in until `_stop` is set; `_news` ends a wait early."""


class Section(BaseModel):
    """A section of `station.toml`: unknown keys are refused, and paths are as seen from the station's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


_SectionT = TypeVar("_SectionT", bound=Section)
OneOrMore = Annotated[
    tuple[_SectionT, ...], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
]
"""A section that may stand once, `[camera]`, or several times, `[[camera]]`."""


def require_package(extra: str, package: str) -> None:
    """Refuse a section whose package is not installed.

    Raises:
        ConfigError: It is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"[{extra}] must have its package installed, got none. Run: pip install 'muad[{extra}]'")


def require_file(key: str, folder: Path, path: Path | None) -> Path | None:
    """Where a file that a setting names lies.

    Raises:
        ConfigError: It cannot be read.
    """
    if path is None:
        return None
    whole = folder / path
    try:
        with whole.open("rb"):
            return whole
    except OSError as error:
        raise ConfigError(
            f"{key} must be a file that can be read, got {whole} ({error.strerror}). Check path and permissions."
        ) from None


def read_secret(key: str, folder: Path, file: Path | None, variable: str | None) -> str | None:
    """A password or key from a file, without the line end, or from an environment variable; None if neither is named.

    Args:
        key: Of the settings, without `_file` or `_env`, such as `mqtt.password`.
        folder: The station's.
        file: Where it is.
        variable: Which holds it.

    Raises:
        ConfigError: Both are named, or the one that is named holds nothing.
    """
    if file is not None and variable is not None:
        raise ConfigError(f"{key}_file and {key}_env must not both be given. Leave one of them out.")
    if variable is not None:
        value = os.environ.get(variable, "")
        if not value:
            raise ConfigError(f"{key}_env must name an environment variable that is set, got {variable}.")
        return value
    place = require_file(f"{key}_file", folder, file)
    if place is None:
        return None
    try:
        value = place.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        value = ""
    if not value:
        raise ConfigError(f"{key}_file must hold the secret as text, got {place} without any.")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host name or address is that of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def client_tls(
    section: str, folder: Path, ca: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """How to encrypt to a far end whose certificate is checked.

    Args:
        section: Whose settings these are.
        folder: The station's.
        ca: Certificates that the far end's may be signed by, or None for the system's.
        certificate: Our own, or None.
        key: Of that.

    Raises:
        ConfigError: Certificates or key cannot be read.
    """
    ca, certificate, key = (
        require_file(f"{section}.{name}", folder, path)
        for name, path in (("ca", ca), ("certificate", certificate), ("key", key))
    )
    if key is not None and certificate is None:
        raise ConfigError(f"{section}.certificate must be given with {section}.key, got none.")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"{section}.ca must hold certificates in PEM form, got {ca} ({error}).") from None
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{section}.certificate and {section}.key must be a pair in PEM form, the key without a password, "
                f"got {certificate} and {key} ({error})."
            ) from None
    return context


def hold(path: Path) -> IO[bytes] | None:
    """The lock of the one process of a station that does a thing; None if another has it, or the disk takes nothing."""
    try:
        file: IO[bytes] = path.open("ab")
    except OSError:  # a disk that takes nothing, for now
        return None
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # a system without such locks runs one process
        return file
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a network folder without locks
        return file
    return file
