"""Ctrl-C during training: finish the step, save, stop. A second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class StopRequest:
    """While active, the first SIGINT or SIGTERM sets `requested` instead of raising.

    Args:
        active: False leaves signals alone. Processes that train together would stop at different steps and wait for
            each other for ever, so there a signal ends the run and its last periodic checkpoint is the one to resume.
    """

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only; elsewhere whoever runs us decides when to stop.
        if self.active and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *fault: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
