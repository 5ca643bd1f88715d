"""A photograph that cannot be judged never passes: with the reason, in Python and in the tables."""

import csv
import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from muad import Predictor, learn_products
from muad.datasets.index import open_catalog
from muad.images.reading import read_image
from muad.outputs import find_images, write_predictions
from muad.toy_factory import write_toy_factory

_ALL = {"pass": "review = 1e9", "review": "review = -1e9\nreject = 1e9", "reject": "reject = -1e9"}


def _judging(run: Path, verdict: str, *categories: str) -> None:
    """Limits that give every score the same verdict."""
    tables = [f"[categories.{name}]\n{_ALL[verdict]}\n" for name in categories]
    (run / "limits.toml").write_text("\n".join(tables), encoding="utf-8")


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(copytree(tiny_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of both products enough to tell others, and a third product."""
    folder = tmp_path_factory.mktemp("factory") / "data"
    names = ("pill_blister", "printed_board", "woven_fabric")
    write_toy_factory(folder, image_px=64, train_per_category=20, test_normal=2, test_per_defect=0, categories=names)
    return folder


@pytest.mark.parametrize("grey", [0, 90, 128, 255])
@pytest.mark.parametrize(("verdict", "expected"), [("pass", "review"), ("review", "review"), ("reject", "reject")])
def test_a_frame_of_one_grey_never_passes_and_a_reject_is_never_softened(
    verdict: str, expected: str, grey: int, run: Path
) -> None:
    _judging(run, verdict, "pill_blister")
    (found,) = Predictor(run, device="cpu").predict(np.full((64, 64), grey, np.uint8), category="pill_blister")
    assert found.verdict == expected
    assert found.reasons[0].what == "no content"
    assert str(found.reason).startswith("no content (range 0, at least 2)")


def test_a_good_photograph_has_no_reason_and_passes(run: Path, tiny_data: Path) -> None:
    _judging(run, "pass", "pill_blister")
    for found in Predictor(run, device="cpu").predict(sorted(tiny_data.glob("pill_blister/test/good/*.png"))):
        assert (found.verdict, found.reasons, found.reason) == ("pass", (), None)


def test_without_limits_there_is_a_reason_and_no_verdict(run: Path) -> None:
    (found,) = Predictor(run, device="cpu").predict(np.full((64, 64), 90, np.uint8), category="pill_blister")
    assert found.verdict is None
    assert found.reasons


def test_a_photograph_named_wrongly_does_not_pass(run: Path, factory: Path) -> None:
    learn_products(run, open_catalog(factory).select(split="train"), device="cpu")
    _judging(run, "pass", "pill_blister", "printed_board")
    predictor = Predictor(run, device="cpu")
    board, fabric = (read_image(factory / name / "test/good/000.png") for name in ("printed_board", "woven_fabric"))
    (wrong, foreign) = predictor.predict([board, fabric], category="pill_blister")
    assert (wrong.verdict, [reason.what for reason in wrong.reasons]) == ("review", ["looks like printed_board"])
    assert (foreign.verdict, [reason.what for reason in foreign.reasons]) == ("review", ["looks like unknown product"])
    assert "looks like unknown product (p-value 0.0" in str(foreign.reason)
    unnamed, right = predictor.predict([fabric, board])
    assert (unnamed.verdict, unnamed.reasons) == ("unknown product", ())
    assert (right.verdict, right.reasons) == ("pass", ())


def test_reasons_are_in_both_tables(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    _judging(run, "pass", "pill_blister", "printed_board")
    folder = Path(copytree(tiny_data / "pill_blister/test/good", tmp_path / "pill_blister"))
    Image.new("L", (64, 64), 128).save(folder / "dead.png")
    out = tmp_path / "out"
    write_predictions(
        Predictor(run, device="cpu"), find_images([folder]), out, batch_size=4, category=None, progress=lambda *_: None
    )
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert rows["dead.png"]["verdict"] == "review"
    assert rows["dead.png"]["reason"].startswith("no content (range 0, at least 2)")
    assert (rows["000.png"]["verdict"], rows["000.png"]["reason"]) == ("pass", "")
    entries = {Path(entry["path"]).name: entry for entry in json.loads((out / "results.json").read_text("utf-8"))}
    (first, *_) = entries["dead.png"]["reasons"]
    assert first == {"what": "no content", "quantity": "range", "value": 0.0, "limit": 2.0}
    assert entries["000.png"]["reasons"] == []
