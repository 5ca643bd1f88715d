"""The table of scores: what is written is what is read, and a foreign table is refused."""

from pathlib import Path

import pytest

from muad.errors import DataError
from muad.runs.scores import ImageScore, read_scores, scores_to_csv

ROWS = (
    ImageScore(path='bolt/a, "b".png', category="bolt", is_anomalous=False, defect_type=None, score=0.1 + 0.2),
    ImageScore(path="bolt/<x>\ny&.png", category="bolt", is_anomalous=True, defect_type="scratch", score=-1e-30),
)


def test_rows_come_back_digit_for_digit(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.csv"
    file.write_text(scores_to_csv(ROWS), encoding="utf-8", newline="")
    assert read_scores(file) == ROWS


def test_a_name_that_is_no_text_is_written_readably(tmp_path: Path) -> None:
    text = scores_to_csv([ImageScore(path="\udcff.png", category="c", is_anomalous=False, defect_type=None, score=1.0)])
    assert "\\udcff.png" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must have the columns"),
        ("path,score\na,1\n", "must have the columns path, category"),
        ("path,category,is_anomalous,defect_type,score\na,b,2,,1.0\n", "row 2"),
        ("path,category,is_anomalous,defect_type,score\na,b,1,,1.0\na,b,1,,nan\n", "row 3"),
        ("path,category,is_anomalous,defect_type,score\na,b,1\n", "row 2"),
    ],
)
def test_another_table_is_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_scores(tmp_path / "evaluation.csv")


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a readable table"):
        read_scores(tmp_path / "evaluation.csv")
