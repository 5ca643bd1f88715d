"""Logging in with a token and out again, and the language of this browser."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from muad.service.access.faults import AccessError, NotLoggedInError
from muad.service.access.guard import access_of, cookie_name, may_log_in, needs, public
from muad.service.access.roles import Person, Role
from muad.service.access.securing import drop_login, keep_login
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import shell_of
from muad.service.pages.language import COOKIE

router = APIRouter(route_class=PageRoute, dependencies=[Depends(public)])
leaving = APIRouter(route_class=PageRoute)
"""Logging out: for who has logged in, with the secret of their page."""
_YEAR_S = 365 * 24 * 3600


@router.get("/login")
def login(request: Request, next: str = "live") -> HTMLResponse:
    """The form for a token."""
    shell = shell_of(request)
    fault = None if may_log_in(request) else shell.language(request)("login.encrypted")
    return shell.render(request, "login.html", person=None, fault=fault, back=own_place(next))


@router.post("/login")
async def log_in(request: Request, token: Annotated[str, Form()], back: Annotated[str, Form()] = "live") -> Response:
    """Take a token for a login of this browser."""
    shell = shell_of(request)
    if not may_log_in(request):
        values = {"fault": shell.language(request)("login.encrypted"), "back": own_place(back)}
        return shell.render(request, "login.html", person=None, status=403, **values)
    access = access_of(request)
    address = None if request.client is None else request.client.host
    try:
        made = await access.log_in(token, address)
    except AccessError as error:
        t = shell.language(request)
        fault = t("login.wrong") if isinstance(error, NotLoggedInError) else str(error)
        values = {"fault": fault, "back": own_place(back)}
        return shell.render(request, "login.html", person=None, status=error.status, **values)
    response = RedirectResponse(shell.render.link(request, own_place(back)), status_code=303)
    keep_login(request, response, made)
    return response


@router.post("/language")
def choose_language(
    request: Request, language: Annotated[str, Form()], back: Annotated[str, Form()] = "live"
) -> Response:
    """Remember the language in this browser."""
    shell = shell_of(request)
    response = RedirectResponse(shell.render.link(request, own_place(back)), status_code=303)
    if language in shell.render.languages:
        response.set_cookie(
            COOKIE, language, max_age=_YEAR_S, path="/", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    return response


def own_place(path: str) -> str:
    """A path of this station to go on to; another site's address, or a path that is none, leads to the live page.

    Example:
        >>> own_place("/history?product=bolt"), own_place("//elsewhere.example/"), own_place("login")
        ('history?product=bolt', 'live', 'live')
    """
    wanted = path.removeprefix("/")
    parts = urlsplit(wanted)
    other = parts.scheme or parts.netloc or wanted.startswith(("/", "\\")) or not wanted.isprintable()
    return "live" if other or parts.path in ("", "login", "logout", "language") else wanted


@leaving.post("/logout")
async def log_out(request: Request, person: Annotated[Person, Depends(needs(Role.LINE))]) -> Response:  # noqa: ARG001
    """End the login of this browser."""
    cookie = request.cookies.get(cookie_name(request))
    if cookie:
        await access_of(request).log_out(cookie)
    response = RedirectResponse(shell_of(request).render.link(request, "login"), status_code=303)
    drop_login(request, response)
    return response
