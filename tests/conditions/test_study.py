"""A run under conditions: judged as on the line, at its own limits, and never twice."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muad import Photograph, Predictor, calibrate, evaluate, evaluate_conditions, open_catalog
from muad.conditions.condition import Condition
from muad.conditions.outcome import ConditionsReport, ImageOutcome, count
from muad.conditions.store import read_finished
from muad.conditions.study import choose_records
from muad.conditions.worst import choose_worst
from muad.datasets.content_hash import relative_name
from muad.decisions.limits import CategoryLimits, Limits
from muad.errors import ConfigError
from muad.images.reading import read_image
from muad.metrics.report import CategoryReport, Report
from muad.types import Record

ASKED = ("light=1.3", "shift=3")


@pytest.fixture(scope="module")
def limited(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with limits."""
    folder = tmp_path_factory.mktemp("conditions")
    for category in ("pill_blister", "printed_board"):
        copytree(tiny_data / category / "test" / "good", folder / "good" / category)
    run = copytree(tiny_run, folder / "run")
    calibrate(run, folder / "good", false_alarm_rate=0.3, review_rate=0.3, device="cpu")
    (run / "images.json").write_bytes((tiny_run / "images.json").read_bytes())  # as if others had been calibrated on
    return Path(run)


BEFORE: dict[Path, bytes] = {}


@pytest.fixture(scope="module")
def found(limited: Path, tiny_data: Path) -> ConditionsReport:
    BEFORE.update({path: path.read_bytes() for path in limited.rglob("*") if path.is_file()})
    return evaluate_conditions(limited, tiny_data, conditions=ASKED, device="cpu")


def test_photographs_as_they_are_have_the_figures_of_an_evaluation(
    found: ConditionsReport, limited: Path, tiny_data: Path, tmp_path: Path
) -> None:
    plain = evaluate(limited, tiny_data, out=tmp_path, device="cpu")
    assert found.conditions[0].condition.name == "unchanged"
    assert found.conditions[0].report.mean == plain.mean
    assert found.data_hash == plain.data_hash


def test_scores_warnings_and_verdicts_are_those_of_the_predictor_on_the_changed_photograph(
    found: ConditionsReport, limited: Path, tiny_data: Path
) -> None:
    predictor = Predictor(limited, device="cpu")
    one = found.conditions[2]
    for row in one.rows[::5]:
        changed, _ = one.condition.apply(read_image(tiny_data / row.path), None, 0, row.path)
        (said,) = predictor.predict([Photograph(changed, row.category)])
        assert said.score == pytest.approx(row.score, rel=1e-5)
        others = tuple(reason.what for reason in said.reasons if not reason.what.startswith("looks like"))
        assert others == row.warnings
        assert (said.recognised_category == row.looks_like) or row.looks_like is None
        limits = predictor.limits
        passes = row.passes(limits) and not row.warnings and not row.misnamed
        assert (said.verdict == "pass") == passes


def test_no_limit_and_no_other_file_of_the_run_is_touched(found: ConditionsReport, limited: Path) -> None:
    now = {path for path in limited.rglob("*") if path.is_file() and found.folder not in path.parents}
    assert now == set(BEFORE)
    assert all(path.read_bytes() == content for path, content in BEFORE.items())


