"""All pages of a station, put into its application by one call."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request
from fastapi.responses import RedirectResponse

from muad.service.access.guard import public
from muad.service.pages.frame import Shell
from muad.service.pages.views import limits, live, login, models, parts, review, serving, trends
from muad.service.station import Station


def add_pages(app: FastAPI, station: Station) -> None:
    """Let an application answer with the pages of a station; none of them is in the OpenAPI document.

    Args:
        app: With the access of the station in front (`access.secure_app`).
        station: Whose pages.
    """
    shell = Shell(station)
    app.state.pages = shell

    @app.get("/", include_in_schema=False, dependencies=[Depends(public)])
    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(shell.render.link(request, "live"), status_code=303)

    for page in (live, parts, review, limits, trends, models, login, serving):
        app.include_router(page.router, include_in_schema=False)
    app.include_router(login.leaving, include_in_schema=False)
