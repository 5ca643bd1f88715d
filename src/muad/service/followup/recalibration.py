"""Limits set anew from parts that people confirmed good in the audit sample; nothing moves by itself.

Why only from the audit sample: parts are drawn for it by chance, whatever their verdict, so the good ones among them
are a fair sample of all good parts. Good parts among the rejected ones are known because their scores are high; limits
from those would rise with every word. Good parts among the passed ones alone lack the highest scores; limits from those
would sink with every calibration. For the same reason nearly all of the drawn parts must have been answered, stopped
ones and passed ones alike: else the sample is one of those that people liked to answer.

The statistics are those of `muad calibrate`, with the scores the station has recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from muad._version import __version__
from muad.bundles.bundle import is_bundle, read_manifest_of
from muad.bundles.editing import run_folder, told_of
from muad.calibration.calibrate import weights_digest
from muad.decisions.calibration_scores import Scored
from muad.decisions.conformal import binomial_interval
from muad.decisions.limit_history import text_digest, write_limits
from muad.decisions.limit_setting import CategoryResult, limits_in_force, limits_text, results_of
from muad.decisions.limits import Calibration, Rates, is_above, read_calibration, read_rates
from muad.errors import ConfigError, DataError
from muad.runs.folder import read_run
from muad.service.history import History, Inspection, InspectionFilter
from muad.wording import counted

LEAST_ANSWERED = 0.9
"""Share of the drawn parts, of passed and of stopped ones each, that must have been answered."""
_FEWEST = 10
_JUDGED = ("pass", "review", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedScores:
    """What the audit sample holds of one product.

    Attributes:
        scored: Good parts, each counted once; None without any.
        drawn: Parts drawn, by whether they passed.
        answered: Those of them with a word.
        good: Parts that people confirmed good, before those of one serial number are counted once.
        bad: Parts they called bad.
    """

    scored: Scored | None
    drawn: Mapping[bool, int]
    answered: Mapping[bool, int]
    good: int
    bad: int

    @property
    def refusal(self) -> str:
        """Why limits cannot be set from it; empty if they can."""
        for passed, what in ((True, "passed"), (False, "stopped")):
            drawn, answered = self.drawn.get(passed, 0), self.answered.get(passed, 0)
            if answered < LEAST_ANSWERED * drawn:
                return (
                    f"{answered} of {drawn} {what} parts in the audit sample are answered; limits need "
                    f"{100 * LEAST_ANSWERED:g} % of them, or they would follow from who is asked. Answer the open ones"
                )
        count = 0 if self.scored is None else self.scored.count
        if count < _FEWEST:
            return f"{counted(count, 'good part')} in the audit sample; limits need at least {_FEWEST}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrated:
    """Limits of one product, before and after.

    Attributes:
        before: Those in force.
        after: Those from the audit sample.
        sample: What they are from.
        observed: Good parts of the sample above review and reject as they are, and of how many.
    """

    before: CategoryResult | None
    after: CategoryResult
    sample: AuditedScores
    observed: tuple[int, int, int]

    def sentences(self, confidence: float = 0.95) -> Iterable[str]:
        """What the sample says of the limits in force."""
        review, reject, count = self.observed
        if count:
            for name, above in (("review", review), ("reject", reject)):
                low, high = binomial_interval(above, count, confidence)
                yield (
                    f"{above} of {count} good parts of the audit sample are above {name} as it is "
                    f"({100 * confidence:g} % interval {100 * low:.3g} to {100 * high:.3g} %)"
                )
        if self.sample.refusal:
            yield f"cannot be set: {self.sample.refusal}"


def audited_scores(
    history: History, model_id: str, product: str, since: datetime | None = None, until: datetime | None = None
) -> AuditedScores:
    """Scores of good parts of the audit sample, as the model that judges recorded them.

    Of parts with one serial number the largest score counts, as in calibration.

    Args:
        history: The station's memory.
        model_id: Only what this model judged: scores of another one say nothing of it.
        product: Which.
        since: From then on.
        until: Before it.
    """
    wanted = InspectionFilter(
        judged_as=product, model_id=model_id, in_audit=True, verdicts=_JUDGED, since=since, until=until
    )
    drawn, answered, good, bad = {True: 0, False: 0}, {True: 0, False: 0}, [], 0
    for one in history.stream(wanted):
        passed = one.verdict == "pass"
        drawn[passed] += 1
        answered[passed] += one.word is not None
        bad += one.word == "bad"
        if one.word == "good" and one.score is not None:
            good.append(one)
    return AuditedScores(scored=_scored(good), drawn=drawn, answered=answered, good=len(good), bad=bad)


def recalibrate(
    history: History,
    model: Path,
    model_id: str,
    *,
    products: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    false_alarm_rate: float | None = None,
    review_rate: float | None = None,
    set_by: str | None = None,
    reason: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Recalibrated]:
    """What limits the audit sample gives; they are put in force only where somebody sets them, and says why.

    Args:
        history: The station's memory.
        model: The station's copy of the bundle, or the run folder, that judges.
        model_id: As the history names it.
        products: Which; none for all with an audit sample.
        since: Parts from then on.
        until: Parts before it.
        false_alarm_rate: Part of good parts that may be rejected; None for the one in force.
        review_rate: Part that may be reviewed or rejected; None for the one in force.
        set_by: Whoever sets them; None to only show.
        reason: In their words; needed to set.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: A product the model does not know, or no reason.
        DataError: The sample cannot carry limits.
    """
    if set_by is not None and not (reason or "").strip():
        raise ConfigError("reason must be given to set limits, got none. Say why: --reason 'new lamp since Monday'")
    with run_folder(model, by="recalibrate" if set_by is not None else None) as folder:
        categories = tuple(read_run(folder).get("categories", ()))
        for name in products:
            if name not in categories:
                raise ConfigError(f"product must be one of {', '.join(categories)}, got {name!r}.")
        samples = {name: audited_scores(history, model_id, name, since, until) for name in products or categories}
        before = limits_in_force(folder)
        stored = read_calibration(folder) or Calibration(
            muad=__version__, weights=_weights(model), limits_digest="", rates=Rates(), good={}
        )
        rates = read_rates(folder)
        if false_alarm_rate is not None:
            rates = replace(rates, false_alarm_rate=false_alarm_rate)
        if review_rate is not None:
            rates = replace(rates, review_rate=review_rate)
        usable = {name: one.scored for name, one in samples.items() if one.scored is not None}
        calibration = replace(
            stored,
            muad=__version__,
            rates=rates,
            good={**stored.good, **usable},
            cross_fit={name: own for name, own in stored.cross_fit.items() if name not in usable},
        )
        results = results_of(calibration, categories)
        found = {name: _compared(before.get(name), results[name], one) for name, one in samples.items()}
        if set_by is not None:
            _set(
                folder,
                history,
                calibration,
                results,
                found,
                who=set_by,
                reason=reason,
                note=told_of(model, folder, note),
            )
    return found


def _set(
    folder: Path,
    history: History,
    calibration: Calibration,
    results: Mapping[str, CategoryResult],
    found: Mapping[str, Recalibrated],
    *,
    who: str,
    reason: str | None,
    note: Callable[[str], None],
) -> None:
    refused = {name: one.sample.refusal for name, one in found.items() if one.sample.refusal}
    if refused:
        said = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise DataError(
            f"audit sample must carry limits, got {said}. Or name the products that it does: --product NAME"
        )
    others = {name: result for name, result in limits_in_force(folder).items() if name not in found}
    write_limits(folder, calibration, limits_text(calibration, {**results, **others}), note)
    for name, one in found.items():
        for limit in ("review", "reject", "map"):
            old, new = _value(one.before, limit), _value(one.after, limit)
            if old != new:
                history.add_change(who, "limit", f"{name}.{limit}", old=_text(old), new=_text(new), reason=reason)
        count = one.after.count
        history.add_change(
            who, "recalibration", name, new=f"{counted(count, 'good part')} of the audit sample", reason=reason
        )


def _compared(before: CategoryResult | None, after: CategoryResult, sample: AuditedScores) -> Recalibrated:
    scores = () if sample.scored is None else sample.scored.scores
    above = []
    for name in ("review", "reject"):
        limit = _value(before, name)
        above.append(0 if limit is None else sum(is_above(score, limit) for score in scores))
    return Recalibrated(before=before, after=after, sample=sample, observed=(above[0], above[1], len(scores)))


def _value(result: CategoryResult | None, name: str) -> float | None:
    if result is None:
        return None
    if name == "map":
        return result.map
    limit = result.review if name == "review" else result.reject
    return limit.value


def _text(value: float | None) -> str | None:
    return None if value is None else repr(value)


def _scored(good: Sequence[Inspection]) -> Scored | None:
    """Each part once: of one serial number, and of equal photographs, the largest score and the largest peak."""
    largest: dict[str, tuple[float, float]] = {}
    for one in good:
        if one.score is None:
            continue
        part = one.serial or one.kept.photo_sha256 or one.id
        score, peak = largest.get(part, (one.score, float("-inf")))
        own = one.highest.peak if one.highest is not None else one.score
        largest[part] = max(score, one.score), max(peak, own)
    if not largest:
        return None
    ids = "\n".join(sorted(one.id for one in good))
    first, last = min(one.at for one in good), max(one.at for one in good)
    return Scored(
        scores=tuple(sorted(score for score, _ in largest.values())),
        map_peaks=tuple(sorted(peak for _, peak in largest.values())),
        images=len(good),
        data_hash=f"sha256:{text_digest(ids.encode())}",
        source=f"audit sample of the station, {first:%Y-%m-%d} to {last:%Y-%m-%d}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _weights(model: Path) -> str:
    return read_manifest_of(model).weights if is_bundle(model) else weights_digest(model)