def test_page_table_json_and_pictures_say_what_was_found(found: ConditionsReport) -> None:
    values = json.loads((found.folder / "conditions.json").read_text(encoding="utf-8"))
    assert [one["condition"] for one in values["conditions"]] == ["unchanged", *ASKED]
    with (found.folder / "conditions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2
    for row in rows:
        own = next(one for one in values["conditions"] if one["condition"] == row["condition"])["categories"]
        assert float(row["image_auroc"]) == own[row["category"]]["figures"]["image_auroc"]
        assert int(row["good_passed"]) + int(row["good_review"]) + int(row["good_rejected"]) == 3
    page = found.page.read_text(encoding="utf-8")
    pictures = list((found.folder / "pictures").iterdir())
    assert len(pictures) == 2 * 2 * 2
    assert page.count("data:image/webp;base64,") == 8
    shown = np.asarray(Image.open(next(path for path in pictures if path.name.startswith("light=1.3_"))))
    assert shown.shape == (64, 3 * 64 + 2 * 6, 3)
    assert shown[:, 70:134].mean() > 1.1 * shown[:, :64].mean()
    assert "1.3 times the light" in page


def test_an_interruption_keeps_what_is_finished_and_nothing_of_it_is_done_again(
    limited: Path, tiny_data: Path, tmp_path: Path
) -> None:
    def stop(name: str, done: int, total: int, _: float | None) -> None:
        if name == "conditions" and done > total // 2:
            raise KeyboardInterrupt

    go: Callable[..., Any] = lambda **how: evaluate_conditions(  # noqa: E731
        limited, tiny_data, out=tmp_path, conditions=["jpeg"], most_images=1, device="cpu", **how
    )
    with pytest.raises(KeyboardInterrupt):
        go(progress=stop)
    partly = json.loads((tmp_path / "conditions.json").read_text(encoding="utf-8"))
    assert [one["condition"] for one in partly["conditions"]] == ["unchanged"]
    (kept,) = (tmp_path / "finished").iterdir()
    written = kept.stat().st_mtime_ns
    news: list[int] = []
    whole = go(progress=lambda name, done, *_: news.append(done) if name == "conditions" else None)
    assert kept.stat().st_mtime_ns == written
    assert [one.condition.name for one in whole.conditions] == ["unchanged", "jpeg=50"]
    assert min(news) == 4  # of 4 photographs as they are none was looked at again
    (tmp_path / "finished" / "jpeg=50.json").write_text("{", encoding="utf-8")
    assert go().to_json() == whole.to_json()  # what is damaged is done again, and comes out the same


def test_what_another_study_finished_is_not_taken_for_ones_own(found: ConditionsReport) -> None:
    condition = found.conditions[1].condition
    claim = json.loads((found.folder / "finished" / "light=1.3.json").read_text(encoding="utf-8"))["claim"]
    taken = read_finished(found.folder, condition, claim)
    assert taken is not None
    assert taken[1] == list(found.conditions[1].rows)
    assert taken[0].mean == found.conditions[1].report.mean
    for name in claim:
        assert read_finished(found.folder, condition, {**claim, name: "another"}) is None


def test_limits_that_are_edited_count_without_looking_at_the_photographs_again(
    found: ConditionsReport, limited: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run = copytree(limited, tmp_path / "run")
    assert found.folder == limited / "conditions"
    text = "".join(f"[categories.{name}]\nreview = -1e9\n" for name in ("pill_blister", "printed_board"))
    (run / "limits.toml").write_text(text, encoding="utf-8")
    done: list[int] = []
    second = evaluate_conditions(
        run, tiny_data, conditions=ASKED, device="cpu",
        progress=lambda name, count, *_: done.append(count) if name == "conditions" else None,
    )  # fmt: skip
    assert len(done) == 3  # one for each condition: none was looked at
    assert all(own.good.passed == 0 for one in second.conditions for own in one.categories.values())
    assert [one.rows for one in found.conditions] == [one.rows for one in second.conditions]


def test_a_bundle_is_judged_like_its_run_and_stays_as_it_is(made: Any, tiny_data: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "line.muad"
    bundle.write_bytes(made.bundle.path.read_bytes())
    before = bundle.read_bytes()
    how: dict[str, Any] = {"conditions": ["light=0.7"], "most_images": 1, "device": "cpu"}
    first = evaluate_conditions(bundle, tiny_data, **how)
    assert first.page == tmp_path / "line.conditions" / "conditions.html"
    assert bundle.read_bytes() == before
    second = evaluate_conditions(made.run, tiny_data, out=tmp_path / "of run", **how)
    scores = [[row.score for one in found.conditions for row in one.rows] for found in (first, second)]
    assert scores[0] == pytest.approx(scores[1], rel=0.02)
    assert not first.has_limits
    assert first.conditions[1].categories["pill_blister"].good.stopped is None


def test_chosen_images_depend_on_seed_and_name_alone(tiny_data: Path) -> None:
    catalog = open_catalog(tiny_data)
    records = catalog.select(split="test")
    assert choose_records(records, catalog.root, 0, 0) == records
    two, three = (choose_records(records, catalog.root, most, 0) for most in (2, 3))
    assert set(two) < set(three)
    good = [record for record in two if record.category == "pill_blister" and not record.is_anomalous]
    assert len(good) == 2
    assert choose_records(records[::-1], catalog.root, 2, 0) == two[::-1]
    assert {choose_records(records, catalog.root, 1, seed) for seed in range(6)} != {
        choose_records(records, catalog.root, 1, 0)
    }


def _row(path: str, score: float, *, bad: bool = False, **more: Any) -> ImageOutcome:
    return ImageOutcome(
        path=path, category="bolt", is_anomalous=bad, defect_type="dent" if bad else None, score=score, **more
    )


LIMITS = Limits(categories={"bolt": CategoryLimits(review=1.0, reject=2.0)}, calibration={})
REPORT = Report(protocol="exact", categories={"bolt": CategoryReport()}, images=0)


def test_counts_are_by_the_limits_and_what_is_flagged_or_misnamed_does_not_go_unnoticed() -> None:
    rows = [
        _row("a", 0.5, looks_like="bolt"),
        _row("b", 1.5, looks_like="bolt"),
        _row("c", 2.5, looks_like="nut"),
        _row("d", 0.5, bad=True, looks_like="bolt"),
        _row("e", 0.5, bad=True, warnings=("blurred",), looks_like="bolt"),
        _row("f", 0.5, bad=True, looks_like="nut"),
    ]
    own = count(Condition("light", 0.8), REPORT, rows, rows, LIMITS).categories["bolt"]
    assert (own.good.passed, own.good.review, own.good.rejected, own.good.stopped, own.good.misnamed) == (1, 1, 1, 2, 1)
    assert (own.anomalous.passed, own.anomalous.warned, own.anomalous.unnoticed) == (3, 1, 1)
    assert not own.more_alarms


def test_more_false_alarms_are_said_only_beyond_chance() -> None:
    before = [_row(str(place), 0.5) for place in range(8)]
    for moved, expected in ((4, False), (5, True)):  # 1/16 and 1/32
        now = [_row(str(place), 1.5 if place < moved else 0.5) for place in range(8)]
        own = count(Condition("light", 0.8), REPORT, now, before, LIMITS).categories["bolt"]
        assert own.more_alarms is expected
        assert not own.more_misses


def test_the_worst_is_one_that_the_condition_made_wrong() -> None:
    before = [_row("a", 3.0), _row("b", 0.1), _row("c", 0.2), _row("d", 0.4, bad=True), _row("e", 3.0, bad=True)]
    now = [_row("a", 4.0), _row("b", 1.2), _row("c", 0.3), _row("d", 0.1, bad=True), _row("e", 0.9, bad=True)]
    one = count(Condition("light", 0.8), REPORT, now, before, LIMITS)
    worst = [(row.path, score, wrong) for row, score, wrong in choose_worst(one, before, LIMITS)]
    assert worst == [("b", 0.1, True), ("e", 3.0, True)]
    assert [row.path for row, _, _ in choose_worst(one, before, None)] == ["a", "d"]


def test_numbers_out_of_range_are_told(tiny_run: Path, tiny_data: Path) -> None:
    for name in ("most_images", "seed"):
        with pytest.raises(ConfigError, match="must be at least 0, got -1"):
            evaluate_conditions(tiny_run, tiny_data, **{name: -1})  # type: ignore[arg-type]


def test_names_of_photographs_are_taken_from_the_data_sets_folder(tiny_data: Path) -> None:
    record = Record(path=tiny_data / "a" / "b.png", category="a", split="test", is_anomalous=False)
    assert relative_name(record.path, tiny_data) == "a/b.png"
