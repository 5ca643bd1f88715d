"""Limits of a product: what they promise, what they did, what others would change, and setting them with a reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from muad.decisions.limit_setting import CategoryResult
from muad.errors import MuadError
from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.history import Inspection, InspectionFilter, NotRecordedError, now
from muad.service.history.history import Scores as Came
from muad.service.history.search import MOST_ROWS
from muad.service.pages.drawing.histogram import Scores, histogram
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import Shell, shell_of
from muad.service.pages.language import Language
from muad.service.pages.preview import CONFIDENCE, Kept, Pair, Part, kept, moves

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

router = APIRouter(route_class=PageRoute)
Operator = Annotated[Person, Depends(needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(needs(Role.ENGINEER))]
DAYS = (1, 7, 30, 90)
"""How far back what came is looked at."""
_GOOD_S = 20.0  # how long scores are good for a preview while a handle is moved
_SHOWN = 12  # parts that would be judged otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a product's scores."""

    asked: InspectionFilter
    promised: CategoryResult | None
    calibration: tuple[float, ...]
    came: Came
    spoken: tuple[Inspection, ...]

    @property
    def pair(self) -> Pair:
        return in_force(self.promised)

    def said(self, word: str) -> list[float]:
        return [part.score for part in self.spoken if part.word == word and part.score is not None]

    def unspoken(self) -> list[float]:
        left = Counter(self.came.scores.tolist())
        left.subtract(part.score for part in self.spoken if part.score is not None)
        return list(left.elements())


@router.get("/limits")
def first(request: Request, person: Operator) -> Response:
    """The limits of the first product."""
    shell = shell_of(request)
    products = shell.products()
    if products:
        return RedirectResponse(shell.render.link(request, f"limits/{products[0]}"), status_code=303)
    return shell.page(request, "limits.html", person, "limits", products=(), product=None, told=None, fault=None)


@router.get("/limits/{product:path}/preview")
def preview(
    request: Request, person: Operator, product: str, review: str = "", reject: str = "", days: int = 7
) -> HTMLResponse:
    """What other limits would keep and change; nothing is set."""
    shell = shell_of(request)
    key = ("limits", product, days, shell.station.models.active.id, shell.station.feed.changes)
    known = shell.remembered.get(key, _GOOD_S, lambda: _known(shell, product, days))
    t = shell.language(request)
    try:
        tried = Pair(_number(review), _number(reject))
        fault = None if tried.is_ordered else t("limits.fault_order")
    except ValueError:
        tried, fault = known.pair, t("filter.no_number", value=f"{review} {reject}"[:40])
    return shell.piece(request, "limits_preview.html", person, **_preview(shell, known, tried, t, fault))


@router.get("/limits/{product:path}")
def limits(request: Request, person: Operator, product: str, days: int = 7, told: str = "") -> HTMLResponse:
    """The page of a product."""
    shell = shell_of(request)
    t = shell.language(request)
    return _page(shell, request, person, product, days, told=t("limits.was_set", product=product) if told else None)


@router.post("/limits/{product:path}")
def set_limits(
    request: Request,
    person: Engineer,
    product: str,
    reason: Annotated[str, Form()],
    review: Annotated[str, Form()] = "",
    reject: Annotated[str, Form()] = "",
) -> Response:
    """Set both limits, with who and why."""
    shell = shell_of(request)
    t = shell.language(request)
    _require(shell, product)
    try:
        values = {"review": _number(review), "reject": _number(reject)}
        shell.station.limits.set(shell.station.models.active, product, values, who=person.name, reason=reason.strip())
    except ValueError:
        fault = t("filter.no_number", value=f"{review} {reject}"[:40])
    except MuadError as error:
        fault = str(error)
    else:
        shell.station.feed.changed()
        return RedirectResponse(shell.render.link(request, f"limits/{product}", told="set"), status_code=303)
    return _page(shell, request, person, product, 7, fault=fault, status=422)


