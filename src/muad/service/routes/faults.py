"""What went wrong, as HTTP says it: one shape, `{"error": sentence}`, and a status for each kind."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from muad.errors import CheckpointError, MuadError
from muad.service.history import DiskFullError, HistoryError, HistoryUnavailableError, NotRecordedError
from muad.service.judging.queue import BusyError
from muad.service.judging.uploads import UploadError
from muad.service.routes.schemas import Fault

_STATUS: tuple[tuple[type[MuadError], int], ...] = (
    (NotRecordedError, 404),
    (DiskFullError, 507),
    (HistoryUnavailableError, 503),
    (HistoryError, 500),
    (BusyError, 503),
    (CheckpointError, 409),
)
FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body is not what its content type says."},
    401: {"model": Fault, "description": "No token, or one that lets nobody in."},
    403: {"model": Fault, "description": "The token's role may not do this."},
    404: {"model": Fault, "description": "There is no such thing."},
    413: {"model": Fault, "description": "Too large."},
    422: {"model": Fault, "description": "Something that was sent cannot be."},
    429: {"model": Fault, "description": "Too often; Retry-After says when again."},
    503: {"model": Fault, "description": "Not now; Retry-After says when it is worth another try."},
    507: {"model": Fault, "description": "The disk is full."},
}
"""What every route may answer."""
GONE = 499
"""Where the client has closed the connection; for the log alone."""
_UNAVAILABLE_S = 5


def add_faults(app: FastAPI) -> None:
    """Have an application say what went wrong in that shape."""
    app.add_exception_handler(MuadError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _internal)


def status_of(error: MuadError) -> int:
    """The status that stands for a fault."""
    if isinstance(error, UploadError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422)


async def _told(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, MuadError):
        raise error
    status, headers = status_of(error), {}
    if status == 503:
        retry = error.retry_s if isinstance(error, BusyError) else _UNAVAILABLE_S
        headers["retry-after"] = str(math.ceil(retry))
    return JSONResponse({"error": str(error)}, status_code=status, headers=headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"][1:]) or "body"
    return JSONResponse({"error": f"{name} must be as described: {fault['msg']}."}, status_code=422)


async def _plain(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    """The client went away before it had sent all; nobody reads this."""
    return Response(status_code=GONE)


async def _internal(_: Request, __: Exception) -> JSONResponse:
    """A bug: the log has the traceback, the answer nothing of what is inside."""
    return JSONResponse({"error": "the station has a fault inside; its log says more."}, status_code=500)
