"""Retention at work: a thread that looks every few minutes at what may go."""

from __future__ import annotations

import logging
import threading

from muad.service.history.faults import HistoryError
from muad.service.history.ids import now
from muad.service.history.upkeep.retention import Retention

_log = logging.getLogger("muad.station.history")


class Retainer:
    """Runs retention beside a station that judges. What fails is logged and tried again next time.

    Args:
        retention: What may go.
        every_minutes: How often it is looked after.
    """

    def __init__(self, retention: Retention, every_minutes: float) -> None:
        self._retention, self._pause_s = retention, every_minutes * 60
        self._ending = threading.Event()
        self._tidy = False
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self, *, tidy: bool) -> None:
        """Begin; with `tidy`, files that no inspection has are looked for first."""
        self._tidy = tidy
        self._thread.start()

    def stop(self) -> None:
        """End after the rows that are being removed."""
        self._ending.set()
        self._retention.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                if self._tidy:
                    self._tidy = False
                    if left := self._retention.tidy(now()):
                        _log.warning("%d pictures that no inspection has were removed", left)
                for forgotten in self._retention.apply(now()):
                    _log.info("removed %s", forgotten)
            except (HistoryError, OSError) as error:
                _log.warning("retention waits: %s", error)
            self._ending.wait(self._pause_s)
