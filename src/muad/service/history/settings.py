"""`[history]` in station.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from muad.service.history.record import Outcome

FILE = "history.sqlite"
Days = Annotated[float, Field(gt=0, le=366_000)]


class HistorySettings(BaseModel):
    """What is remembered, where, and for how long. What a person said a word about is kept whatever stands here.

    Attributes:
        url: `sqlite:///path` or `postgresql://user:password@host/name`; a file in the station's folder if left out.
        reserve_mb: Megabytes that stay free on the disk: with less, nothing is recorded.
        pictures_days: Days that pictures are kept, by verdict, such as `{pass = 30, review = 365}`; those of a verdict
            that is left out stay.
        rows_days: Days that the rest of an inspection is kept, by verdict in the same way.
        pictures_gb: Gigabytes that pictures may take; beyond it the oldest go, those of passed parts first.
        retain_every_minutes: How often that is looked after.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    reserve_mb: float = Field(default=200, ge=1, allow_inf_nan=False)
    pictures_days: dict[Outcome, Days] = {}
    rows_days: dict[Outcome, Days] = {}
    pictures_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    retain_every_minutes: float = Field(default=10, ge=1, le=1440)

    def url_in(self, folder: Path) -> str:
        """The URL, of the file in the station's folder where none is given."""
        return self.url or f"sqlite:///{folder.resolve() / FILE}"
