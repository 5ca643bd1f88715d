"""A small web application behind the station's doors, on a real history."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.testclient import TestClient

from muad.service.access.access import Access
from muad.service.access.guard import access_of, needs, public
from muad.service.access.roles import Person, Role
from muad.service.access.securing import drop_login, keep_login, secure_app
from muad.service.access.settings import AccessSettings
from muad.service.access.tokens import Tokens
from muad.service.history.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'history.sqlite'}")
    yield made
    made.close()


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database)


@pytest.fixture
def secured(database: Database) -> Callable[..., FastAPI]:
    """An application with one route for each role: `secured(open=True)` as `[access]` would say it."""

    def make(**settings: Any) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        secure_app(app, Access(database, AccessSettings(**settings)))
        for role in Role:

            async def answer(person: Annotated[Person, Depends(needs(role))]) -> dict[str, str]:
                return {"name": person.name, "role": person.role}

            app.add_api_route(f"/v1/{role}", answer, methods=["GET", "POST"])

        @app.get("/healthz", dependencies=[Depends(public)])
        async def health() -> str:
            return "ok"

        @app.post("/v1/saying")
        async def saying(person: Annotated[Person, Depends(needs(Role.OPERATOR))], word: Annotated[str, Form()]) -> str:
            return f"{person.name}: {word}"

        @app.get("/live")
        async def live(person: Annotated[Person, Depends(needs(Role.OPERATOR))]) -> str | None:
            return person.csrf

        @app.post("/login", dependencies=[Depends(public)])
        async def log_in(request: Request, token: Annotated[str, Form()], response: Response) -> str:
            login = await access_of(request).log_in(token, "192.0.2.1")
            keep_login(request, response, login)
            return login.csrf

        @app.post("/logout")
        async def log_out(
            request: Request, response: Response, _: Annotated[Person, Depends(needs(Role.LINE))]
        ) -> None:
            from muad.service.access.guard import cookie_name

            await access_of(request).log_out(request.cookies[cookie_name(request)])
            drop_login(request, response)

        return app

    return make


@pytest.fixture
def client(secured: Callable[..., FastAPI]) -> TestClient:
    return TestClient(secured(), base_url="https://station.test")


@pytest.fixture
def token_of(tokens: Tokens) -> Callable[[Role], dict[str, str]]:
    """The header that a role's token is sent in."""

    def header(role: Role) -> dict[str, str]:
        return {"authorization": f"Bearer {tokens.make(f'a {role}', role, who='test').text}"}

    return header
