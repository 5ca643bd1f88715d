"""The review queue: one part after the other, the oldest first, until nothing waits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import shell_of
from muad.service.pages.queue import MOST_COUNTED, waiting_parts
from muad.service.pages.views.parts import part_values

router = APIRouter(route_class=PageRoute)


@router.get("/review")
def review(request: Request, person: Annotated[Person, Depends(needs(Role.OPERATOR))], after: str = "") -> HTMLResponse:
    """The part that has waited longest for this person, or the one after a part that is left for later."""
    shell = shell_of(request)
    four_eyes = shell.settings.four_eyes
    waiting = waiting_parts(shell.station.history, person.name, four_eyes, limit=MOST_COUNTED)
    ids = [part.id for part in waiting]
    place = ids.index(after) + 1 if after in ids else 0
    shown = waiting[place] if place < len(waiting) else (waiting[0] if waiting else None)
    if shown is None:
        return shell.page(request, "review.html", person, "review", part=None, four_eyes=four_eyes)
    older = f"review?after={shown.id}" if len(waiting) > 1 else None
    values = part_values(shell, shown, person)
    return shell.page(request, "review.html", person, "review", newer=None, older=older, four_eyes=four_eyes, **values)
