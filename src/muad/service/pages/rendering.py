"""From values to a page in the reader's language: templates, texts, links, figures of parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import partial
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from muad.decisions.regions import Region
from muad.runtime.prediction import STOPPED
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection
from muad.service.pages.drawing.gauge import gauge
from muad.service.pages.language import COOKIE, Language, chosen, read_languages

SIGNS: Final = {
    "pass": "pass",
    "review": "review",
    "reject": "reject",
    "unknown product": "unknown",
    "no verdict": "none",
    "error": "error",
}
"""What a verdict is called in style sheet, icons and texts; in the order in which pages show them."""
_PAGES = (
    ("live", Role.OPERATOR),
    ("history", Role.OPERATOR),
    ("review", Role.OPERATOR),
    ("limits", Role.OPERATOR),
    ("trends", Role.OPERATOR),
    ("models", Role.ENGINEER),
)


class Renderer:
    """Makes pages.

    Args:
        zone: Of the station's clocks; None for the machine's.
    """

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.zone = zone
        self.languages = read_languages()
        self.static = read_static()
        self._versions = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self.static.items()}
        self._environment = Environment(
            loader=PackageLoader("muad.service.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def language(self, request: Request) -> Language:
        """The language of a request."""
        return chosen(self.languages, request.cookies.get(COOKIE), request.headers.get("accept-language", ""))

    def link(self, request: Request, path: str, **query: str) -> str:
        """An address of this station, below the root path of a proxy in front."""
        return _link(_root(request), path) + (f"?{urlencode(query)}" if query else "")

    def __call__(
        self,
        request: Request,
        template: str,
        *,
        person: Person | None,
        status: int = 200,
        **values: Any,  # noqa: ANN401  whatever the template shows
    ) -> HTMLResponse:
        """A page as an answer.

        Args:
            request: What is answered.
            template: File in `templates/`.
            person: Who asks; None before a login.
            status: Of HTTP.
            values: What the template shows.
        """
        t = self.language(request)
        link = partial(_link, _root(request))
        context: dict[str, Any] = {
            "t": t,
            "languages": self.languages,
            "person": person,
            "csrf_token": (person.csrf if person else None) or "",
            "pages": [name for name, role in _PAGES if person is not None and person.role.may(role)],
            "page": "",
            "here": _here(request),
            "waiting": 0,
            "many_waiting": False,
            "drifts": 0,
            "problems": (),
            "station_name": "",
            "link": link,
            "static": lambda name: link(f"static/{name}?v={self._versions[name]}"),
            "sign": SIGNS.__getitem__,
            "stopped": STOPPED,
            "has_photo": has_photo,
            "photo": lambda part, width: link(f"pictures/{part.id}/photo?width={width}"),
            "heat": lambda part: link(f"pictures/{part.id}/heat"),
            "points": points,
            "gauge": lambda part: Markup(gauge(part.score, part.review_above, part.reject_above, t)),
            "small_gauge": lambda part: Markup(gauge(part.score, part.review_above, part.reject_above, t, small=True)),
            "clock": lambda at: t.clock(at.astimezone(self.zone)),
            "clock_short": lambda at: f"{at.astimezone(self.zone):%H:%M}",
            "moment": lambda at: t.moment(at.astimezone(self.zone)),
        }
        text = self._environment.get_template(template).render(context | values)
        response = HTMLResponse(text, status_code=status)
        response.headers["vary"] = "cookie, accept-language"
        return response


def read_static() -> dict[str, bytes]:
    """Every file below `static/`, by its path there."""
    root = files("muad.service.pages").joinpath("static")
    found: dict[str, bytes] = {}
    folders = [("", root)]
    for prefix, folder in folders:
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            else:
                found[prefix + entry.name] = entry.read_bytes()
    return found


def has_photo(part: Inspection) -> bool:
    """Whether there is a photograph that can be shown."""
    return part.kept.photo is not None and not part.pictures_removed and part.width is not None


def points(region: Region) -> str:
    """The outline of a region for a polygon of SVG, through the middles of its pixels."""
    return " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in _thick(region.polygon))


def _thick(polygon: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """A polygon that shows: a single pixel or a line of them becomes a box round it."""
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    if len(polygon) > 2 and max(xs) > min(xs) and max(ys) > min(ys):
        return [(float(x), float(y)) for x, y in polygon]
    left, right, top, bottom = min(xs) - 1.5, max(xs) + 1.5, min(ys) - 1.5, max(ys) + 1.5
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def as_time(text: str, zone: tzinfo | None) -> datetime | None:
    """What a field for date and time holds, on the station's clocks; None where it is empty.

    Raises:
        ValueError: It is no date.
    """
    if not text:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        return at
    return at.astimezone() if zone is None else at.replace(tzinfo=zone)


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _link(root: str, path: str) -> str:
    """An address of this station; a query is quoted already, a name in its path is not."""
    return f"{root}/{quote(path, safe='/?=&%.-_~')}"


def _here(request: Request) -> str:
    path = request.scope["path"].removeprefix(_root(request))
    return str(path) + (f"?{request.url.query}" if request.url.query else "")
