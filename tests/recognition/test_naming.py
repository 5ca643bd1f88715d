"""How often products are named rightly, on labelled photographs."""

import json
import shutil
from pathlib import Path

import pytest

from muad import api, learn_products, report
from muad.datasets.index import open_catalog
from muad.errors import CheckpointError
from muad.recognition import Recogniser, naming
from muad.recognition.naming import Naming, measure_names, read_names, write_names
from muad.toy_factory import write_toy_factory


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the two products of the run, and of a third."""
    folder = tmp_path_factory.mktemp("factory") / "data"
    names = ("pill_blister", "printed_board", "woven_fabric")
    write_toy_factory(folder, image_px=64, train_per_category=4, test_normal=3, test_per_defect=1, categories=names)
    return folder


def test_good_bad_and_strangers_are_counted_apart(
    tiny_run: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    train = open_catalog(photographs).select(split="train")
    learn_products(run, train, device="cpu")
    tests = open_catalog(photographs).select(split="test")
    done: list[tuple[int, int]] = []
    news = lambda *counts: done.append(counts)  # noqa: E731
    found = {each.kind: each for each in measure_names(Recogniser.of_run(run, "cpu"), None, tests, news)}
    good, bad, strangers = found["good"], found["bad"], found["strangers"]
    trained = [record for record in tests if record.category != "woven_fabric"]
    assert (good.total, bad.total) == (6, sum(record.is_anomalous for record in trained))
    assert strangers.total == len(tests) - len(trained)
    assert (good.right, strangers.right, good.misnamed + bad.misnamed) == (6, strangers.total, 0)
    assert done[-1] == (len(tests), len(tests))
    monkeypatch.setattr(naming, "MOST_NAMED", 5)
    few = measure_names(Recogniser.of_run(run, "cpu"), None, tests, news)
    assert sum(each.total for each in few) == 5
    assert done[-1] == (5, 5)
    assert {each.kind for each in few} == set(found)


def test_evaluation_says_it_and_the_report_shows_it(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run, said = Path(shutil.copytree(tiny_run, tmp_path / "run")), []
    api.evaluate(run, tiny_data, device="cpu", note=said.append)
    lines = [line for line in said if line.startswith("products: of ")]
    assert len(lines) == 2
    page = report(run, device="cpu").read_text(encoding="utf-8")
    assert "Is the product recognised?" in page
    assert lines[0].removeprefix("products: ") in page
    (run / "products.toml").unlink()
    api.evaluate(run, tiny_data, device="cpu")
    assert not (run / "naming.json").exists()


def test_names_are_read_for_the_same_images_only(tmp_path: Path) -> None:
    names = [
        Naming(kind="good", right=9, unknown=1, misnamed=0),
        Naming(kind="strangers", right=4, unknown=0, misnamed=1),
    ]
    write_names(names, tmp_path, "hash")
    assert read_names(tmp_path, "hash") == names
    assert read_names(tmp_path, "other") == []
    (tmp_path / "naming.json").write_text(json.dumps({"data_hash": "hash", "names": {"good": {"right": 1}}}))
    with pytest.raises(CheckpointError, match="names must hold right, unknown and misnamed"):
        read_names(tmp_path, "hash")
    write_names([], tmp_path, "hash")
    assert read_names(tmp_path, "hash") == []


def test_names_in_words() -> None:
    assert Naming(kind="bad", right=7, unknown=2, misnamed=1).sentence() == (
        "of 10 photographs of bad parts, 7 are recognised as their product, 1 as another, 2 as none"
    )
    assert Naming(kind="strangers", right=7, unknown=0, misnamed=0).sentence() == (
        "of 7 photographs of products not trained on, none is taken for a trained one"
    )
