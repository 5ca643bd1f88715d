"""History and one part: finding parts, looking at one closely, saying whether it is good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from muad.errors import ConfigError
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection, InspectionFilter, NotRecordedError
from muad.service.history.record import Saying
from muad.service.history.search import Order
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import Shell, shell_of
from muad.service.pages.language import Language
from muad.service.pages.rendering import SIGNS, as_time

router = APIRouter(route_class=PageRoute)
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
_ROWS = 50
_EARLIER = 12
_FIELDS = ("from", "until", "product", "word", "serial", "lot", "model", "score_from", "score_to")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Filters as they were typed.

    Attributes:
        fields: By their names in the form.
        verdict: Those that were ticked.
    """

    fields: dict[str, str]
    verdict: tuple[str, ...]

    def __getattr__(self, name: str) -> str:
        return self.fields[name]

    @property
    def query(self) -> str:
        """The same as the query of an address; empty if nothing was typed."""
        pairs = [(name, value) for name, value in self.fields.items() if value]
        pairs += [("verdict", verdict) for verdict in self.verdict]
        return f"?{urlencode(pairs)}" if pairs else ""


def chosen_filters(request: Request) -> Chosen:
    """What the address asks for."""
    query = request.query_params
    fields = {name: query.get(name, "").strip() for name in _FIELDS}
    return Chosen(fields, tuple(value for value in query.getlist("verdict") if value))


def wanted(chosen: Chosen, t: Language, zone: tzinfo | None) -> tuple[InspectionFilter, list[str]]:
    """The filter of the history, and what could not be understood of it.

    Args:
        chosen: As typed.
        t: Language of what is said.
        zone: Of the station's clocks.
    """
    values: dict[str, Any] = {"verdicts": chosen.verdict}
    faults = []
    named = {"product": "judged_as", "serial": "serial", "lot": "lot", "model": "model_id", "word": "word"}
    values |= {name: chosen.fields[field] or None for field, name in named.items()}
    for field, name in (("from", "since"), ("until", "until")):
        try:
            values[name] = as_time(chosen.fields[field], zone)
        except ValueError:
            faults.append(t("filter.no_time", value=chosen.fields[field][:40]))
    for name in ("score_from", "score_to"):
        text = chosen.fields[name].replace(",", ".")
        try:
            values[name] = float(text) if text else None
        except ValueError:
            faults.append(t("filter.no_number", value=text[:40]))
    try:
        return InspectionFilter(**values), faults
    except ConfigError as error:
        return InspectionFilter(), [*faults, str(error)]


@router.get("/history")
def history(request: Request, person: Operator, after: str | None = None) -> HTMLResponse:
    """The list of parts; with `after` its next rows alone."""
    shell = shell_of(request)
    chosen = chosen_filters(request)
    asked, faults = wanted(chosen, shell.language(request), shell.zone)
    try:
        found = shell.station.history.search(asked, after, _ROWS)
    except ConfigError as error:
        faults.append(str(error))
        found = shell.station.history.search(asked, None, _ROWS)
    rows: dict[str, Any] = {"parts": found.inspections, "next_cursor": found.cursor, "list_query": chosen.query}
    if after is not None:
        return shell.piece(request, "history_rows.html", person, **rows)
    return shell.page(
        request,
        "history.html",
        person,
        "history",
        chosen=chosen,
        faults=faults,
        products=shell.products(),
        models=shell.station.models.all(),
        verdicts=tuple(SIGNS),
        may_export=person.role.may(Role.ENGINEER),
        export_query=_export_query(asked),
        **rows,
    )


@router.get("/history/{inspection_id}")
def part(request: Request, person: Operator, inspection_id: str) -> HTMLResponse:
    """One part, closely."""
    shell = shell_of(request)
    shown = shell.station.history.get(inspection_id)
    chosen = chosen_filters(request)
    newer, older = _neighbours(shell, shown, chosen, shell.language(request))
    return shell.page(
        request,
        "part.html",
        person,
        "history",
        newer=newer,
        older=older,
        **part_values(shell, shown, person) | {"list_query": chosen.query},
    )