def _page(
    shell: Shell,
    request: Request,
    person: Person,
    product: str,
    days: int,
    *,
    told: str | None = None,
    fault: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    known = _known(shell, product, days)
    t = shell.language(request)
    since = {"": known.unspoken(), "good": known.said("good"), "bad": known.said("bad")}
    scores = Scores(calibration=known.calibration, since=since)
    return shell.page(
        request,
        "limits.html",
        person,
        "limits",
        status=status,
        products=shell.products(),
        product=product,
        told=told,
        fault=fault,
        days=days if days in DAYS else DAYS[1],
        day_choices=DAYS,
        drawn=histogram(scores, known.pair.review, known.pair.reject, t),
        limits=known.pair,
        calibration_count=len(known.calibration),
        since_count=len(since[""]),
        known_good_count=len(since["good"]),
        known_bad_count=len(since["bad"]),
        may_set=person.role.may(Role.ENGINEER),
        changes=[change for change in shell.station.history.changes("limit")
                 if change.subject.startswith(f"{product}.") or change.subject == product][:30],
        **_preview(shell, known, known.pair, t, None),
    )  # fmt: skip


def in_force(found: CategoryResult | None) -> Pair:
    """The limits of a product as they are now; none without a calibration."""
    return Pair(None, None) if found is None else Pair(found.review.value, found.reject.value)


def _require(shell: Shell, product: str) -> None:
    if product not in shell.products():
        raise NotRecordedError(f"product must be one of the model's, got {product[:80]!r}.")


def _known(shell: Shell, product: str, days: int) -> _Known:
    _require(shell, product)
    memory, since = shell.station.history, now() - timedelta(days=days if days in DAYS else DAYS[1])
    model = shell.station.models.active
    promised, judging = shell.station.limits.read(model).get(product), model.predictor.limits
    asked = InspectionFilter(judged_as=product, since=since, model_id=model.id)
    return _Known(
        asked=asked,
        promised=promised,
        calibration=tuple(judging.calibration.get(product, ())) if judging else (),
        came=memory.scores(product, since, model=model.id),
        spoken=tuple(memory.stream(replace(asked, word="any"))),
    )


def _number(text: str) -> float | None:
    """A field for a number; None where it is empty."""
    return float(text.strip().replace(",", ".")) if text.strip() else None


def _preview(shell: Shell, known: _Known, tried: Pair, t: Language, fault: str | None) -> dict[str, Any]:
    """Values of the table beside the handles."""
    if fault is not None:
        return {"preview_fault": fault, "rates": (), "moves": (), "moved": ()}
    before, after = (
        kept(pair, known.calibration, known.came.scores, known.said("good"), known.said("bad"))
        for pair in (known.pair, tried)
    )
    changed, places = moves(known.pair, tried, known.came.scores)
    shown = _latest(shell, known, known.came.scores[places])
    rows = [*promised_rows(known.promised, tried == known.pair, t), *rate_rows(before, after, t)]
    return {"preview_fault": None, "rates": rows, "moves": changed, "moved": shown}


def _latest(shell: Shell, known: _Known, scores: Float[np.ndarray, " n"]) -> list[Inspection]:
    """The latest parts that have one of these scores."""
    if not scores.size:
        return []
    wanted = replace(known.asked, score_from=float(scores.min()), score_to=float(scores.max()))
    having, found, cursor = set(scores.tolist()), list[Inspection](), None
    while len(found) < _SHOWN:
        page = shell.station.history.search(wanted, cursor, MOST_ROWS)
        found += [part for part in page.inspections if part.score in having]
        cursor = page.cursor
        if cursor is None:
            break
    return found[:_SHOWN]


def promised_rows(promised: CategoryResult | None, unmoved: bool, t: Language) -> list[dict[str, Any]]:
    """What calibration promises of both limits; nothing of a limit that was set or is moved by hand.

    Args:
        promised: Of the limits in force; None without limits.
        unmoved: Whether those in force are the ones that are tried.
        t: The reader's language.
    """
    rows = []
    if promised is not None:
        for name, limit in (("limits.promised_reject", promised.reject), ("limits.promised_review", promised.review)):
            now_said = {"share": t.percent(limit.carried), "interval": ""}
            if limit.bound is not None:
                confidence = t.percent(promised.rates.confidence)
                now_said["interval"] = t("limits.bound", bound=t.percent(limit.bound), confidence=confidence)
            then_said = now_said if unmoved else {"share": t.percent(None), "interval": ""}
            note = t("limits.by_hand") if limit.by_hand else t("limits.promised_note", count=t.whole(limit.count))
            rows.append({"name": t(name), "note": note, "now": now_said, "then": then_said})
    return rows


def rate_rows(before: Kept, after: Kept, t: Language) -> list[dict[str, Any]]:
    """What limits keep, row by row: now and with those that are tried.

    Args:
        before: Of the limits in force.
        after: Of those that are tried.
        t: The reader's language.
    """
    notes = {
        "good": t(
            "limits.calibration_note", count=t.whole(before.good_rejected.trials), confidence=t.percent(CONFIDENCE)
        ),
        "came": t("limits.came_note", count=t.whole(before.rejected.trials)),
        "right": t("limits.words_note", count=t.whole(before.known_good_stopped.trials)),
        "wrong": t("limits.words_note", count=t.whole(before.known_bad_passed.trials)),
    }
    rows = (
        ("limits.good_rejected", "good", before.good_rejected, after.good_rejected),
        ("limits.good_stopped_calibration", "good", before.good_stopped, after.good_stopped),
        ("limits.came_reject", "came", before.rejected, after.rejected),
        ("limits.came_stopped", "came", before.stopped, after.stopped),
        ("limits.good_stopped", "right", before.known_good_stopped, after.known_good_stopped),
        ("limits.bad_passed", "wrong", before.known_bad_passed, after.known_bad_passed),
    )
    return [
        {"name": t(key), "note": notes[note], "now": part_text(old, t), "then": part_text(new, t)}
        for key, note, old, new in rows
    ]


def part_text(part: Part, t: Language) -> dict[str, str]:
    """A rate and its interval, in words."""
    if part.interval is None:
        return {"share": t.percent(None), "interval": ""}
    low, high = part.interval
    told = t("limits.interval", low=t.percent(low), high=t.percent(high))
    return {"share": t.percent(part.share), "interval": told}
