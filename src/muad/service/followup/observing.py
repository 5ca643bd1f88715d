"""Counts for observed rates, from the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from muad.service.followup.rates import Observed, Stratum
from muad.service.history import History, InspectionFilter
from muad.service.history.search import ROWS, conditions

SHARE_SUBJECT: Final = "audit.share"
"""Under which subject changes of the audit's share stand among the changes of settings."""
_Counts = Counter[tuple[str, bool, str | None]]


def observed_rates(
    history: History,
    product: str | None,
    since: datetime,
    until: datetime,
    *,
    station: str | None = None,
    model: str | None = None,
    confidence: float = 0.95,
) -> Observed:
    """What people's words say of a product in some time.

    Args:
        history: The station's memory.
        product: Its name; None for all of them.
        since: From then on.
        until: Before it.
        station: Only of this one.
        model: Only what this one judged.
        confidence: Of every interval.
    """
    passed, shares, every = [], [], _Counts()
    for begins, ends, share in _share_periods(history, since, until):
        wanted = InspectionFilter(since=begins, until=ends, judged_as=product, station=station, model_id=model)
        counts = _counts(history, wanted)
        every += counts
        one = _passed(counts)
        if one.total:
            passed.append(one)
            shares += [] if share is None else [share]
    judged = {verdict for verdict, _, _ in every} & {"pass", "review", "reject"}
    return Observed(
        passed=tuple(passed),
        review=_stopped(every, "review"),
        reject=_stopped(every, "reject"),
        confidence=confidence,
        shares=tuple(shares),
        left_out=sum(count for (verdict, _, _), count in every.items() if verdict not in judged),
    )


def note_share(history: History, share: float) -> None:
    """Write down that the audit's share is another one than it was; rates weigh by the one in force."""
    known = history.changes(kind="settings", subject=SHARE_SUBJECT, limit=1)
    before = known[0].new if known else None
    if before is None or float(before) != share:
        history.add_change("station", "settings", SHARE_SUBJECT, old=before, new=repr(share), reason="station.toml")


def _share_periods(
    history: History, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime, float | None]]:
    changes = history.changes(kind="settings", subject=SHARE_SUBJECT)[::-1]
    before = [change for change in changes if change.at <= since]
    inside = [change for change in changes if since < change.at < until]
    share = before[-1].new if before else None
    begins = since
    for change in inside:
        yield begins, change.at, _number(share)
        begins, share = change.at, change.new
    yield begins, until, _number(share)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _counts(history: History, wanted: InspectionFilter) -> _Counts:
    kinds = (ROWS.c.verdict, ROWS.c.in_audit, ROWS.c.word)
    query = sa.select(*kinds, sa.func.count()).where(*conditions(wanted)).group_by(*kinds)
    with history.database.reading() as connection:
        return Counter(
            {(verdict, bool(drawn), word): count for verdict, drawn, word, count in connection.execute(query)}
        )


def _passed(counts: _Counts) -> Stratum:
    def number(word: str | None, *, drawn: bool) -> int:
        return counts["pass", drawn, word]

    drawn = sum(number(word, drawn=True) for word in ("good", "bad", None))
    return Stratum(
        total=drawn + sum(number(word, drawn=False) for word in ("good", "bad", None)),
        asked=drawn,
        good=number("good", drawn=True),
        bad=number("bad", drawn=True),
        known_good=number("good", drawn=False),
        known_bad=number("bad", drawn=False),
    )


def _stopped(counts: _Counts, verdict: str) -> Stratum:
    """All of these are asked about."""
    found = Counter[str | None]()
    for (own, _, word), count in counts.items():
        if own == verdict:
            found[word] += count
    return Stratum(total=found.total(), asked=found.total(), good=found["good"], bad=found["bad"])
