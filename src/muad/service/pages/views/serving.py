"""What pages load besides themselves: style sheet, scripts, icons, and pictures of parts."""

from __future__ import annotations

import mimetypes
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from muad.service.access.guard import needs, public
from muad.service.access.headers import PICTURE_POLICY
from muad.service.access.roles import Person, Role
from muad.service.history import NotRecordedError
from muad.service.pages.frame import shell_of

router = APIRouter()
_FOREVER = "public, max-age=31536000, immutable"
_A_DAY = "private, max-age=86400, immutable"
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]


@router.get("/static/{name:path}", dependencies=[Depends(public)])
async def static(request: Request, name: str) -> Response:
    """A file of the package; its address changes with its content, so browsers keep it."""
    content = shell_of(request).render.static.get(name)
    if content is None:
        raise NotRecordedError(f"file must be one of the pages', got {name[:80]!r}.")
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return Response(content, media_type=kind, headers={"cache-control": _FOREVER})


@router.get("/pictures/{inspection_id}/photo")
def photo(request: Request, person: Operator, inspection_id: str, width: int) -> Response:  # noqa: ARG001
    """A photograph as wide as it is shown."""
    shell = shell_of(request)
    content = shell.shown.photo(shell.station.history.get(inspection_id), width)
    return _picture(content, "image/jpeg")


@router.get("/pictures/{inspection_id}/heat")
def heat(request: Request, person: Operator, inspection_id: str) -> Response:  # noqa: ARG001
    """The anomaly map as a layer over a photograph."""
    shell = shell_of(request)
    return _picture(shell.shown.heat(shell.station.history.get(inspection_id)), "image/png")


def _picture(content: bytes, kind: str) -> Response:
    headers = {"cache-control": _A_DAY, "content-security-policy": PICTURE_POLICY}
    return Response(content, media_type=kind, headers=headers)
