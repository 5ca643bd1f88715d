"""Says that there is something new: to streams of events in this process, which then look into the history.

What other processes record is found by looking every second in any case.
"""

from __future__ import annotations

import itertools


class Feed:
    """A number that rises with every piece of news."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.inspections = 0
        self.changes = 0

    def recorded(self, *_: object) -> None:
        """Inspections were recorded; a listener of the judge."""
        self.inspections = next(self._numbers)

    def changed(self) -> None:
        """A word, a limit or a model is another one than before."""
        self.changes = next(self._numbers)
