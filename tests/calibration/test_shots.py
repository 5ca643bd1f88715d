"""Few photographs: which are drawn, and that nothing is done with the others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.calibration.shots import draw_shots
from muad.datasets.index import open_catalog
from muad.errors import ConfigError, DataError
from muad.evaluation.unseen import select_unseen
from muad.runs.folder import read_run
from muad.runs.images import not_set_aside, read_run_images
from muad.types import Record

ROOT = Path("/data")


def records(count: int, category: str = "bolt") -> list[Record]:
    return [
        Record(path=ROOT / category / f"{number:03d}.png", category=category, split="train", is_anomalous=False)
        for number in range(count)
    ]


def draw(good: list[Record], shots: int, seed: int = 1, alike: tuple[tuple[int, ...], ...] = ()) -> set[str]:
    together = {index for group in alike for index in group}
    groups = [
        *(tuple(good[i] for i in group) for group in alike),
        *((one,) for i, one in enumerate(good) if i not in together),
    ]
    return {one.path.stem for one in draw_shots(good, {good[0].category: groups}, shots, seed, ROOT).drawn}


def test_a_draw_is_the_same_whatever_the_order_of_the_files_and_holds_the_smaller_ones() -> None:
    good = records(40)
    assert draw(good, 4) == draw(good[::-1], 4) == {"008", "011", "015", "032"}, "the same on every machine"
    assert draw(good, 1) < draw(good, 2) < draw(good, 4) < draw(good, 8)
    assert len({frozenset(draw(good, 4, seed)) for seed in range(10)}) == 10


def test_every_image_is_drawn_as_often_as_any_other() -> None:
    good = records(10)
    counts = np.zeros(10)
    for seed in range(400):
        for name in draw(good, 3, seed):
            counts[int(name)] += 1
    assert (np.abs(counts - 120) < 40).all()  # four standard deviations of a binomial of 400 draws


def test_of_what_shows_the_same_part_one_is_drawn_before_a_second() -> None:
    good, alike = records(8), ((0, 1, 2), (3, 4))
    for seed in range(20):
        drawn = draw(good, 5, seed, alike)
        assert len(drawn & {"000", "001", "002"}) == len(drawn & {"003", "004"}) == 1
    assert len(draw(good, 8, 1, alike)) == 8
    told = draw_shots(good, {"bolt": [good[:3], good[3:5], *([one] for one in good[5:])]}, 6, 1, ROOT).notes
    assert told[1] == "bolt: its 6 photographs show only 5 different parts or pictures; the others repeat them"


def test_a_product_with_fewer_is_named_with_what_to_do() -> None:
    good = [*records(3), *records(9, "cloth")]
    with pytest.raises(
        DataError, match=r"training\.shots = 4 good training images of every product, got bolt 3\. Take "
    ):
        draw_shots(good, {"bolt": [good[:3]], "cloth": [good[3:]]}, 4, 1, ROOT)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, photos: Path, tiny_recipe: Path) -> tuple[Path, list[str]]:
    """A run of two photographs of each of two products, and what was told of it."""
    from muad import api

    out, told = tmp_path_factory.mktemp("few") / "run", list[str]()
    overrides = ["training.shots=2", "training.shots_seed=7"]
    api.train(photos, out, recipe=tiny_recipe, overrides=overrides, device="cpu", note=told.append)
    return out, told


def test_a_run_says_what_it_drew_and_what_it_set_aside(few: tuple[Path, list[str]], photos: Path) -> None:
    run, told = few
    facts, images = read_run(run), read_run_images(run)
    assert images is not None
    assert (facts["shots"], facts["shots_seed"], facts["categories"]) == (2, 7, {"bolt": 2, "cloth": 2})
    assert {name: len(own) for name, own in images.set_aside.items()} == {"bolt": 3, "cloth": 3}
    assert images.training_names.isdisjoint(images.set_aside_names)
    assert not images.calibration_names
    assert any(
        "2 of each product, 4 in all, drawn by training.shots_seed 7; the other 6 are set aside" in t for t in told
    )
    catalog = open_catalog(photos)
    left = not_set_aside(run, catalog.select(split="train"), catalog.root)
    assert {one.path for one in left} == {photos / name for name in images.training_names}


def test_training_says_what_so_few_photographs_may_be_expected_to_give(few: tuple[Path, list[str]]) -> None:
    _, told = few
    (said,) = (sentence for sentence in told if sentence.startswith("few photographs (bolt 2, cloth 2)"))
    assert "muad calibrate RUN --cross-fit 2 gives a review limit that one good part in 3 exceeds" in said


def test_a_resumed_run_keeps_its_draw_and_refuses_another(
    few: tuple[Path, list[str]], photos: Path, tiny_recipe: Path
) -> None:
    from muad import api

    run, _ = few
    before = (run / "images.json").read_bytes()
    api.train(photos, run, device="cpu", resume=True)
    assert (run / "images.json").read_bytes() == before
    changed = ["training.shots=2", "training.shots_seed=8"]
    with pytest.raises(ConfigError, match=r"training\.shots_seed must stay 7 to resume this run, got 8"):
        api.train(photos, run, recipe=tiny_recipe, overrides=changed, device="cpu", resume=True)


def test_what_was_set_aside_is_never_tested_on(few: tuple[Path, list[str]], photos: Path, tmp_path: Path) -> None:
    """Neither where the split is muad's own, nor as a test image that shows the part of one that was drawn from."""
    run, _ = few
    images = read_run_images(run)
    assert images is not None
    shown = tmp_path / "shown"
    for category in ("bolt", "cloth"):
        for kind in ("good", "scratch"):
            shutil.copytree(photos / category / "test" / kind, shown / category / "test" / kind)
    aside = sorted(images.set_aside_names)[0]
    Path(shown / Path(aside).parts[0] / "test/good/copy.png").write_bytes((photos / aside).read_bytes())
    Image.fromarray(np.zeros((60, 64, 3), np.uint8)).save(shown / "bolt/test/good/new.png")
    unseen = select_unseen(run, open_catalog(shown, for_training=False))
    names = {record.path.name for record in unseen.records if record.path.parent.name == "good"}
    assert "new.png" in names
    assert "copy.png" not in names
    assert unseen.notes[0].startswith("left out of the test images: 1 good image that this run of few photographs set")