@router.post("/history/{inspection_id}/word")
def say(
    request: Request,
    person: Operator,
    inspection_id: str,
    word: Annotated[str, Form()],
    defect_type: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
    from_page: Annotated[str, Form()] = "history",
) -> Response:
    """Keep what a person says, and show it where it was said."""
    shell = shell_of(request)
    fault = None
    try:
        shell.station.history.add_word(
            inspection_id,
            who=person.name,
            word=cast(Saying, word),  # the history refuses what it does not know
            defect_type=defect_type.strip() or None,
            note=note.strip() or None,
        )
        shell.station.feed.changed()
    except NotRecordedError:
        raise
    except ConfigError as error:
        fault = str(error)
    shown = shell.station.history.get(inspection_id)
    if fault is None and from_page == "list":
        return shell.piece(request, "said.html", person, said=shown.word)
    if request.headers.get("hx-request") != "true" and fault is None:
        path = "review" if from_page == "review" else f"history/{inspection_id}{chosen_filters(request).query}"
        return RedirectResponse(shell.render.link(request, path), status_code=303)
    values = part_values(shell, shown, person) | {"word_fault": fault, "list_query": chosen_filters(request).query}
    return shell.piece(
        request, "part_words.html", person, page="history", status=200 if fault is None else 422, **values
    )


def part_values(shell: Shell, shown: Inspection, person: Person) -> dict[str, Any]:
    """What a part's page shows.

    Args:
        shell: The pages.
        shown: The part.
        person: Who looks.
    """
    memory = shell.station.history
    earlier: tuple[Inspection, ...] = ()
    if shown.serial:
        same = memory.search(InspectionFilter(serial=shown.serial, until=shown.at), limit=_EARLIER)
        earlier = tuple(one for one in same.inspections if one.id != shown.id)
    names = {model.id: model.name for model in shell.station.models.all()}
    return {
        "part": shown,
        "words": memory.words(shown.id),
        "word_fault": None,
        "earlier": earlier,
        "shadows": memory.shadows([shown.id]).get(shown.id, []),
        "model_name": names.get(shown.model_id or "", ""),
        "defect_types": shell.defect_types(),
        "may_say": person.role.may(Role.OPERATOR),
        "list_query": "",
    }


def _neighbours(shell: Shell, shown: Inspection, chosen: Chosen, t: Language) -> tuple[str | None, str | None]:
    """Addresses of the newer and the older part of the list it was opened from."""
    asked, _ = wanted(chosen, t, shell.zone)
    memory = shell.station.history
    places = []
    within: tuple[tuple[InspectionFilter, Order], ...] = (
        (replace(asked, since=shown.at), "oldest"),
        (replace(asked, until=shown.at), "newest"),
    )
    for wanted_parts, order in within:
        found = memory.search(wanted_parts, limit=2, order=order).inspections
        other = next((one for one in found if one.id != shown.id), None)
        places.append(None if other is None else f"history/{other.id}{chosen.query}")
    return places[0], places[1]


def _export_query(asked: InspectionFilter) -> str:
    """The filter as the query of an export over HTTP."""
    pairs: list[tuple[str, str]] = [("verdict", verdict) for verdict in asked.verdicts]
    named = {"model_id": "model", "judged_as": "judged_as", "serial": "serial", "lot": "lot", "word": "word"}
    pairs += [(name, getattr(asked, field)) for field, name in named.items() if getattr(asked, field) is not None]
    pairs += [(name, at.isoformat()) for name in ("since", "until") if (at := getattr(asked, name)) is not None]
    scores = ("score_from", "score_to")
    pairs += [(name, repr(score)) for name in scores if (score := getattr(asked, name)) is not None]
    return f"?{urlencode(pairs)}" if pairs else ""
