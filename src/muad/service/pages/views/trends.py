"""Trends: scores against the calibration over time, shares of the verdicts, drift, observed rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from muad.service.access.guard import needs
from muad.service.access.roles import Person, Role
from muad.service.followup.observing import observed_rates
from muad.service.history import Inspection, NotRecordedError, now
from muad.service.history.history import Scores
from muad.service.pages.drawing.timeline import (
    QUANTILES,
    Signal,
    Slot,
    even_slots,
    score_timeline,
    verdict_timeline,
)
from muad.service.pages.faults import PageRoute
from muad.service.pages.frame import Shell, shell_of
from muad.service.pages.language import Language
from muad.service.pages.rendering import SIGNS
from muad.service.pages.views.limits import in_force

router = APIRouter(route_class=PageRoute)
DAYS = (1, 7, 30, 90)
_SHOWN = 12  # parts that show a drift
_FEWEST = 3  # scores in a stretch of time, below which a quantile says nothing


@router.get("/trends")
def trends(
    request: Request, person: Annotated[Person, Depends(needs(Role.OPERATOR))], product: str = "", days: int = 7
) -> HTMLResponse:
    """The page of a product."""
    shell = shell_of(request)
    t = shell.language(request)
    products = shell.products()
    shown = product if product in products else next(iter(products), None)
    span = days if days in DAYS else DAYS[1]
    until = now().astimezone(shell.zone)
    since = _rounded(until - timedelta(days=span), span)
    model = shell.station.models.active
    scores = shell.station.history.scores(shown, since, model=model.id)  # those of another model mean something else
    slots = slots_of(scores, since, until)
    others = [
        shell.station.history.scores(shown, since, model=other.id)
        for other in shell.station.models.all()
        if other.id != model.id
    ]
    judging, limits = model.predictor.limits, in_force(shell.station.limits.read(model).get(shown or ""))
    calibration = quantiles(np.asarray(judging.calibration.get(shown or "", ()) if judging else (), float), 1)
    signals = _signals(shell, shown, since, t)
    pair = (limits.review, limits.reject)
    observed, sample = observed_rows(shell, shown, since, t)
    drawn = [Signal(number=one["number"], began=one["began"], ended=one["ended"]) for one in signals]
    return shell.page(
        request,
        "trends.html",
        person,
        "trends",
        products=products,
        product=shown,
        days=span,
        day_choices=DAYS,
        is_engineer=person.role.may(Role.ENGINEER),
        scores_svg=score_timeline(slots, calibration, pair, drawn, t) if len(scores.scores) else "",
        verdicts_svg=verdict_timeline(with_verdicts(slots, [slots_of(one, since, until) for one in others]), SIGNS, t),
        verdict_kinds=tuple(SIGNS.values()),
        signals=signals,
        observed=observed,
        sample=sample,
    )


@router.post("/trends/signals/{signal_id}/accept")
def accept(
    request: Request,
    person: Annotated[Person, Depends(needs(Role.ENGINEER))],
    signal_id: str,
    reason: Annotated[str, Form()],
    back: Annotated[str, Form()] = "",
) -> Response:
    """Say that a drift is known, and why; what its quantity is now counts as usual."""
    shell = shell_of(request)
    shell.station.follower.accept(signal_id, person.name, reason.strip())
    shell.station.feed.changed()
    product = {"product": back} if back in shell.products() else {}
    return RedirectResponse(shell.render.link(request, "trends", **product), status_code=303)


def slots_of(scores: Scores, since: datetime, until: datetime) -> list[Slot]:
    """What came, in even stretches of time.

    Args:
        scores: The oldest first.
        since: Where the first stretch begins, on the station's clocks.
        until: Where the last one ends at the earliest.
    """
    stretches = even_slots(since, until)
    edges = np.searchsorted(scores.at, [begin.timestamp() for begin, _ in stretches] + [stretches[-1][1].timestamp()])
    return [
        Slot(
            begin=begin,
            end=end,
            count=int(last - first),
            quantiles=quantiles(scores.scores[first:last], _FEWEST),
            verdicts=Counter(scores.verdicts[first:last]),
        )
        for (begin, end), first, last in zip(stretches, edges[:-1], edges[1:], strict=True)
    ]


def with_verdicts(slots: Sequence[Slot], others: Sequence[Sequence[Slot]]) -> list[Slot]:
    """The same stretches with the verdicts of other models, too."""
    return [
        replace(slot, verdicts=sum((Counter(more[place].verdicts) for more in others), Counter(slot.verdicts)))
        for place, slot in enumerate(slots)
    ]


def quantiles(scores: np.ndarray, fewest: int) -> tuple[float, ...]:
    """Those that are shown; none of too few scores."""
    return tuple(np.quantile(scores, QUANTILES).tolist()) if len(scores) >= fewest else ()


def _rounded(at: datetime, days: int) -> datetime:
    """The full hour or day before."""
    at = at.replace(minute=0, second=0, microsecond=0)
    return at if days <= 2 else at.replace(hour=0)


def _signals(shell: Shell, product: str | None, since: datetime, t: Language) -> list[dict[str, Any]]:
    """Drift that began or went on in this time, numbered as in the figure, with parts that show it."""
    memory = shell.station.history
    found = [
        signal
        for signal in reversed(memory.signals(judged_as=product))
        if signal.ended_at is None or signal.ended_at >= since
    ]

    def moment(at: datetime) -> str:
        return t.moment(at.astimezone(shell.zone))

    return [
        {
            "number": number,
            "id": signal.id,
            "began": signal.began_at,
            "ended": signal.ended_at,
            "title": t(
                "trends.signal",
                quantity=t(f"trends.drift_{signal.quantity.replace(' ', '_')}"),
                direction=t(f"trends.direction_{signal.direction}"),
                began=moment(signal.began_at),
            ),
            "text": t(
                "trends.signal_text",
                raised=moment(signal.raised_at),
                inspections=t.whole(signal.inspections),
                statistic=t.figure(signal.statistic, 3),
                threshold=t.figure(signal.threshold, 3),
            ),
            "over": t("trends.signal_over", ended=moment(signal.ended_at)) if signal.ended_at is not None else "",
            "note": signal.note or "",
            "parts": _known(shell, signal.parts),
        }
        for number, signal in enumerate(found, start=1)
    ]


def _known(shell: Shell, ids: Sequence[str]) -> list[Inspection]:
    """Those parts that are still in the history."""
    parts = []
    for inspection_id in ids[:_SHOWN]:
        with suppress(NotRecordedError):
            parts.append(shell.station.history.get(inspection_id))
    return parts


def observed_rows(shell: Shell, product: str | None, since: datetime, t: Language) -> tuple[list[dict[str, Any]], str]:
    """Observed rates with their intervals, and which sample they come from.

    Args:
        shell: The pages.
        product: Of which product; None for all.
        since: From then on.
        t: The reader's language.
    """
    found = observed_rates(shell.station.history, product, since, now())
    rows = [
        {
            "name": t(f"trends.rate_{rate.name.replace(' ', '_')}"),
            "share": t.percent(rate.value),
            "interval": t("limits.interval", low=t.percent(rate.low), high=t.percent(rate.high)),
        }
        for rate in found.rates
    ]
    asked = sum(one.asked for one in (*found.passed, found.review, found.reject))
    left = sum(one.open for one in (*found.passed, found.review, found.reject))
    said = t(
        "trends.sample", asked=t.whole(asked), answered=t.whole(asked - left), confidence=t.percent(found.confidence)
    )
    return rows, said
