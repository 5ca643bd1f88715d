"""What a day or a week was like: one HTML file that needs no script and prints well, and the same as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from jinja2 import Environment, PackageLoader, StrictUndefined

from muad._version import __version__
from muad.bundles.editing import run_folder
from muad.decisions.limit_setting import CategoryResult, limits_in_force
from muad.errors import ConfigError, DataError, MuadError
from muad.runs.folder import write_text
from muad.service.followup.audit import Audit
from muad.service.followup.follower import explain
from muad.service.followup.observing import observed_rates
from muad.service.followup.rates import Observed
from muad.service.history import Change, History, InspectionFilter, Model
from muad.service.history.record import ChangeKind, DriftSignal
from muad.service.history.search import ROWS, conditions

Kind = Literal["day", "week"]
VERDICTS = ("pass", "review", "reject", "unknown product", "no verdict", "error")
_REPORTED: tuple[ChangeKind, ...] = ("limit", "model", "recalibration", "settings")
_HEADER = ("section", "product", "name", "value", "low", "high", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A day, or a week from Monday on, by the clock on the wall.

    Attributes:
        kind: Which of them.
        begins: With its zone.
        ends: When the next one begins.
    """

    kind: Kind
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, kind: Kind, day: date, zone: tzinfo = UTC) -> Period:
        """The one a day belongs to.

        Raises:
            ConfigError: No station can have been there.
        """
        if not 1970 < day.year < 9000:
            raise ConfigError(f"day must be in a year from 1971 to 8999, got {day}.")
        first = day - timedelta(days=day.weekday()) if kind == "week" else day
        last = first + timedelta(days=7 if kind == "week" else 1)
        begins, ends = (datetime.combine(one, time(), tzinfo=zone) for one in (first, last))
        return cls(kind=kind, begins=begins, ends=ends)

    @property
    def label(self) -> str:
        """Its name: `2026-01-31`, or `2026-W05`."""
        if self.kind == "day":
            return f"{self.begins:%Y-%m-%d}"
        year, week, _ = self.begins.isocalendar()
        return f"{year}-W{week:02d}"

    @property
    def steps(self) -> list[tuple[str, datetime, datetime]]:
        """Its hours or days: what stands below each, when it begins and ends."""
        if self.kind == "week":
            days = [self.begins.date() + timedelta(days=place) for place in range(8)]
            moments = [datetime.combine(day, time(), tzinfo=self.begins.tzinfo) for day in days]
            return [(f"{one:%a %d}", one, other) for one, other in pairwise(moments)]
        found, at = [], self.begins.astimezone(UTC)
        while at < self.ends:  # on days when clocks change there are 23 or 25 of them
            local = at.astimezone(self.begins.tzinfo)
            found.append((f"{local:%H}", at, at + timedelta(hours=1)))
            at += timedelta(hours=1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSummary:
    """One product in the period.

    Attributes:
        name: Of the product; empty for parts of none.
        verdicts: How many of each.
        observed: What people's words say.
        limits: As they are now, and what they promise; None where it has none.
    """

    name: str
    verdicts: Mapping[str, int]
    observed: Observed
    limits: CategoryResult | None

    @property
    def parts(self) -> int:
        """How many there were."""
        return sum(self.verdicts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it.

    Attributes:
        name: Of the station.
        period: Which time.
        made_at: When it was made.
        products: Those that were inspected.
        steps: By hour or day, how many of each verdict.
        words: By person, how many good and bad.
        signals: Drift that stood in the time.
        changes: Of limits, models and settings.
        models: Those that judged.
        keys: By day, the key to check the audit sample with; of a day that is not over, the digest of its key.
    """

    name: str
    period: Period
    made_at: datetime
    products: tuple[ProductSummary, ...]
    steps: tuple[tuple[str, Mapping[str, int]], ...]
    words: Mapping[str, Counter[str]]
    signals: tuple[DriftSignal, ...]
    changes: tuple[Change, ...]
    models: tuple[Model, ...]
    keys: tuple[tuple[date, str, bool], ...] = ()

    @property
    def file_name(self) -> str:
        """Without its ending."""
        return f"report-{self.period.label}"

    def html(self) -> str:
        """As a page of its own."""
        environment = Environment(
            loader=PackageLoader("muad.service.followup"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["percent"] = lambda share: "\N{EN DASH}" if share is None else f"{100 * share:.3g} %"
        environment.filters["local"] = lambda at: f"{at.astimezone(self.period.begins.tzinfo):%Y-%m-%d %H:%M}"
        environment.filters["explain"] = explain
        most = max((sum(counts.values()) for _, counts in self.steps), default=0)
        return environment.get_template("report.html").render(
            report=self, verdicts=VERDICTS, most=max(most, 1), version=__version__, zone=str(self.period.begins.tzinfo)
        )

    def csv(self) -> str:
        """As a table, one figure a line."""
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for row in self._rows():
            writer.writerow([_harmless("" if cell is None else cell) for cell in row])
        return file.getvalue()

    def write(self, out: Path) -> tuple[Path, Path]:
        """Write both into a folder; where they are.

        Raises:
            DataError: It cannot be written.
        """
        page, table = out / f"{self.file_name}.html", out / f"{self.file_name}.csv"
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_text(page, self.html())
            write_text(table, self.csv())
        except OSError as error:
            raise DataError(f"out must be a folder that can be written, got {out} ({error.strerror}).") from None
        return page, table

    def _rows(self) -> Iterator[Sequence[object]]:
        begins, ends = self.period.begins.isoformat(), self.period.ends.isoformat()
        yield "period", "", self.period.kind, self.period.label, begins, ends, ""
        for product in self.products:
            for verdict, count in product.verdicts.items():
                yield "verdicts", product.name, verdict, count, "", "", ""
            for rate in product.observed.rates:
                note = rate.reason or product.observed.sentence
                yield "rates", product.name, rate.name, rate.value, rate.low, rate.high, note
            for name in ("review", "reject"):
                limit = None if product.limits is None else getattr(product.limits, name)
                if limit is not None:
                    yield "limits now", product.name, name, limit.value, "", limit.carried, ""
        for who, words in sorted(self.words.items()):
            for word, count in sorted(words.items()):
                yield "words", "", word, count, "", "", who
        for one in self.signals:
            ended = "" if one.ended_at is None else one.ended_at.isoformat()
            yield "drift", one.judged_as, one.quantity, one.inspections, one.began_at.isoformat(), ended, explain(one)
        for change in self.changes:
            said, at = f"{change.who}: {change.reason or ''}", change.at.isoformat()
            yield "changes", "", f"{change.kind} {change.subject}", change.new, change.old, at, said
        for day, key, is_key in self.keys:
            yield "audit", "", "key" if is_key else "digest of the key", key, day.isoformat(), "", ""


def make_report(
    history: History, folder: Path, period: Period, *, name: str = "", audit: Audit | None = None
) -> Report:
    """What a time was like.

    Args:
        history: The station's memory.
        folder: The station's.
        period: Which time.
        name: Of the station; empty for that of its folder.
        audit: What drew the audit sample, for its keys.
    """
    counts = _verdicts(history, InspectionFilter(since=period.begins, until=period.ends))
    models = {model.id: model for model in history.models()}
    active = next((model for model in models.values() if model.state == "active"), None)
    limits = {} if active is None else _limits(folder / active.path)
    judged = history.counts(InspectionFilter(since=period.begins, until=period.ends), by="model_id")
    return Report(
        name=name or folder.resolve().name,
        period=period,
        made_at=datetime.now(UTC),
        products=tuple(
            ProductSummary(
                name=product or "",
                verdicts={verdict: own[verdict] for verdict in VERDICTS if own[verdict]},
                observed=observed_rates(history, product, period.begins, period.ends),
                limits=limits.get(product or ""),
            )
            for product, own in sorted(counts.items(), key=lambda one: one[0] or "")
            if product is not None
        )
        + _of_none(history, counts, period),
        steps=tuple(
            (label, history.counts(InspectionFilter(since=begins, until=ends), by="verdict"))
            for label, begins, ends in period.steps
        ),
        words=_words(history, period),
        signals=tuple(
            one
            for one in history.signals()
            if one.raised_at < period.ends and (one.ended_at is None or one.ended_at >= period.begins)
        ),
        changes=tuple(
            sorted(
                (
                    change
                    for kind in _REPORTED
                    for change in history.changes(kind=kind, limit=1_000)
                    if period.begins <= change.at < period.ends
                ),
                key=lambda change: change.at,
            )
        ),
        models=tuple(models[key] for key in sorted(key for key in judged if key in models)),
        keys=() if audit is None else tuple(_keys(audit, period)),
    )


def _verdicts(history: History, wanted: InspectionFilter) -> dict[str | None, Counter[str]]:
    kinds = (ROWS.c.judged_as, ROWS.c.verdict)
    query = sa.select(*kinds, sa.func.count()).where(*conditions(wanted)).group_by(*kinds)
    found: dict[str | None, Counter[str]] = {}
    with history.database.reading() as connection:
        for product, verdict, count in connection.execute(query):
            found.setdefault(product, Counter())[verdict] = count
    return found


def _of_none(history: History, counts: Mapping[str | None, Counter[str]], period: Period) -> tuple[ProductSummary, ...]:
    """Parts of no product, such as photographs that cannot be read."""
    if None not in counts:
        return ()
    nothing = observed_rates(history, "", period.begins, period.ends)
    return (ProductSummary(name="", verdicts=dict(counts[None]), observed=nothing, limits=None),)


def _limits(model: Path) -> dict[str, CategoryResult]:
    try:
        with run_folder(model) as folder:
            return limits_in_force(folder)
    except MuadError:  # without limits, or gone: the report is made all the same
        return {}


def _words(history: History, period: Period) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for word in history.stream_words(since=period.begins, until=period.ends):
        found.setdefault(word.who, Counter())[word.word] += 1
    return found


def _keys(audit: Audit, period: Period) -> Iterator[tuple[date, str, bool]]:
    """Of every day in UTC that the time touches, and of the next one the digest alone."""
    day = period.begins.astimezone(UTC).date()
    while day <= period.ends.astimezone(UTC).date():
        key = audit.key(day)
        yield day, key or audit.commitment(day), key is not None
        day += timedelta(days=1)


def _harmless(cell: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
