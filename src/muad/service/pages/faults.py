"""What a page says when something cannot be done: a page in the reader's language, with the station's own sentence."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from muad.errors import MuadError
from muad.service.access.faults import AccessError, ForbiddenError, NotLoggedInError
from muad.service.history import DiskFullError, HistoryError, HistoryUnavailableError, NotRecordedError

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotRecordedError, 404),
    (DiskFullError, 507),
    (HistoryUnavailableError, 503),
    (HistoryError, 500),
)


class PageRoute(APIRoute):
    """A route whose refusals are pages, because a person reads them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler, with faults made into pages; who has not logged in is sent there by the access."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except NotLoggedInError:
                raise
            except (MuadError, RequestValidationError) as error:
                return refusal(request, error)

        return handle


def refusal(request: Request, error: MuadError | RequestValidationError) -> Response:
    """The page of a fault.

    Args:
        request: What cannot be done.
        error: Why.
    """
    render = request.app.state.pages.render
    t = render.language(request)
    person = getattr(request.state, "person", None)
    status, heading, message = 422, t("refused.fault"), _sentence(error)
    if isinstance(error, AccessError):
        status = error.status
        if isinstance(error, ForbiddenError):
            heading = t("refused.forbidden")
    else:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), status)
        if status == 404:
            heading, message = t("refused.missing"), t("refused.missing_text")
    response: Response = render(request, "refused.html", person=person, status=status, heading=heading, message=message)
    return response


def _sentence(error: MuadError | RequestValidationError) -> str:
    if isinstance(error, MuadError):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
