"""The report of a run: complete where everything is there, honest where something is missing, safe and repeatable."""

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from muad import evaluate, report
from muad.errors import CheckpointError, DataError
from muad.reporting.content import read_content
from muad.reporting.plots import category_plot, curves

LIMITS = """
false_alarm_rate = 0.02
review_rate = 0.1
[categories.pill_blister]
review = {low}
reject = {high}
[categories.printed_board]
review = {low}
"""


class _Checker(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe"), tag
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data") and value]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(page: Path) -> tuple[str, _Checker]:
    checker = _Checker()
    text = page.read_text(encoding="utf-8")
    checker.feed(text)
    return re.sub(r"\s+", " ", " ".join(checker.text)), checker


@pytest.fixture(scope="module")
def evaluated(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("evaluated") / "run"))
    evaluate(run, tiny_data, device="cpu")
    return run


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    """An evaluated run to change."""
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


def _set_limits(run: Path) -> list[dict[str, str]]:
    with (run / "evaluation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = sorted(float(row["score"]) for row in rows)
    (run / "limits.toml").write_text(LIMITS.format(low=scores[4], high=scores[-4]), encoding="utf-8")
    return rows


def test_the_page_says_what_was_trained_on_what_and_loads_nothing(run: Path) -> None:
    text, page = _read(report(run, device="cpu"))
    assert "2 products: pill_blister, printed_board" in text
    assert "10 photographs of good parts only" in text
    assert "18 photographs it had not seen: 6 good, 12 defective" in text
    assert "No limits are set" in text
    assert all(target.startswith(("data:image/jpeg;base64,", "#")) for target in page.loads)
    assert sum(target.startswith("data:") for target in page.loads) == 2 * 2 * 2 * 3  # pictures, kinds, categories


def test_every_figure_of_the_evaluation_is_on_the_page(run: Path) -> None:
    file = run / "evaluation.json"
    figures = json.loads(file.read_text(encoding="utf-8"))
    told = {name: {**own, "more": {"pixel_spro": 0.123}} for name, own in figures["categories"].items()}
    file.write_text(json.dumps({**figures, "categories": told}), encoding="utf-8")
    text, _ = _read(report(run, device="cpu"))
    for values in (*figures["categories"].values(), figures["mean"], {"pixel_spro": 0.123}):
        assert all(f"{value:.3f}" in text for value in values.values())
    assert figures["data_hash"] in text
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["data_hash"] in text


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    _set_limits(run)
    first = report(run, tmp_path / "a.html", device="cpu").read_bytes()
    assert report(run, tmp_path / "deeper" / "b.html", device="cpu").read_bytes() == first


def test_verdicts_at_the_limits_are_counted_as_one_would_by_hand(run: Path) -> None:
    rows = _set_limits(run)
    content = read_content(run)
    for category in content.categories:
        limits = category.limits
        assert limits is not None
        assert category.bad is not None
        scores = [float(r["score"]) for r in rows if r["category"] == category.name and r["is_anomalous"] == "1"]
        rejected = sum(limits.reject is not None and score > limits.reject for score in scores)
        above = sum(limits.review is not None and score > limits.review for score in scores)
        assert (category.bad.rejected, category.bad.review) == (rejected, above - rejected)
        assert category.bad.passed == len(scores) - above
    text, _ = _read(report(run, device="cpu"))
    total = sum(category.bad.stopped for category in content.categories if category.bad is not None)
    assert f"{total} of 12 stopped" in text
    assert "written by hand: nothing is promised" in text


def test_without_photographs_only_the_pictures_are_missing(run: Path) -> None:
    file = run / "evaluation.json"
    figures = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**figures, "data": "/no/longer/there"}), encoding="utf-8")
    text, page = _read(report(run, device="cpu"))
    assert "The photographs could not be shown" in text
    assert "Scores and curves" in text
    assert not [target for target in page.loads if target.startswith("data:")]


