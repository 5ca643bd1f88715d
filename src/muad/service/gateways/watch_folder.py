"""Photographs from a folder, as cameras and other programs write them; local, or a network share.

A file is taken once it has stayed as it is for a while and is whole. What is judged is remembered on disk, and again
by the history: the same file under the same name is judged once, whatever stops the station in between. A share is
looked through again and again, since it tells nobody of news; one that goes away is waited for.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from muad.errors import ConfigError
from muad.outputs.tables import file_facts
from muad.service.gateways.base import InletThread, LaterError, Section, Submission, Submit
from muad.watching.arrivals import Arrival, Arrivals
from muad.watching.ledger import Facts, Ledger
from muad.watching.moving import free_place, move_file

if TYPE_CHECKING:
    from muad.service.history import Inspection

_LOG = logging.getLogger(__name__)
_TOGETHER: Final = 16  # files in the station's hands at once
_AGAIN_S: Final = 1.0  # between looks at a file that could not be taken
_FACTS: Final = ("category", "serial", "lot", "station")
_LONGEST_FACT: Final = 200


class WatchSettings(Section):
    """`[watch]`, or `[[watch]]` for each of several: a folder that photographs arrive in.

    Attributes:
        folder: The folder, and those in it.
        name: Of what is remembered of it and in the metrics, if there are several.
        station: Where its photographs are taken, if not at the station itself.
        category: What all of them show; without it, the innermost folder that is named like a product says it.
        pattern: Regular expression for the way of a file from the folder, with `/` between folders. Its named groups
            `category`, `serial`, `lot` and `station` are taken, and all others are kept as extras. A file it does not
            fit is judged without them.
        move: Where judged files go, in folders as before; without it they stay. What cannot be judged stays.
        settle_s: How long a file has to stay as it is.
        patience_s: How long one that is not whole may stay as it is before it is given up.
    """

    folder: Path
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")] = "watch"
    station: Annotated[str, Field(min_length=1, max_length=_LONGEST_FACT)] | None = None
    category: Annotated[str, Field(min_length=1, max_length=_LONGEST_FACT)] | None = None
    pattern: str | None = None
    move: Path | None = None
    settle_s: Annotated[float, Field(ge=0.05, le=3600)] = 0.5
    patience_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0

    section: ClassVar[str] = "watch"

    def check(self, folder: Path) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: The pattern is none, or the folders are in each other's way.
        """
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ConfigError(
                    f"watch.pattern must be a regular expression, got {self.pattern!r} ({error})."
                ) from None
        watched = (folder / self.folder).resolve()
        if folder.resolve().is_relative_to(watched):
            raise ConfigError(f"watch.folder must not hold the station's own folder, got {watched}. Name another.")
        if self.move is not None and watched.is_relative_to((folder / self.move).resolve()):
            raise ConfigError(
                f"watch.move must not be the watched folder or hold it, got {folder / self.move}. Name another."
            )


@dataclass(frozen=True, slots=True)
class _InHand:
    """A file that the station judges."""

    file: Arrival
    answer: Future[Inspection]


