"""A run is evaluated on images it has not seen: photographs it knows are left out, whatever they are called."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muad import Predictor, api
from muad.datasets.index import open_catalog
from muad.errors import DataError
from muad.evaluation.unseen import select_unseen
from muad.metrics.report import Report
from muad.reporting.content import read_content
from muad.reporting.report import report
from muad.runs.images import images_of, pixel_digest, remember_calibrated, write_run_images
from muad.types import Record

GOOD = 12


def _draw(file: Path, seed: int, *, bad: bool = False) -> Path:
    pixels = np.random.default_rng(seed).integers(60, 180, (60, 64, 3), np.uint8)
    if bad:
        pixels[20:40, 10:50] = 255
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path) -> Path:
    """`bolt/good` with twelve photographs, and a run trained on them before any `bolt/bad` was there."""
    folder = tmp_path_factory.mktemp("plant")
    for number in range(GOOD):
        _draw(folder / f"bolt/good/{number:03d}.png", number)
    settings = ["schedule.total_steps=4", "schedule.warmup_steps=1"]
    api.train(folder / "bolt", folder / "run", recipe=tiny_recipe, overrides=settings, device="cpu")
    return folder


@pytest.fixture
def later(plant: Path, tmp_path: Path) -> Path:
    """The same, where three bad photographs were put beside the good ones since."""
    shutil.copytree(plant, tmp_path / "plant")
    for number in range(3):
        _draw(tmp_path / f"plant/bolt/bad/{number:03d}.png", 100 + number, bad=True)
    return tmp_path / "plant"


def _evaluate(folder: Path, data: Path | None = None, **how: Any) -> tuple[Report, list[str]]:
    said: list[str] = []
    found = api.evaluate(folder / "run", data or folder / "bolt", device="cpu", note=said.append, **how)
    return found, said


def test_what_was_trained_on_is_not_tested_when_bad_ones_come_later(later: Path) -> None:
    held_out = [record for record in open_catalog(later / "bolt").select(split="test") if not record.is_anomalous]
    assert held_out, "the reader takes some of the good ones for a test share"
    found, said = _evaluate(later)
    assert found.images == 3
    assert found.seen is not None
    assert (found.seen.checked, found.seen.trained_on, found.seen.calibrated_on) == (True, len(held_out), 0)
    assert found.seen.by_pixels
    left_out = f"left out of {3 + len(held_out)} test images: {len(held_out)} image"
    assert any(line.startswith(left_out) and "it was trained on; 3 to test on, 0 good and 3 anomalous" in line
               for line in said)  # fmt: skip
    assert any("no good image is left that the run has not seen" in line for line in said)
    stored = json.loads((later / "run/evaluation.json").read_text(encoding="utf-8"))
    assert stored["seen"]["trained_on"] == len(held_out)
    assert Report.from_json(stored).seen == found.seen


def test_good_photographs_that_were_added_since_are_tested_all_of_them(later: Path) -> None:
    for number in range(6):
        _draw(later / f"bolt/good/new-{number}.png", 200 + number)
    found, said = _evaluate(later)
    assert found.images == 9
    assert found.categories["bolt"].image_auroc is not None
    tested = (later / "run/evaluation.csv").read_text(encoding="utf-8")
    assert tested.count("good/new-") == 6
    assert any("because the run has not seen them" in line for line in said)
    page = report(later / "run", device="cpu").read_text(encoding="utf-8")
    assert "was then tested on 9 photographs it" in " ".join(page.split())
    assert "had not seen: 6 good, 3 defective" in " ".join(page.split())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_copies_are_known_under_another_name_and_in_another_format(later: Path, suffix: str) -> None:
    other = later / "delivery"
    for number in range(3):
        copy = _draw(other / f"test/good/unlike-{number}.png", number)
        Image.open(copy).save(copy.with_suffix(suffix))
        if suffix != ".png":
            copy.unlink()
        _draw(other / f"train/good/{number}.png", 300 + number)
        _draw(other / f"test/bad/{number}.png", 400 + number, bad=True)
    _draw(other / "test/good/fresh.png", 500)
    found, said = _evaluate(later, other)
    assert found.seen is not None
    assert (found.seen.compared, found.seen.trained_on) == (7, 3)
    assert found.images == 4
    assert any("3 images it was trained on; 4 to test on, 1 good and 3 anomalous" in line for line in said)


def test_strict_refuses_before_anything_is_computed(later: Path) -> None:
    with pytest.raises(DataError, match=r"must be such as the run has not seen, got .* it was trained on, such as "):
        _evaluate(later, strict=True)
    assert not (later / "run/evaluation.json").exists()


def test_an_unfinished_training_is_named(later: Path) -> None:
    facts = json.loads((later / "run/run.json").read_text(encoding="utf-8"))
    del facts["finished"]
    (later / "run/run.json").write_text(json.dumps(facts), encoding="utf-8")
    _, said = _evaluate(later)
    assert any(line.startswith("training is not finished: step 4 of 4 ") and line.endswith("run --resume")
               for line in said)  # fmt: skip
    heard: list[str] = []
    Predictor(later / "run", device="cpu", note=heard.append)
    assert [line for line in heard if line.startswith("training is not finished: ")]


def test_nothing_left_is_one_line(later: Path) -> None:
    shutil.rmtree(later / "bolt/bad")
    for number in range(2):
        file = later / f"copies/test/good/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(later / f"bolt/good/{number:03d}.png", file)
        _draw(later / f"copies/train/good/{number}.png", 600 + number)
    with pytest.raises(DataError, match=r"images the run has not seen, got 2 images it was trained on and no other"):
        _evaluate(later, later / "copies")


def test_a_run_that_does_not_remember_claims_nothing(later: Path) -> None:
    (later / "run/images.json").unlink()
    found, said = _evaluate(later)
    assert found.seen is not None
    assert not found.seen.checked
    assert any("whether it has seen these images is not known" in line for line in said)
    page = " ".join(report(later / "run", device="cpu").read_text(encoding="utf-8").split())
    assert "it had not seen" not in page
    assert "it is not known whether it had seen them" in page


def test_figures_of_a_release_that_did_not_compare_claim_nothing(later: Path) -> None:
    _evaluate(later)
    file = later / "run/evaluation.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    del stored["seen"]
    file.write_text(json.dumps(stored), encoding="utf-8")
    assert not read_content(later / "run").is_unseen
    assert "it had not seen" not in " ".join(report(later / "run", device="cpu").read_text(encoding="utf-8").split())


def test_what_limits_were_set_on_is_left_out_too(later: Path) -> None:
    own = [_draw(later / f"bolt/good/own-{number}.png", 700 + number) for number in range(4)]
    remember_calibrated(later / "run", {"bolt": own[:3]})
    found, said = _evaluate(later)
    assert found.seen is not None
    assert found.images == 4  # three bad ones, and the good one that is new in every way
    shutil.rmtree(later / "bolt/bad")
    remember_calibrated(later / "run", {"bolt": own[3:]})
    tested = later / "elsewhere"
    for file in own:
        (tested / "test/good").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tested / "test/good" / file.name)
    _draw(tested / "train/good/0.png", 800)
    found, said = _evaluate(later, tested)
    assert found.images == 3, "limits are those of the last calibration"
    assert found.seen is not None
    assert found.seen.calibrated_on == 1
    assert any("1 image it was calibrated on; 3 to test on" in line for line in said)


def test_the_share_kept_for_calibration_is_known(later: Path) -> None:
    catalog = open_catalog(later / "bolt")
    good = [record for record in catalog.records if not record.is_anomalous]
    write_run_images(later / "run", images_of(catalog.root, catalog.layout, good[:6], good[6:]))
    seen = select_unseen(later / "run", catalog).seen
    testing = [record for record in catalog.select(split="test") if not record.is_anomalous]
    assert seen.trained_on + seen.calibrated_on == len(testing)
    assert seen.calibrated_on == sum(record in good[6:] for record in testing)


def test_a_split_of_the_users_own_is_kept(later: Path, photos: Path) -> None:
    catalog = open_catalog(photos)
    found = select_unseen(later / "run", catalog)
    assert found.records == catalog.select(split="test")
    assert found.notes == ()


def test_large_data_sets_are_compared_by_their_files_alone(monkeypatch: pytest.MonkeyPatch, later: Path) -> None:
    from muad.runs import images as run_images

    records = [
        Record(path=path, category="bolt", split="train", is_anomalous=False)
        for path in (later / "bolt").rglob("*.png")
    ]
    assert images_of(later, "folder", records, []).pixels
    monkeypatch.setattr(run_images, "_PIXELS_UP_TO", 1000)
    assert not images_of(later, "folder", records, []).pixels


def test_pixels_of_any_depth_have_a_digest_of_their_own(tmp_path: Path) -> None:
    dark = np.random.default_rng(1).integers(0, 200, (8, 8)).astype(np.uint16)
    for name, values in (("a", dark), ("b", dark[::-1].copy())):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    digests = {name: pixel_digest(tmp_path / name) for name in ("a.png", "a.tif", "b.png", "b.tif")}
    assert digests["a.png"] == digests["a.tif"] != digests["b.png"] == digests["b.tif"]
    (tmp_path / "no.png").write_bytes(b"no image")
    assert pixel_digest(tmp_path / "no.png") is None