def test_other_photographs_than_the_evaluated_ones_are_said_to_be_so(
    run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    next((data / "pill_blister/test/good").iterdir()).unlink()
    text, _ = _read(report(run, data=data, device="cpu"))
    assert "their hash differs" in text


def test_a_run_that_was_not_evaluated_or_long_ago_says_so(run: Path) -> None:
    (run / "evaluation.csv").unlink()
    text, _ = _read(report(run, device="cpu"))
    assert "Scores of single images were not kept" in text
    (run / "evaluation.json").unlink()
    (run / "run.json").write_text(json.dumps({"format_version": 1, "mode": "multi_class"}), encoding="utf-8")
    text, _ = _read(report(run, device="cpu"))
    assert "The run was not evaluated" in text
    assert "What it was trained on is not recorded" in text
    assert "older release" in text


def test_one_image_and_many_categories_make_a_page(run: Path) -> None:
    header, *rows = (run / "evaluation.csv").read_text(encoding="utf-8").splitlines()
    (run / "evaluation.csv").write_text(f"{header}\n{rows[0]}\n", encoding="utf-8")
    text, _ = _read(report(run, device="cpu"))
    assert "tested on 1 photograph" in text
    many = [f"p{n}/x.png,product {n},{n % 2},,{n / 7}" for n in range(40)]
    (run / "evaluation.csv").write_text("\n".join([header, *many]) + "\n", encoding="utf-8")
    text, _ = _read(report(run, device="cpu"))
    assert "product 39" in text
    assert "Pictures are of the 12 products" in text


def test_names_are_escaped_everywhere(run: Path) -> None:
    evil = "<script>alert(1)</script> & $x_1$"
    header = "path,category,is_anomalous,defect_type,score"
    rows = [f'"{evil}.png","{evil}",{label},"{evil}",{score}' for label, score in ((0, 1.0), (1, 2.0))]
    (run / "evaluation.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    page = report(run, device="cpu")
    assert "<script" not in page.read_text(encoding="utf-8")
    assert evil in _read(page)[0]


def test_a_folder_that_is_no_run_and_a_page_that_cannot_be_written_are_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no run\.json"):
        report(tmp_path)
    with pytest.raises(DataError, match="page must be a file"):
        report(run, tmp_path, device="cpu")
    with pytest.raises(DataError, match="must exist"):
        report(run, data=tmp_path / "none", device="cpu")
    (run / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"evaluation\.json must be readable"):
        report(run)


def test_the_curves_agree_with_scikit_learn() -> None:
    from sklearn.metrics import auc, average_precision_score, roc_auc_score

    random = np.random.default_rng(0)
    labels, scores = random.random(200) < 0.4, np.round(random.random(200), 1)
    false_alarms, found, precise = curves(labels, scores)
    assert auc(false_alarms, found) == pytest.approx(roc_auc_score(labels, scores))
    assert float(np.sum(np.diff(found) * precise)) == pytest.approx(average_precision_score(labels, scores))


@pytest.mark.parametrize("labels", [[True], [False], [True, False], [True, True]])
def test_a_plot_is_made_of_few_images_and_of_equal_scores(labels: list[bool]) -> None:
    plot = category_plot(np.array(labels), np.full(len(labels), 0.3), 0.2, None)
    assert plot.startswith("<svg")
    assert "review above 0.2" in plot
    assert ("no curves" in plot) == (len(set(labels)) == 1)


def test_a_plot_counts_every_image_and_marks_the_limits_where_they_lie() -> None:
    import xml.etree.ElementTree as ET

    labels = np.array([False] * 6 + [True] * 3)
    scores = np.array([0.1, 0.12, 0.14, 0.2, 0.2, 0.3, 0.25, 0.4, 0.5])
    drawing = ET.fromstring(category_plot(labels, scores, 0.22, 0.35))
    name = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in drawing.iter(f"{name}text")]
    assert {"good (6)", "defective (3)", "review above 0.22", "reject above 0.35", "ROC"} <= set(words)
    bars = [bar for bar in drawing.iter(f"{name}rect") if bar.get("fill") == "#0072B2" and float(bar.get("y")) > 20]
    heights = [float(bar.get("height")) for bar in bars]
    assert sum(heights) == pytest.approx(6 / 3 * max(heights), abs=0.5)  # the tallest holds three of the six
    circle = drawing.find(f"{name}circle")  # one of six good parts stopped, all defective ones found
    assert float(circle.get("cx")) == pytest.approx(401 + (1 / 6 + 0.02) / 1.04 * 122, abs=0.06)
    assert float(circle.get("cy")) == pytest.approx(22 + (1.04 - 1) / 1.06 * 122, abs=0.06)


def test_the_command_prints_the_path(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from muad.cli.report import command

    command(run, device="cpu")
    assert capsys.readouterr().out.strip() == str(run / "report.html")


def test_one_product_without_limits_leaves_the_totals_of_the_others(run: Path) -> None:
    _set_limits(run)
    text = (run / "limits.toml").read_text(encoding="utf-8")
    (run / "limits.toml").write_text(text.partition("[categories.printed_board]")[0], encoding="utf-8")
    shown, _ = _read(report(run, device="cpu"))
    judged = read_content(run).categories[0]
    assert judged.bad is not None
    assert f"{judged.bad.stopped} of 6 stopped" in shown
    assert "Not judged for want of limits: printed_board." in shown


def test_the_page_says_what_to_do_next_with_the_command(run: Path) -> None:
    shown, _ = _read(report(run, device="cpu"))
    assert "What to do next" in shown
    assert "No limits for pill_blister, printed_board" in shown
    assert f"muad calibrate {run} GOOD" in shown


def test_a_run_that_lacks_nothing_is_told_so(run: Path) -> None:
    _set_limits(run)
    header, *rows = (run / "evaluation.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{n},{name},{n % 2},,{n % 2 + n / 100}" for n in range(20) for name in ("pill_blister", "printed_board")]
    (run / "evaluation.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    (run / "metrics.jsonl").unlink()
    file = run / "evaluation.json"
    figures = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**figures, "data": "/no/longer/there"}), encoding="utf-8")
    assert "Nothing presses" in _read(report(run, device="cpu"))[0]


