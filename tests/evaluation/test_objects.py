"""Figures of parts: labels, scores and metrics against what they are defined as, missing views left out and told."""

import json
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muad import Predictor, evaluate, report
from muad.decisions.object_scores import TOP_FRACTION
from muad.errors import DataError
from muad.evaluation.objects import ObjectCollection
from muad.metrics.object_report import ObjectReport
from muad.metrics.ranking import rank_metrics
from muad.metrics.report import Report
from muad.runs.object_rows import OBJECTS_FILE, object_rows_to_csv, read_object_rows
from muad.runs.scores import SCORES_FILE, read_scores
from muad.runtime.views import inspected_values, predict_images
from muad.toy_factory import render
from muad.types import Record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight parts from two sides; three have a blot on one side, one good one lacks a side. A list says so."""
    folder = tmp_path_factory.mktemp("labelled")
    lines = ["path,category,label,split,defect_type,object_id,view"]
    for number in range(8):
        for place, view in enumerate(("left", "right")):
            if (number, view) == (7, "right"):
                continue
            pixels, _ = render("pill_blister", seed=6, index=2 * number + place, image_px=64)
            shows = number < 3 and place == number % 2
            if shows:
                pixels[20:34, 20:34] = (200, 30, 30)
            file = folder / f"p{number:02d}_{view}.png"
            Image.fromarray(pixels).save(file)
            told = f"bad,test,blot,{number},{view}" if shows else f"good,test,,{number},{view}"
            lines.append(f"{file.name},pill_blister,{told}")
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "list.csv"


@pytest.fixture(scope="module")
def evaluated(tiny_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("figures")
    return evaluate(tiny_run, data, out=out, device="cpu"), out


def test_a_part_is_bad_if_a_view_is_and_its_scores_are_those_of_all_map_values(
    evaluated: tuple[Report, Path], tiny_run: Path, data: Path
) -> None:
    rows = {row.name: row for row in read_object_rows(evaluated[1] / OBJECTS_FILE)}
    assert [rows[name].is_anomalous for name in sorted(rows)] == [True] * 3 + [False] * 5
    assert rows["7"].missing == ("right",)
    predictor = Predictor(tiny_run, device="cpu")
    for name in ("0", "4"):
        paths = [data.parent / f"p{int(name):02d}_{view}.png" for view in ("left", "right")]
        values, scores = [], []
        for path in paths:
            views = predictor.look(path, category="pill_blister").views
            assert views is not None
            scorer = predictor._detector(None)
            (found,) = predict_images(scorer, [views], 1)
            values.append(inspected_values(scorer.preprocessing, views, found))
            scores.append(found.score)
        every = np.sort(np.concatenate(values))
        assert rows[name].mean_top == pytest.approx(every[-int(TOP_FRACTION * every.size) :].mean(), rel=1e-5)
        assert rows[name].max == pytest.approx(max(scores), rel=1e-5)


def test_metrics_of_parts_are_those_of_their_rows(evaluated: tuple[Report, Path]) -> None:
    figures = evaluated[0].categories["pill_blister"]
    found = figures.objects
    assert found is not None
    rows = [row for row in read_object_rows(evaluated[1] / OBJECTS_FILE) if not row.missing]
    assert (found.count, found.anomalous, found.incomplete) == (7, 3, 1)
    assert any("leave out 1 part that lack a view" in note for note in figures.notes)
    for score in ("mean_top", "max"):
        values = [row.score(score) for row in rows]
        pairs = [(a, b) for a, one in zip(values, rows, strict=True) if one.is_anomalous
                 for b, other in zip(values, rows, strict=True) if not other.is_anomalous]  # fmt: skip
        expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
        assert found.figures[score]["object_auroc"] == pytest.approx(expected)
    scores = read_scores(evaluated[1] / SCORES_FILE)
    assert {row.view for row in scores} == {"left", "right"}
    left = [row for row in scores if row.view == "left"]
    by_hand = rank_metrics([row.is_anomalous for row in left], [row.score for row in left]).auroc
    assert found.views["left"] == pytest.approx(by_hand)


def test_the_report_is_read_again_as_it_was_written(evaluated: tuple[Report, Path]) -> None:
    written = json.loads((evaluated[1] / "evaluation.json").read_text(encoding="utf-8"))
    assert written["object_mean"]["max"]["object_auroc"] == evaluated[0].object_mean["max"]["object_auroc"]
    read = Report.from_json(written)
    assert read.categories["pill_blister"].objects == evaluated[0].categories["pill_blister"].objects
    with pytest.raises(DataError, match="x must count parts in whole numbers"):
        ObjectReport.from_json(read.categories["pill_blister"].objects.to_json() | {"count": 1.5}, "x")  # type: ignore[union-attr]


def test_rows_of_parts_survive_the_file(evaluated: tuple[Report, Path], tmp_path: Path) -> None:
    rows = read_object_rows(evaluated[1] / OBJECTS_FILE)
    (tmp_path / "a.csv").write_text(object_rows_to_csv(rows), encoding="utf-8")
    assert read_object_rows(tmp_path / "a.csv") == rows
    (tmp_path / "a.csv").write_text("object,score\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="scores of parts must have the columns object, category"):
        read_object_rows(tmp_path / "a.csv")


def test_the_page_judges_parts_at_their_limits(viewed: Any, data: Path, tmp_path: Path) -> None:
    bundle = Path(copyfile(viewed.bundle, tmp_path / "blister.muad"))
    evaluate(bundle, data, device="cpu")
    page = report(bundle, device="cpu").read_text(encoding="utf-8")
    assert "Parts of several views" in page
    assert "pill_blister: views left, right;" in page
    assert "calibration parts" in page
    assert "7 complete parts tested, 1 that lack a view left out" in " ".join(page.split())


def _photograph(part: str, view: str, *, is_anomalous: bool = False) -> Record:
    path = Path(f"{part}{view}.png")
    return Record(path=path, category="box", split="test", is_anomalous=is_anomalous, object_id=part, view=view)


def test_only_what_can_count_is_kept_of_a_map_and_the_score_is_the_same() -> None:
    random = np.random.default_rng(0)
    views = [(part, view) for part in ("0", "1") for view in "abc"]
    records = [_photograph(part, view, is_anomalous=part == "1") for part, view in views]
    maps = [random.normal(size=10_000).astype(np.float32) for _ in records]
    parts = ObjectCollection(records)
    for record, one in zip(records, maps, strict=True):
        parts.add([record], [float(one.max())], [one], 10_000)
    first, second = parts.rows()
    for row, own in ((first, maps[:3]), (second, maps[3:])):
        assert row.mean_top == pytest.approx(np.sort(np.concatenate(own))[-300:].mean(dtype=np.float64))
    assert max(one.values.size for part in parts._parts.values() for one in part.largest) < 700


def test_photographs_of_one_view_are_no_parts() -> None:
    records = [_photograph(part, "a") for part in ("0", "1")]
    parts = ObjectCollection(records)
    parts.add(records, [1.0, 2.0], [np.zeros(100, np.float32)] * 2, 100)
    assert parts.rows() == []
    assert parts.report("box", []) is None
