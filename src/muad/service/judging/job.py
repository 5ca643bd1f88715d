"""One photograph on its way through the station, from its upload to its record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from muad.service.history import Inspection, new_id, now
from muad.service.history.record import Source
from muad.service.judging.uploads import Upload

if TYPE_CHECKING:
    from muad.runtime.looking import Look
    from muad.service.judging.models import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to have judged.

    Attributes:
        upload: The photograph.
        station: Where it was taken.
        source: By which way it came.
        category: What it shows, where that is known.
        serial: The part's, or None.
        lot: Or None.
        extras: Whatever else is to be remembered of it.
        key: The same key is judged once; None to judge whatever comes.
        received_ms: How long it took to come in.
    """

    upload: Upload
    station: str
    source: Source = "http"
    category: str | None = None
    serial: str | None = None
    lot: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    received_ms: float = 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A photograph that was accepted.

    Attributes:
        asked: What for.
        model: What judges it, fixed when it was accepted, so that a swap halves nothing.
        id: Of the inspection that will be recorded.
        at: When it was accepted.
        done: Gives the inspection once that is recorded, and what went wrong where it cannot be.
        look: The photograph read and measured; None until it is.
        times: Milliseconds by stage, as far as it came.
        waiters: Requests that wait for it: one, or several with the same key.
        began: When it was accepted, by the clock that times are taken with.
        looked: When it was read.
    """

    asked: Asked
    model: LoadedModel
    at: datetime = field(default_factory=now)
    id: str = ""
    done: Future[Inspection] = field(default_factory=Future)
    look: Look | None = None
    times: dict[str, float] = field(default_factory=dict)
    waiters: int = 1
    began: float = field(default_factory=time.perf_counter)
    looked: float = 0.0

    def __post_init__(self) -> None:
        self.id = self.id or new_id(self.at)
        self.times["receive"] = self.asked.received_ms

    def fail(self, error: BaseException) -> None:
        """Have everybody who waits for it get an error."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)
