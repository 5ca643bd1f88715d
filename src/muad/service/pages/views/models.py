"""Models: which judges, which judges along, where they disagree, and how one takes the other's place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from muad.errors import MuadError
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import InspectionFilter, Model, now
from muad.service.history.record import ModelState
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import Shell, shell_of
from muad.service.pages.rendering import SIGNS

router = APIRouter(route_class=PageRoute)
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
MOST_BUNDLE_BYTES = 2**32
"""Of a bundle that is loaded through the page."""
_DONE = ("load", "shadow", "unshadow", "promote", "rollback")
_PAIRS = 60
_LATELY = timedelta(days=7)


@router.get("/models")
def models(request: Request, person: Engineer, did: str = "", name: str = "") -> HTMLResponse:
    """All models and what can be done with them."""
    shell = shell_of(request)
    told = shell.language(request)(f"models.did_{did}", name=name) if did in _DONE else None
    return _page(shell, request, person, told=told)


@router.post("/models", max_body_size=MOST_BUNDLE_BYTES)
def load(request: Request, person: Engineer, bundle: Annotated[UploadFile, File()]) -> Response:
    """Take a bundle in beside the model that judges."""
    shell = shell_of(request)

    def take() -> Model:
        name = (bundle.filename or "bundle.muad").replace("\\", "/").rsplit("/", 1)[-1]
        with shell.station.models.upload(name) as place:
            with place.open("wb") as file:
                while piece := bundle.file.read(2**20):
                    file.write(piece)
            return shell.station.models.load(place, who=person.name, name=name)

    return _done(shell, request, person, "load", take)


@router.post("/models/rollback")
def roll_back(request: Request, person: Engineer, reason: Annotated[str, Form()]) -> Response:
    """Let the model that judged before judge again."""
    shell = shell_of(request)
    why = reason.strip()
    return _done(
        shell, request, person, "rollback", lambda: shell.station.models.roll_back(who=person.name, reason=why)
    )


@router.post("/models/{model_id}/shadow")
def shadow(request: Request, person: Engineer, model_id: str) -> Response:
    """Let a model judge along."""
    shell = shell_of(request)
    return _done(
        shell, request, person, "shadow", lambda: shell.station.models.put_in_shadow(model_id, who=person.name)
    )


@router.post("/models/{model_id}/unshadow")
def unshadow(request: Request, person: Engineer, model_id: str) -> Response:
    """Let it judge along no more."""
    shell = shell_of(request)
    return _done(shell, request, person, "unshadow", lambda: shell.station.models.rest(model_id, who=person.name))


@router.post("/models/{model_id}/promote")
def promote(request: Request, person: Engineer, model_id: str, reason: Annotated[str, Form()]) -> Response:
    """Let a model judge from the next part on."""
    shell = shell_of(request)
    why = reason.strip()
    return _done(
        shell, request, person, "promote", lambda: shell.station.models.promote(model_id, who=person.name, reason=why)
    )


@router.get("/models/{model_id}/compare")
def compare(request: Request, person: Engineer, model_id: str) -> HTMLResponse:
    """A shadow beside what was answered."""
    shell = shell_of(request)
    memory = shell.station.history
    other = shell.station.models.get(model_id)
    counts = memory.agreement(model_id)
    total = sum(counts.values())
    same = sum(count for (before, after), count in counts.items() if before == after)
    seen = {verdict for pair in counts for verdict in pair}
    return shell.page(
        request,
        "compare.html",
        person,
        "models",
        active=shell.station.models.active.facts,
        shadow=other,
        counts=counts,
        total=total,
        agree=same / total if total else None,
        disagreeing=total - same,
        verdicts=tuple(verdict for verdict in SIGNS if verdict in seen),
        pairs=memory.shadowed(model_id, only_other=True, limit=_PAIRS),
    )


def _done(shell: Shell, request: Request, person: Person, did: str, act: Callable[[], Model]) -> Response:
    """Do something with a model and say so, or say why not."""
    try:
        model = act()
    except MuadError as error:
        return _page(shell, request, person, fault=str(error), status=422)
    shell.station.feed.changed()
    place = shell.render.link(request, "models", did=did, name=model.name)
    return RedirectResponse(place, status_code=303)


def _page(
    shell: Shell,
    request: Request,
    person: Person,
    *,
    told: str | None = None,
    fault: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    memory = shell.station.history
    known = shell.station.models.all()
    changes = memory.changes("model")
    values: dict[str, Any] = {
        "models": known,
        "judged": memory.counts(InspectionFilter(since=now() - _LATELY), by="model_id"),
        "former": former_model(known, [(change.subject, change.new) for change in changes]),
        "changes": changes[:30],
        "names": {model.id: model.name for model in known},
        "states": get_args(ModelState),
        "may_change": person.role.may(Role.ENGINEER),
    }
    return shell.page(request, "models.html", person, "models", told=told, fault=fault, status=status, **values)


def former_model(known: list[Model], changes: list[tuple[str, str | None]]) -> Model | None:
    """The model that judged before the one that judges now.

    Args:
        known: All models.
        changes: Of models, the newest first: which one, and what it was from then on.
    """
    by_id = {model.id: model for model in known}
    current = next((model.id for model in known if model.state == "active"), None)
    order = (subject for subject, state in changes if state == "active")
    return next((by_id[subject] for subject in order if subject != current and subject in by_id), None)