def test_verdicts_by_the_score_alone_are_said_to_be_so_where_the_photograph_may_give_a_reason(run: Path) -> None:
    sentence = "Counted are verdicts by the score alone"
    assert sentence not in _read(report(run, device="cpu"))[0]  # no verdicts
    _set_limits(run)
    assert (run / "capture.toml").is_file()
    assert sentence in _read(report(run, device="cpu"))[0]
    (run / "capture.toml").unlink()
    assert sentence not in _read(report(run, device="cpu"))[0]


def test_a_run_that_recorded_no_encoder_shows_its_name_alone(run: Path) -> None:
    file = run / "run.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    known = facts.pop("encoder")
    assert f"encoder weights: {known['licence']}" in _read(report(run, device="cpu"))[0]
    file.write_text(json.dumps(facts), encoding="utf-8")
    text, _ = _read(report(run, device="cpu"))
    assert "encoder weights" not in text
    assert known["source"] not in text
    assert f"encoder {known['name']} licences muad: Apache-2.0" in text


_WITHOUT_THE_BENCH = """
import sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from muad.cli.report import command
from muad.cli.advice import say_what_next
command(Path(sys.argv[1]), as_json=False)
say_what_next(Path(sys.argv[1]))
"""


def test_without_torch_the_report_is_written_without_pictures_and_says_why(run: Path) -> None:
    _set_limits(run)
    whole, pictured = _read(report(run, device="cpu"))
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THE_BENCH, str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "what to do next is not known" not in done.stderr
    text, page = _read(run / "report.html")
    assert "The photographs could not be shown: torch must be installed" in text
    assert "pip install 'muad[train]'" in text
    assert not [target for target in page.loads if target.startswith("data:")]
    assert [target for target in pictured.loads if target.startswith("data:")]
    before, _, after = whole.partition("Hardest images")
    assert after.partition("How it was made")[2] == text.partition("How it was made")[2]
    assert before.partition("What to do next")[2].strip() == (
        text.partition("How it was made")[0].partition("What to do next")[2].strip()
    )
