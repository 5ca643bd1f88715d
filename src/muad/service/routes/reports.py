"""`/v1/reports`: a day or a week as one HTML file or a table; `/v1/drift`: signals, and saying that one is known."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from muad.service.access.guard import needs
from muad.service.access.headers import REPORT_POLICY
from muad.service.access.roles import Person, Role
from muad.service.followup.follower import explain
from muad.service.followup.summary import Kind, Period, make_report
from muad.service.history.record import Direction, DriftSignal
from muad.service.routes.faults import FAULTS
from muad.service.station import Station, station_of

router = APIRouter(prefix="/v1", tags=["reports"], responses=FAULTS)
At = Annotated[Station, Depends(station_of)]
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
Day = Annotated[date | None, Query(description="A day of it; yesterday, or last week, if left out.")]
Form = Annotated[Literal["html", "csv"], Query(description="One HTML file, or a table.")]
_FORMS = {"content": {"text/html": {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}}}


class SignalOut(BaseModel):
    """A signal of drift."""

    id: str
    station: str
    judged_as: str | None
    quantity: str
    direction: Direction
    began_at: datetime = Field(description="When the change most likely began.")
    raised_at: datetime
    inspections: int = Field(description="Parts from its beginning until it was raised.")
    statistic: float
    threshold: float
    parts: list[str] = Field(description="Inspections that show it, the clearest first.")
    ended_at: datetime | None
    note: str | None
    says: str

    @classmethod
    def of(cls, signal: DriftSignal) -> SignalOut:
        """From the history."""
        names = set(cls.model_fields) - {"says", "parts"}
        own = {name: getattr(signal, name) for name in names}
        return cls(**own, parts=list(signal.parts), says=explain(signal))


class SignalsOut(BaseModel):
    """Signals, those raised last first."""

    signals: list[SignalOut]


class Known(BaseModel):
    """Why a signal is no fault."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


@router.get("/reports/daily", response_class=Response, responses={200: _FORMS})
def daily(station: At, _: Engineer, day: Day = None, form: Form = "html") -> Response:
    """What a day was like."""
    return _report(station, "day", day, form)


@router.get("/reports/weekly", response_class=Response, responses={200: _FORMS})
def weekly(station: At, _: Engineer, day: Day = None, form: Form = "html") -> Response:
    """What a week from Monday on was like."""
    return _report(station, "week", day, form)


@router.get("/drift")
def drift(station: At, _: Operator, standing: bool = False) -> SignalsOut:
    """Signals of drift; with `standing` only those that have not ended."""
    return SignalsOut(signals=[SignalOut.of(one) for one in station.history.signals(open_only=standing)])


@router.post("/drift/{signal_id}/known")
def known(signal_id: Annotated[str, Path(max_length=64)], said: Known, station: At, person: Engineer) -> SignalOut:
    """End a signal because its cause is known: what its quantity is now counts as usual."""
    station.follower.accept(signal_id, person.name, said.reason)
    return next(SignalOut.of(one) for one in station.history.signals() if one.id == signal_id)


def _report(station: Station, kind: Kind, day: date | None, form: str) -> Response:
    zone = station.settings.shifts.time_zone()
    if day is None:
        day = datetime.now(zone).date() - timedelta(days=7 if kind == "week" else 1)
    period = Period.of(kind, day, zone)
    made = make_report(station.history, station.folder, period, name=station.settings.service.name, audit=station.audit)
    name = {"content-disposition": f'inline; filename="{made.file_name}.{form}"'}
    if form == "csv":
        return Response(made.csv(), media_type="text/csv; charset=utf-8", headers=name)
    return Response(made.html(), media_type="text/html", headers={**name, "content-security-policy": REPORT_POLICY})
