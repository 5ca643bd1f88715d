"""Puts the access of a station in front of its web application."""

from __future__ import annotations

import math
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from muad.service.access.access import Access
from muad.service.access.exposure import LOOPBACK_NAMES
from muad.service.access.faults import AccessError, NotLoggedInError
from muad.service.access.guard import cookie_name
from muad.service.access.headers import SecureHeaders
from muad.service.access.hosts import KnownHosts
from muad.service.access.logins import Login
from muad.service.history.ids import now


def secure_app(app: FastAPI, access: Access) -> None:
    """Headers, names and refusals for everything the application answers; its routes bring their own guards."""
    app.state.access = access
    names = {*access.settings.hosts, *(LOOPBACK_NAMES if access.settings.open or access.settings.hosts else ())}
    app.add_middleware(KnownHosts, names=names, direct=access.settings.open)
    app.add_middleware(SecureHeaders)  # around everything, refusals too
    app.add_exception_handler(AccessError, _refused)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, AccessError):
        raise error
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    root = request.scope.get("root_path", "").rstrip("/")
    path = request.scope["path"].removeprefix(root)
    if isinstance(error, NotLoggedInError) and wants_page and not path.startswith("/v1"):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{root}/login?next={quote(path + query, safe='')}", status_code=303)
    headers = {}
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="muad"'
    if error.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    return JSONResponse({"error": str(error)}, status_code=error.status, headers=headers)


def keep_login(request: Request, response: Response, login: Login) -> None:
    """Give the browser the cookie of a login just made."""
    response.set_cookie(
        cookie_name(request),
        login.cookie or "",
        max_age=max(0, int((login.expires_at - now()).total_seconds())),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def drop_login(request: Request, response: Response) -> None:
    """Take the cookie of a login back."""
    response.delete_cookie(
        cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
