"""Edits of `limits.toml` while a folder is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from muad.errors import MuadError
from muad.limits import CALIBRATION_FILE, LIMITS_FILE, read_limits
from muad.outputs.tables import file_facts

if TYPE_CHECKING:
    from muad.inference import Predictor


class LimitsFile:
    """Gives a predictor the limits of its run as they are edited; an edit that cannot be used is told and left."""

    def __init__(self, predictor: Predictor, note: Callable[[str], None]) -> None:
        self._predictor, self._note = predictor, note
        self._files = [predictor.run / name for name in (LIMITS_FILE, CALIBRATION_FILE)]
        self._seen = [file_facts(file) for file in self._files]

    def take_up(self) -> None:
        """Take up an edit, if there is one."""
        facts = [file_facts(file) for file in self._files]
        if facts == self._seen:
            return
        self._seen = facts
        try:
            self._predictor.limits = read_limits(self._predictor.run, self._predictor.categories)
        except MuadError as error:
            self._note(f"limits stay as they were: {error}")
        else:
            self._note(f"limits taken up from {self._files[0]}")
