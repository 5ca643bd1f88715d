"""The web application of a station: routes, refusals, beginning and end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from muad._version import __version__
from muad.service.access.root_path import BelowPath
from muad.service.access.securing import secure_app
from muad.service.pages.routes import add_pages
from muad.service.routes import (
    camera,
    events,
    exports,
    found,
    gateways,
    health,
    inspections,
    limits,
    models,
    reports,
    tokens,
)
from muad.service.routes.faults import add_faults
from muad.service.settings import StationSettings
from muad.service.station import Station

_ROUTES = (
    health,
    inspections,
    exports,
    found,
    models,
    limits,
    events,
    camera,
    gateways,
    tokens,
    reports,
)
MOST_BODY_BYTES = 2**20
"""Of any request but those that bring photographs or models."""


def create_app(station: Station) -> FastAPI:
    """The application; it begins and ends the station's work with its own."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(station.start)
        yield
        await run_in_threadpool(station.stop)

    app = FastAPI(
        title="muad station",
        summary="Judges photographs of parts, remembers what it judged, and what people said.",
        version=__version__,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        max_body_size=MOST_BODY_BYTES,
        lifespan=life,
    )
    app.state.station = station
    secure_app(app, station.access)
    if root_path := station.settings.service.root_path:
        app.add_middleware(BelowPath, root_path=root_path)
    add_faults(app)
    for routes in _ROUTES:
        app.include_router(routes.router)
    add_pages(app, station)
    return app


def interface() -> dict[str, Any]:
    """The OpenAPI document of every station: the contract that programs are written against."""
    with TemporaryDirectory(prefix="muad-") as folder:
        station = Station(Path(folder), StationSettings(), lambda _: None)
        try:
            return create_app(station).openapi()
        finally:
            station.close()
