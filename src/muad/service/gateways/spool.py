"""What stands before every outlet: a queue on disk, and a thread that empties it in order.

An inspection is never held up by the far end, and a message reaches it once or more: the one that is being sent when
something breaks comes again. Between attempts the thread waits twice as long each time, with chance in it, so that
many stations do not all come back to a broker in the same second.
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import Field

from muad.service.gateways.base import AwayError, Message, Outlet, RefusedError, Section, hold
from muad.service.gateways.spool_file import SetAside, SpoolFile, Waiting

_LOG = logging.getLogger(__name__)
_READ = 100  # messages read at once
_TAKE_OFF_S = 0.5  # how long messages that were passed on may wait to be taken off; they would come twice
_LOOK_S = 1.0  # between looks for what another process has put in
_LOUD_S = 60.0  # between two log lines about the same trouble
_HELD = 1000  # messages held in memory while the disk takes none


class SpoolSettings(Section):
    """`[spool]`: what is kept for a far end that is away, and how often it is tried.

    Attributes:
        messages: Most messages that wait for one outlet.
        mb: Most megabytes of them.
        when_full: `drop-oldest` gives up those that have waited longest, `drop-newest` those that come; both are
            counted and logged.
        first_wait_s: Before the second attempt.
        longest_wait_s: Between attempts, at most.
    """

    messages: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    mb: Annotated[float, Field(gt=0, le=100_000)] = 256.0
    when_full: Literal["drop-oldest", "drop-newest"] = "drop-oldest"
    first_wait_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    longest_wait_s: Annotated[float, Field(gt=0, le=3600)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolState:
    """How an outlet does.

    Attributes:
        name: Of the outlet.
        waiting: Messages that wait, on disk or, while it takes none, in memory.
        bytes: Of those on disk.
        sent: Messages passed on since the start.
        refused: Messages that the far end will never take, since the spool was made.
        dropped: Messages given up because the spool was full, since it was made.
        failures: Failed attempts since the start.
        away_for_s: How long the far end has been away; None while it is there.
        error: Why the last attempt failed; None while the far end is there.
    """

    name: str
    waiting: int
    bytes: int
    sent: int
    refused: int
    dropped: int
    failures: int
    away_for_s: float | None
    error: str | None


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    failures: int = 0
    dropped: int = 0  # of those in memory
    away_since: float | None = None
    error: str | None = None
    said: dict[str, float] = field(default_factory=dict)


class Spool:
    """The queue of an outlet. Several processes of a station share it; one of them empties it.

    Args:
        folder: Of all spools of the station.
        outlet: Closed with the spool.
        settings: Its bounds and waits.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, folder: Path, outlet: Outlet, settings: SpoolSettings) -> None:
        self.name = outlet.name
        self._outlet, self._settings = outlet, settings
        self._file = SpoolFile(folder / f"{outlet.name}.sqlite")
        self._lock_path = folder / f"{outlet.name}.lock"
        self._counts = _Counts()
        self._held: deque[Message] = deque()
        self._putting = threading.Lock()
        self._news, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"spool {outlet.name}", daemon=True)
        self._random = random.Random()

    def start(self) -> None:
        """Begin to pass on, first what waits from before."""
        self._thread.start()

    def put(self, messages: Sequence[Message]) -> None:
        """Queue messages behind the others; quick, and never raises for want of room on disk."""
        with self._putting:
            self._held.extend(messages)
            self._put_held()
        self._news.set()

    def catch_up(self, since: Callable[[str], Iterable[Message]]) -> int:
        """Put in what was recorded, but not put in, before the station stopped the last time.

        Args:
            since: The messages of inspections recorded after the one of the id given, in order.

        Returns:
            How many there were. None for an outlet that is new.
        """
        last = self._file.fill().last
        if last is None:
            return 0
        count, some = 0, list[Message]()
        for message in since(last):
            some.append(message)
            count += 1
            if len(some) == _READ:
                self.put(some)
                some = []
        self.put(some)
        return count

    def is_away(self) -> bool:
        """Whether the last attempt failed."""
        return self._counts.away_since is not None

    def state(self) -> SpoolState:
        """How it does; also after it was closed."""
        counts, fill = self._counts, self._file.fill()
        away = counts.away_since
        return SpoolState(
            name=self.name,
            waiting=fill.waiting + len(self._held),
            bytes=fill.bytes,
            sent=counts.sent,
            refused=fill.refused,
            dropped=fill.dropped + counts.dropped,
            failures=counts.failures,
            away_for_s=None if away is None else time.monotonic() - away,
            error=counts.error,
        )

    def refused(self, count: int) -> list[SetAside]:
        """The last messages that the far end would not take, the oldest first."""
        return self._file.refused(count)

    def put_back(self) -> int:
        """Try again what the far end would not take; how many messages that is."""
        count = self._file.put_back()
        self._news.set()
        return count

    def close(self, drain_s: float = 2.0) -> None:
        """Stop; what waits stays on disk.

        Args:
            drain_s: How long to go on passing on what waits, if the far end takes it.
        """
        end = time.monotonic() + drain_s
        while time.monotonic() < end and not self.is_away() and self._thread.is_alive():
            if self._file.fill().waiting == 0:
                break
            time.sleep(0.01)
        self._stop.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)
        with self._putting:
            self._put_held()
        if not self._thread.is_alive():  # else it is still in the outlet, and the file is closed with the process
            self._file.close()

    def _put_held(self) -> None:
        if not self._held:
            return
        settings = self._settings
        try:
            dropped = self._file.put(
                list(self._held),
                most=settings.messages,
                most_bytes=int(settings.mb * 1e6),
                drop_oldest=settings.when_full == "drop-oldest",
            )
            self._held.clear()
        except sqlite3.Error as error:
            dropped = max(0, len(self._held) - _HELD)
            for _ in range(dropped):
                self._held.popleft()
            self._counts.dropped += dropped
            self._say("disk", f"cannot be written ({error}); {len(self._held)} messages are held in memory")
        if dropped:
            self._say("full", f"is full: {settings.when_full}, {self.state().dropped} messages given up so far")

    def _run(self) -> None:
        """Pass on until stopped."""
        lock: IO[bytes] | None = None
        try:
            while not self._stop.is_set() and lock is None:
                lock = hold(self._lock_path)
                if lock is None:
                    self._stop.wait(_LOOK_S)
            failed, opened = 0, False
            while not self._stop.is_set():
                self._news.clear()
                if self._held:
                    with self._putting:
                        self._put_held()
                try:
                    waiting = self._file.first(_READ)
                except sqlite3.Error as error:
                    self._say("disk", f"cannot be read ({error})")
                    self._stop.wait(_LOOK_S)
                    continue
                if not opened:
                    wait_s = self._open(failed)
                    opened = wait_s is None
                else:
                    wait_s = self._pass_on(waiting, failed)
                failed = failed + 1 if wait_s is not None else 0
                if wait_s is not None:
                    self._stop.wait(wait_s)
                elif not waiting:
                    self._news.wait(_LOOK_S)
        finally:
            try:
                self._outlet.close()
            except Exception:  # noqa: BLE001  whatever an outlet does, the station goes on
                _LOG.exception("outlet %s could not be closed", self.name)
            if lock is not None:
                lock.close()

    def _open(self, failed: int) -> float | None:
        """Open the outlet; None if that went, else how long to wait."""
        try:
            self._outlet.open()
        except Exception as error:  # noqa: BLE001  whatever an outlet raises, the station goes on
            return self._failed(error, failed)
        self._back()
        return None

    def _pass_on(self, waiting: Sequence[Waiting], failed: int) -> float | None:
        """Send messages in order; None if all went, else how long to wait."""
        done: list[int] = []
        taken_off = time.monotonic()
        wait_s = None
        for message in waiting:
            if self._stop.is_set():
                break
            try:
                self._outlet.send(json.loads(message.body))
            except RefusedError as error:
                self._file_is_told(done)
                done = []
                with suppress(sqlite3.Error):
                    self._file.set_aside(message.seq, str(error))
                self._say("refused", f"refuses a message for good: {error}")
                self._back()
            except Exception as error:  # noqa: BLE001  whatever an outlet raises, the station goes on
                wait_s = self._failed(error, failed)
                break
            else:
                done.append(message.seq)
                self._counts.sent += 1
                self._back()
            if time.monotonic() - taken_off > _TAKE_OFF_S:
                self._file_is_told(done)
                done, taken_off = [], time.monotonic()
        self._file_is_told(done)
        return wait_s

    def _file_is_told(self, done: Sequence[int]) -> None:
        try:
            self._file.take_off(done)
        except sqlite3.Error as error:
            self._say("disk", f"cannot be written ({error}); messages will come twice")

    def _failed(self, error: Exception, failed: int) -> float:
        counts, settings = self._counts, self._settings
        counts.failures += 1
        counts.error = str(error) if isinstance(error, AwayError) else f"{type(error).__name__}: {error}"
        if counts.away_since is None:
            counts.away_since = time.monotonic()
            _LOG.warning("outlet %s is away: %s; messages wait on disk", self.name, counts.error)
        if not isinstance(error, AwayError):
            self._say("bug", "failed unexpectedly", exc_info=error)
        longest = settings.longest_wait_s
        wait_s = min(longest, settings.first_wait_s * 2.0 ** min(failed, 60)) * self._random.uniform(0.5, 1.0)
        asked = error.wait_s if isinstance(error, AwayError) else None
        return wait_s if asked is None else max(wait_s, min(asked, max(longest, 600.0)))

    def _back(self) -> None:
        counts = self._counts
        if counts.away_since is not None:
            _LOG.warning("outlet %s is back after %.0f s", self.name, time.monotonic() - counts.away_since)
            counts.away_since = counts.error = None

    def _say(self, what: str, sentence: str, exc_info: Exception | None = None) -> None:
        """Log an error, once a minute of each kind."""
        now = time.monotonic()
        if now - self._counts.said.get(what, -_LOUD_S) >= _LOUD_S:
            self._counts.said[what] = now
            _LOG.error("outlet %s %s", self.name, sentence, exc_info=exc_info)
