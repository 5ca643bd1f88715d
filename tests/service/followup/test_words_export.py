"""What people said becomes a data set that the other verbs read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.service.conftest import photograph
from typer.testing import CliRunner

from muad.calibration.calibrate import calibrate
from muad.checking.check import check_data
from muad.cli.main import app
from muad.datasets.index import open_catalog
from muad.errors import ConfigError, DataError
from muad.service.followup.words_export import export_words, folder_name
from muad.service.history import History, Pictures, new_id

from .conftest import MONDAY


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path)


@pytest.fixture
def said(recorder: Callable[..., Any], pictures: Pictures) -> Callable[..., Any]:
    """`said([{...}])`: as `recorder`, with a photograph of its own for each part."""

    def say(parts: list[dict[str, Any]], **how: Any) -> Any:
        whole = []
        for place, part in enumerate(parts):
            own = new_id(MONDAY)
            kept = pictures.keep(own, MONDAY, photograph(part.pop("seed", place)), ".png")
            whole.append({"id": own, "kept": kept, "score": 0.3, **part})
        return recorder(whole, **how)

    return say


def words_of(out: Path) -> list[dict[str, str]]:
    with (out / "words.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bad(kind: str | None, **more: Any) -> dict[str, Any]:
    return {"verdict": "reject", "word": {"who": "ann", "word": "bad", "defect_type": kind, **more}}


def test_check_data_train_and_calibrate_read_what_is_written(
    history: History,
    pictures: Pictures,
    said: Callable[..., Any],
    calibrated_bundle: Path,
    tiny_recipe: Path,
    tmp_path: Path,
):
    mask = cv2.imencode(".png", np.pad(np.full((20, 30), 255, np.uint8), ((20, 20), (17, 17))))[1].tobytes()
    drawn = pictures.keep_mask(new_id(MONDAY), MONDAY, mask)
    good = [{"word": "good", "serial": f"s{place // 2}"} for place in range(10)]
    said([*good, bad("deep scratch", mask=drawn), bad(None), {"verdict": "review"}])
    out = tmp_path / "words"
    written = export_words(history, pictures, out)
    assert (written.good, written.bad, written.masks, written.left_out) == ({"bolt": 10}, {"bolt": 2}, 1, {})
    catalog = open_catalog(out / "manifest.csv")  # what train reads
    assert {record.defect_type for record in catalog.records if record.is_anomalous} == {"deep_scratch", "bad"}
    assert sum(record.mask_path is not None for record in catalog.records) == 1
    assert {record.object_id for record in catalog.records if not record.is_anomalous} == {f"s{n}" for n in range(5)}
    assert catalog.select(split="train")
    assert check_data(out / "manifest.csv", recipe=tiny_recipe, device="cpu") is not None
    results = calibrate(calibrated_bundle, out / "good", bad=out / "bad", device="cpu")
    assert results["bolt"].images == 10
    assert results["bolt"].misses is not None
    assert results["bolt"].misses.count == 2


def test_no_day_and_no_product_drowns_the_rest(
    history: History, pictures: Pictures, said: Callable[..., Any], tmp_path: Path
):
    said([{"word": "good"} for _ in range(12)])
    said([{"word": "good", "seed": 50 + place} for place in range(3)], begin=MONDAY + timedelta(days=1))
    said([{"word": "good", "judged_as": "cloth", "seed": 90}])
    written = export_words(history, pictures, tmp_path / "words", most_a_day=5, most_a_product=7)
    assert written.good == {"bolt": 7, "cloth": 1}
    assert written.left_out == {"too many of this day": 7, "too many of this product": 1}
    days = [row["at"][:10] for row in words_of(tmp_path / "words") if row["file"] and row["category"] == "bolt"]
    assert (days.count("2026-01-05"), days.count("2026-01-06")) == (4, 3)
    export_words(history, pictures, tmp_path / "again", most_a_day=5, most_a_product=7)
    assert (tmp_path / "again" / "manifest.csv").read_bytes() == (tmp_path / "words" / "manifest.csv").read_bytes()


def test_what_people_do_not_agree_on_is_left_out_and_named(
    history: History, pictures: Pictures, said: Callable[..., Any], tmp_path: Path
):
    differ = [{"who": "ann", "word": "good"}, {"who": "bob", "word": "bad"}]
    mended = [{"who": "ann", "word": "bad"}, {"who": "ann", "word": "good"}]
    said([{"word": differ}, {"word": mended}, {"word": "good", "seed": 7}, {"word": "bad", "seed": 7}])
    written = export_words(history, pictures, tmp_path / "words")
    assert written.good == {"bolt": 1}
    assert written.left_out == {"people differ": 1, "the same photograph is good and bad": 2}
    assert [row["who"] for row in words_of(tmp_path / "words")] == ["ann", "bob", "ann", "ann", "ann", "ann"]


def test_only_the_audit_sample_can_be_asked_for(
    history: History, pictures: Pictures, said: Callable[..., Any], tmp_path: Path
):
    said([{"word": "good"}, {"word": "good", "in_audit": True}])
    assert export_words(history, pictures, tmp_path / "words", audit_only=True).good == {"bolt": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("../../etc", "etc"), ("good", "bad"), ("NG", "bad"), ("masks", "bad"), ("", "bad"), ("bolt", "bolt_defect")],
)
def test_no_name_of_a_defect_leads_astray(text: str, expected: str):
    assert folder_name(text, {"bolt"}) == expected


def test_text_in_the_table_is_no_formula(
    history: History, pictures: Pictures, said: Callable[..., Any], tmp_path: Path
):
    said([{"word": {"who": "ann", "word": "good", "note": "=HYPERLINK(1)"}, "score": -1.5}])
    export_words(history, pictures, tmp_path / "words")
    (row,) = words_of(tmp_path / "words")
    assert (row["note"], row["score"]) == ("'=HYPERLINK(1)", "-1.5")


def test_a_folder_in_use_and_a_silent_history_are_refused(history: History, pictures: Pictures, tmp_path: Path):
    with pytest.raises(DataError, match="words must be there"):
        export_words(history, pictures, tmp_path / "words")
    with pytest.raises(DataError, match="new or empty folder"):
        export_words(history, pictures, tmp_path)
    with pytest.raises(ConfigError, match="most_a_day must be at least 1"):
        export_words(history, pictures, tmp_path / "words", most_a_day=0)
    assert not (tmp_path / "words").exists()


def test_the_verbs_work_on_a_station_folder(
    history: History, said: Callable[..., Any], calibrated_bundle: Path, tmp_path: Path
):
    from muad.service.history import Model, now

    model = Model(
        id="m", name="model", path="model.muad", loaded_at=now(), loaded_by="ann", state="active", detector="dinomaly"
    )
    history.add_model(model)
    parts = [{"word": "good", "score": 0.01 * (place + 1), "in_audit": True, "seed": 0} for place in range(12)]
    said([{**part, "seed": place} for place, part in enumerate(parts)])
    run = CliRunner().invoke
    data = ["--data", str(tmp_path)]
    done = run(app, ["station", "export-words", str(tmp_path / "words"), *data])
    assert done.exit_code == 0, done.output
    shown = run(app, ["station", "recalibrate", "--product", "bolt", *data])
    assert shown.exit_code == 0, shown.output
    assert history.changes(kind="limit") == []
    done = run(app, ["station", "recalibrate", "--product", "bolt", "--set", "--reason", "new lamp", *data])
    assert done.exit_code == 0, done.output
    assert {change.reason for change in history.changes(kind="limit")} == {"new lamp"}