def test_with_a_split_of_muads_own_the_rest_is_not_taken_for_new_photographs(
    train_tiny: Callable[..., object], tmp_path: Path
) -> None:
    folder, random = tmp_path / "data" / "nut", np.random.default_rng(5)
    for number in range(14):
        file = folder / ("good" if number < 12 else "bad") / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (60, 60, 3), np.uint8)).save(file)
    train_tiny(tmp_path / "run", "training.shots=3", "schedule.total_steps=2", data=folder.parent)
    catalog = open_catalog(folder.parent)
    unseen = select_unseen(tmp_path / "run", catalog)
    assert {one.path for one in unseen.records} == {one.path for one in catalog.select(split="test")}
    kept = json.loads((tmp_path / "run" / "images.json").read_text(encoding="utf-8"))
    assert len(kept["training"]["nut"]) == 3
    assert len(kept["training"]["nut"]) + len(kept["set_aside"]["nut"]) == len(catalog.select(split="train"))


def test_a_run_of_few_is_cross_fitted_on_what_it_drew(few: tuple[Path, list[str]], tmp_path: Path) -> None:
    from muad import api
    from muad.training.cross_fitting import cross_fit

    run = tmp_path / "run"
    shutil.copytree(few[0], run)
    found = cross_fit(run, 2, device="cpu")
    assert {name: len(scored.scores) for name, scored in found.items()} == {"bolt": 2, "cloth": 2}
    limits = api.calibrate(run, cross_fitted=found, device="cpu")
    review = limits["bolt"].review
    assert (review.carried, review.assumed) == (pytest.approx(1 / 3), True)
