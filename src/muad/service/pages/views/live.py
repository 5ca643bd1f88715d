"""Live: the last part so big that it is seen from afar, and what came before it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection, InspectionFilter, now
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import Shell, shell_of

STRIP = 20
"""Parts in the strip."""
router = APIRouter(route_class=PageRoute)
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]


@router.get("/live")
def live(request: Request, person: Operator) -> HTMLResponse:
    """The page, with the last part in it."""
    shell = shell_of(request)
    silent_s = shell.settings.silent_s
    return shell.page(request, "live.html", person, "live", silent_s=silent_s, **_now(shell, request))


@router.get("/live/now")
def live_now(request: Request, person: Operator) -> HTMLResponse:
    """What the page shows now, without its frame; asked for when something has come."""
    shell = shell_of(request)
    return shell.piece(request, "live_now.html", person, **_now(shell, request))


def _now(shell: Shell, request: Request) -> dict[str, Any]:
    history = shell.station.history
    strip = last_parts(history.since(None, STRIP))
    at = now()
    since = shell.station.settings.shifts.shift_at(at).begins
    return {
        "last": strip[0] if strip else None,
        "strip": strip,
        "age_s": round((at - strip[0].at).total_seconds(), 1) if strip else 0,
        "counts": history.counts(InspectionFilter(since=since), by="verdict"),
        "shift_since": since,
        "live_problems": shell.problems(request),
    }


def last_parts(recorded: list[Inspection]) -> list[Inspection]:
    """Parts in the order in which they came, the newest first."""
    return sorted(recorded, key=lambda part: (part.at, part.number), reverse=True)