class WatchFolder(InletThread):
    """The inlet. Of several processes of a station one watches.

    Args:
        settings: Its section.
        folder: The station's; what is remembered lies in `watch/` there.
        most_bytes: Of a file that is taken.
    """

    def __init__(self, settings: WatchSettings, folder: Path, most_bytes: int) -> None:
        super().__init__("watch", settings.name, stop_s=30.0)  # what the station has in hand is waited for
        self._settings, self._most_bytes = settings, most_bytes
        self._watched = (folder / settings.folder).absolute()
        self._move = None if settings.move is None else (folder / settings.move).absolute()
        # Another folder under the same name is not taken for this one.
        place = hashlib.sha256(str(self._watched).encode(errors="surrogateescape")).hexdigest()[:8]
        self._memory = folder / "watch" / f"{settings.name}-{place}"
        self._pattern = None if settings.pattern is None else re.compile(settings.pattern)
        self._in_hand: dict[str, _InHand] = {}
        self._not_before: dict[str, float] = {}
        self._stuck: set[str] = set()

    def _run(self, submit: Submit) -> None:
        ledger = None
        while not self._stop.is_set():
            try:
                if ledger is None:
                    ledger = Ledger(self._memory, self._watched)
                    arrivals = Arrivals(self._watched, self._left_out(), self._settings.settle_s)
                self._turn(ledger, arrivals, submit)
            except ConfigError:  # another process of the station watches it
                self._stop.wait(_AGAIN_S)
            except Exception as error:  # noqa: BLE001  whatever happens, the station goes on, and this is tried again
                self._trouble(f"{type(error).__name__}: {error}", error)
                self._stop.wait(_AGAIN_S)
        if ledger is not None:
            self._finish(ledger)
            ledger.close()

    def _left_out(self) -> list[Path]:
        return [] if self._move is None else [self._move]

    def _turn(self, ledger: Ledger, arrivals: Arrivals, submit: Submit) -> None:
        """Look once, hand in what is ready, and remember what is done."""
        self._news.clear()
        self._remember(ledger)
        begun = time.monotonic()
        try:
            ready = arrivals.poll(lambda name, facts: self._is_done(ledger, name, facts), begun)
        except OSError as error:
            self._away(f"{error.filename or self._watched}: {error.strerror or error}")
            self._stop.wait(_AGAIN_S)
            return
        self._there()
        self._waiting = arrivals.waiting
        spent = time.monotonic() - begun
        for file in ready:
            if self._stop.is_set() or len(self._in_hand) >= _TOGETHER:
                break
            if file.name not in self._in_hand and begun >= self._not_before.get(file.name, 0.0):
                self._hand_in(ledger, file, submit)
        self._not_before = {name: when for name, when in self._not_before.items() if when > begun - 60}
        # Looking at a very full folder takes a while; half of the time is enough for it.
        self._news.wait(max(self._settings.settle_s / 2, 0.02, spent))

    def _hand_in(self, ledger: Ledger, file: Arrival, submit: Submit) -> None:
        patient = file.unchanged_s < self._settings.patience_s
        if (file.facts[0] or 0) > self._most_bytes:
            self._give_up(ledger, file, f"has more than the {self._most_bytes / 1e6:g} MB that uploads.mb allows")
            return
        try:
            content = file.path.read_bytes()
        except OSError as error:  # a share that goes away, a file that somebody has locked: it stays for later
            self._later(file, _AGAIN_S, f"{file.name}: {error.strerror or error}")
            return
        if patient and not looks_whole(content):
            self._later(file, min(_AGAIN_S, self._settings.settle_s))
            return
        answer = submit(self._submission(file, content))
        self._in_hand[file.name] = _InHand(file, answer)
        answer.add_done_callback(lambda _: self._news.set())

    def _submission(self, file: Arrival, content: bytes) -> Submission:
        told = self._pattern.search(file.name) if self._pattern is not None else None
        named = {key: value for key, value in (told.groupdict() if told is not None else {}).items() if value}
        own = self._settings
        key = hashlib.sha256(file.name.encode(errors="surrogateescape") + b"\0" + content).hexdigest()
        return Submission(
            content=content,
            name=file.name,
            source="watch",
            station=named.get("station", own.station),
            category=named.get("category", own.category),
            serial=named.get("serial"),
            lot=named.get("lot"),
            extras={
                **{name: value for name, value in named.items() if name not in _FACTS},
                "file": file.name.encode(errors="replace").decode()[-4000:],
            },
            idempotency_key=f"watch:{self.name}:{key}",
        )

    def _remember(self, ledger: Ledger) -> None:
        """Take what is done out of our hands."""
        for name, held in list(self._in_hand.items()):
            if not held.answer.done():
                continue
            del self._in_hand[name]
            self._taken_back(ledger, held)

    def _taken_back(self, ledger: Ledger, held: _InHand) -> None:
        file, error = held.file, held.answer.exception()
        if isinstance(error, LaterError):
            self._later(file, error.wait_s, str(error))
            return
        if error is not None and file.unchanged_s < self._settings.patience_s:
            self._later(file, _AGAIN_S)
            return
        if file_facts(file.path) != file.facts:
            return  # it changed under our eyes and comes again, or went away
        if error is not None:
            self._give_up(ledger, file, str(error))
            return
        ledger.add([(file.name, file.facts, held.answer.result().verdict == "error")])
        self._taken += 1
        self._put_away(ledger, file.name, file.facts)

    def _finish(self, ledger: Ledger) -> None:
        """Wait for what the station still has in hand."""
        end = time.monotonic() + 20.0
        while self._in_hand and time.monotonic() < end:
            self._remember(ledger)
            time.sleep(0.01)

    def _is_done(self, ledger: Ledger, name: str, facts: Facts) -> bool:
        if not ledger.is_done(name, facts):
            return False
        self._put_away(ledger, name, facts)  # done before a stop that came in between
        return True

    def _put_away(self, ledger: Ledger, name: str, facts: Facts) -> None:
        if self._move is None or name in self._stuck or ledger.is_bad(name):
            return
        if file_facts(self._watched / name) != facts:
            return  # replaced meanwhile: it is judged next
        place = free_place(self._move, name)
        try:
            move_file(self._watched / name, place)
        except FileNotFoundError:
            pass  # somebody else has taken it
        except OSError as error:
            self._stuck.add(name)
            _LOG.warning("watch %s: %s is judged but could not be moved to %s: %s", self.name, name, place, error)
            return
        ledger.take_off(name)

    def _give_up(self, ledger: Ledger, file: Arrival, reason: str) -> None:
        ledger.add([(file.name, file.facts, True)])
        self._refused += 1
        self._error = f"{file.name}: {reason}"
        _LOG.warning("watch %s: %s is not taken: %s", self.name, file.name, reason)

    def _later(self, file: Arrival, wait_s: float, reason: str | None = None) -> None:
        self._not_before[file.name] = time.monotonic() + wait_s
        if reason is not None and reason != self._error:
            self._error = reason
            _LOG.warning("watch %s: %s; it is tried again", self.name, reason)

    def _away(self, reason: str) -> None:
        if self._away_since is None:
            self._away_since, self._error = time.monotonic(), reason
            _LOG.warning("watch %s cannot be looked through (%s); it is tried again until it can", self.name, reason)

    def _there(self) -> None:
        if self._away_since is not None:
            _LOG.warning("watch %s can be looked through again", self.name)
            self._away_since = self._error = None

    def _trouble(self, reason: str, error: Exception) -> None:
        if reason != self._error:
            self._error = reason
            _LOG.error("watch %s: %s", self.name, reason, exc_info=error)


def looks_whole(content: bytes) -> bool:
    """Whether a file has its format's end, as far as that can be seen without decoding it; else true."""
    if content.startswith(b"\x89PNG"):
        return b"IEND" in content[-64:]
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in content[-64:]
    if content.startswith(b"BM"):
        return len(content) >= int.from_bytes(content[2:6], "little")
    if content.startswith(b"RIFF"):
        return len(content) >= int.from_bytes(content[4:8], "little") + 8
    return bool(content)
