"""The table in docs/station-security.md is what the application does: route by route, role by role."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Mount
from tests.service.security.conftest import Served

from muad.service.access.guard import Needs, public
from muad.service.access.roles import Role
from muad.service.app import create_app
from muad.service.station import Station

PAGE = Path(__file__).resolve().parents[3] / "docs" / "station-security.md"
WITHOUT_GUARD = {
    "GET /v1/openapi.json": "the description of the interface, which is published anyway",
    "GET /static/…": "scripts, styles and pictures of the pages, the same in every station",
}
PLACEHOLDER = "0" * 32


def guards(dependant: Dependant) -> Iterator[str]:
    """What a route asks for, in its own dependencies and those below."""
    for below in dependant.dependencies:
        if isinstance(below.call, Needs):
            yield below.call.role.value
        elif below.call is public:
            yield "public"
        yield from guards(below)


def routes(station: Station) -> Iterator[tuple[str, RouteContext]]:
    """Everything that the application answers, as `METHOD /path`."""
    for route in iter_route_contexts(create_app(station).routes):
        if isinstance(route.original_route, Mount):
            yield f"GET {route.path}/…", route
        else:
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield f"{method} {route.path}", route


def asked_for(name: str, route: RouteContext) -> str:
    """The least role of a route."""
    if name in WITHOUT_GUARD:
        return "public"
    found = set(guards(route.dependant)) if hasattr(route, "dependant") else set()
    assert found, f"{name} lets everybody in: it must depend on `needs(Role.…)` or on `public`"
    assert len(found) == 1, f"{name} asks for {sorted(found)}: it must ask for one role"
    return found.pop()


def table() -> dict[str, str]:
    """The table of the page."""
    return dict(re.findall(r"^\| `([A-Z]+ /[^`]*)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_route_asks_for_the_role_that_the_page_states(served: Served) -> None:
    found = {name: asked_for(name, route) for name, route in routes(served.station)}
    rows = "\n".join(
        f"| `{name}` | {role} |" for name, role in sorted(found.items(), key=lambda row: row[0].split(" ")[::-1])
    )
    assert table() == found, f"the table of {PAGE.name} must be:\n{rows}"


@pytest.mark.parametrize("role", [None, *Role])
def test_every_route_lets_in_who_the_page_says_and_nobody_else(served: Served, role: Role | None) -> None:
    wrong = []
    with served.client(role) as client:
        for name, needed in table().items():
            method, _, path = name.partition(" ")
            path = re.sub(r"\{\w+(?::\w+)?\}", PLACEHOLDER, path).replace("…", "nothing")
            with client.stream(method, path, follow_redirects=False) as answer:  # a stream of events never ends
                status = answer.status_code
            if needed == "public":
                allowed = status != 403 and (status != 401 or path == "/login")
            elif role is None:
                allowed = status == 401
            elif role.may(Role(needed)):
                allowed = status not in {401, 403}
            else:
                allowed = status == 403
            if not allowed or status >= 500:
                wrong.append(f"{name} answers {status} to {role}")
    assert wrong == []
