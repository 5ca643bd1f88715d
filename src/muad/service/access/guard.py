"""Asked before every route: who is it, and may they. A route without one of these is a fault that a test finds.

@router.get("/v1/inspections")
async def listed(person: Annotated[Person, Depends(needs(Role.OPERATOR))]) -> ...
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.requests import HTTPConnection

from muad.service.access.access import Access
from muad.service.access.exposure import is_loopback
from muad.service.access.faults import ForbiddenError, NotLoggedInError
from muad.service.access.hosts import host_name
from muad.service.access.roles import Person, Role

COOKIE = "__Host-muad-login"
"""The cookie of a login over https; browsers take it for this host alone, and never send it unencrypted."""
LOCAL_COOKIE = "muad-login"
"""The one on the same machine without encryption, where the stricter one is not taken."""
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})

# What the OpenAPI document says of the ways in.
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token in the header `Authorization`.")
_LOGIN = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="login", description="The page's login.")


class Needs:
    """Lets in who has a role, or one above it.

    Attributes:
        role: The lowest that is let in.
    """

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self,
        request: Request,
        token: Annotated[object, Security(_BEARER)],  # noqa: ARG002
        login: Annotated[object, Security(_LOGIN)],  # noqa: ARG002
    ) -> Person:
        """Who asks.

        Raises:
            AccessError: Nobody who is known, without the right, or too often.
        """
        person = await _who(request)
        if not person.role.may(self.role):
            raise ForbiddenError(
                f"role must be {self.role} or above for this, got {person.role}. Ask for another token."
            )
        if person.token_id is None or person.csrf is not None:  # a browser sends these along by itself
            await _refuse_other_sites(request, person)
        request.state.person = person
        return person


async def public(request: Request) -> None:
    """Lets everybody in, each address as often as is allowed."""
    access_of(request).nobody(_address(request))
    if request.method not in _READING:
        _refuse_other_origins(request)


_NEEDS = {role: Needs(role) for role in Role}


def needs(role: Role) -> Needs:
    """What a route depends on that this role and those above it may ask for."""
    return _NEEDS[role]


def access_of(request: HTTPConnection) -> Access:
    """The access of the station that answers."""
    access: Access = request.app.state.access
    return access


def cookie_name(request: HTTPConnection) -> str:
    """The name of the login's cookie, by how the station is reached."""
    return COOKIE if request.url.scheme == "https" else LOCAL_COOKIE


def may_log_in(request: HTTPConnection) -> bool:
    """Whether a login's cookie would be safe: encrypted, or on the same machine."""
    return request.url.scheme == "https" or is_loopback(host_name(request.headers.get("host", "")))


async def _who(request: Request) -> Person:
    access, address = access_of(request), _address(request)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text:
        if not access.settings.open:
            return await access.by_token(text.strip(), address)
    elif scheme and not access.settings.open:
        raise NotLoggedInError("authorization must be `Bearer` and a token, got another scheme.")
    if access.settings.open:
        return access.anyone(address)
    if cookie := request.cookies.get(cookie_name(request)):
        return await access.by_cookie(cookie, address)
    access.nobody(address)
    raise NotLoggedInError("a token is needed: send it as `Authorization: Bearer TOKEN`, or log in on the page.")


async def _refuse_other_sites(request: Request, person: Person) -> None:
    if request.method in _READING:
        return
    _refuse_other_origins(request)
    if person.csrf is None:
        return
    sent = request.headers.get(CSRF_HEADER)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent is None and kind == "application/x-www-form-urlencoded":  # a form with files is read by its route alone
        field = (await request.form()).get(CSRF_FIELD)
        sent = field if isinstance(field, str) else None
    if sent is None or not secrets.compare_digest(sent.encode(), person.csrf.encode()):
        raise ForbiddenError("a post of the page must carry its secret, got none or an old one. Load the page again.")


def _refuse_other_origins(request: Request) -> None:
    """Refuse what a browser sends on behalf of another site's page."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site in _OWN_SITE
    else:
        own = origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if not own:
        raise ForbiddenError("a post must come from the station's own pages, got one from another site.")


def _address(request: HTTPConnection) -> str | None:
    return None if request.client is None else request.client.host
