"""A day and a week on one page, and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from muad.cli.main import app
from muad.errors import ConfigError
from muad.service.followup.audit import Audit, is_drawn
from muad.service.followup.summary import Period, make_report
from muad.service.history import History, Model, now
from muad.service.history.record import DriftSignal

from .conftest import MONDAY

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def full(history: History, recorder: Callable[..., Any], calibrated_bundle: Path) -> History:
    """A Monday with everything in it."""
    history.add_model(
        Model(
            id="m",
            name="bolts",
            path="model.muad",
            loaded_at=now(),
            loaded_by="ann",
            state="active",
            detector="dinomaly",
        )
    )
    passed = [{"in_audit": place % 4 == 0, "word": "good" if place % 4 == 0 else None} for place in range(40)]
    recorder([*passed, {"verdict": "reject", "word": {"who": "<script>bob", "word": "bad"}}, {"verdict": "review"}])
    recorder([{"verdict": "error", "judged_as": None}, {"judged_as": "cloth"}])
    history.add_change("=ann", "limit", "bolt.reject", old="0.5", new="0.6", reason="<b>why</b>")
    history.add_signal(
        DriftSignal(
            id="1", station="line 1", judged_as="bolt", quantity="brightness", direction="lower", began_at=MONDAY,
            raised_at=MONDAY, inspections=17, statistic=2e6, threshold=1.4e6,
        )
    )  # fmt: skip
    return history


def test_a_day_is_told_whole_and_nothing_in_it_is_script(full: History, tmp_path: Path):
    report = make_report(full, tmp_path, Period.of("day", MONDAY.date()), audit=Audit(b"secret", 0.25))
    page = report.html()
    for said in (
        "bolts (m)",
        "brightness is lower",
        "raised after 17 parts",
        "stopped good parts",
    ):
        assert said in page
    assert "<script" not in page
    assert "at most 2.38 %" in page
    assert "from 10 of 10 answers on 40 parts that passed" in page.lower()
    rows = list(csv.DictReader(io.StringIO(report.csv())))
    verdicts = {(row["product"], row["name"]): row["value"] for row in rows if row["section"] == "verdicts"}
    assert verdicts == {
        ("bolt", "pass"): "40", ("bolt", "review"): "1", ("bolt", "reject"): "1", ("cloth", "pass"): "1",
        ("", "error"): "1",
    }  # fmt: skip
    assert sum(sum(counts.values()) for _, counts in report.steps) == 44


def test_changes_stand_in_the_week_they_were_made_in_and_are_no_formulas(full: History, tmp_path: Path):
    report = make_report(full, tmp_path, Period.of("week", now().date()))
    assert [change.subject for change in report.changes] == ["m", "bolt.reject"]
    assert {who: dict(words) for who, words in report.words.items()} == {"ann": {"good": 10}, "<script>bob": {"bad": 1}}
    assert "&lt;script&gt;bob" in report.html()
    assert "'=ann: <b>why</b>" in report.csv()
    assert "&lt;b&gt;why&lt;/b&gt;" in report.html()


def test_what_was_drawn_can_be_checked_with_the_report(full: History, tmp_path: Path):
    audit = Audit(b"secret", 0.25)
    keys = {day: key for day, key, is_key in make_report(
        full, tmp_path, Period.of("day", MONDAY.date()), audit=audit
    ).keys if is_key}  # fmt: skip
    assert is_drawn(bytes.fromhex(keys[MONDAY.date()]), "f" * 32, 0.25) == audit.chosen("f" * 32, MONDAY)


def test_an_empty_day_says_so(history: History, tmp_path: Path):
    page = make_report(history, tmp_path, Period.of("day", date(2026, 1, 6))).html()
    assert "No part was inspected." in page
    assert "No signal stood." in page


def test_days_and_weeks_are_those_of_the_clock_on_the_wall():
    longest = Period.of("day", date(2026, 10, 25), BERLIN)
    assert len(longest.steps) == 25
    assert len(Period.of("day", date(2026, 3, 29), BERLIN).steps) == 23
    week = Period.of("week", date(2026, 10, 25), BERLIN)
    assert (week.label, len(week.steps), week.begins.date()) == ("2026-W43", 7, date(2026, 10, 19))
    assert week.ends - week.begins == timedelta(days=7)
    with pytest.raises(ConfigError, match="day must be in a year"):
        Period.of("week", date(1, 1, 1))


def test_the_verb_writes_both_files(full: History, tmp_path: Path):
    arguments = [
        "station",
        "report",
        "--week",
        "2026-01-08",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "reports"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    assert names == {"report-2026-W02.html", "report-2026-W02.csv"}


def test_reports_and_signals_are_told_over_http(client: TestClient):
    page = client.get("/v1/reports/daily", params={"day": "2026-01-05"})
    assert page.status_code == 200
    assert "script-src" not in page.headers["content-security-policy"]
    assert "sandbox" in page.headers["content-security-policy"]
    table = client.get("/v1/reports/weekly", params={"form": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert client.get("/v1/reports/daily", params={"day": "0001-01-01"}).status_code in range(400, 500)
    assert client.get("/v1/drift").json() == {"signals": []}
    assert client.post("/v1/drift/none/known", json={"reason": "new lamp"}).status_code == 404
