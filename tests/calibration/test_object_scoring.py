"""A run trained on parts of two views keeps whole parts back, and sets their limits by itself."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import muad
from muad.decisions.limit_setting import object_limits_in_force
from muad.decisions.limits import read_calibration
from muad.decisions.object_limits import read_object_limits
from muad.runs.images import read_run_images

PARTS = 20


@pytest.fixture(scope="module")
def trained(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Twenty parts with a plain left side that is the same photograph for all; a list says part and view."""
    folder, random, said = tmp_path_factory.mktemp("two_sides"), np.random.default_rng(2), list[str]()
    lines = ["path,category,label,split,object_id,view"]
    plain = random.integers(90, 150, (40, 40, 3), np.uint8)
    for part in range(PARTS):
        for view in ("left", "top"):
            pixels = plain if view == "left" else random.integers(90, 150, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{part:02d}_{view}.png")
            lines.append(f"{part:02d}_{view}.png,box,good,train,{part:02d},{view}")
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    run = folder / "run"
    overrides = ["training.calibration_share=0.5"]
    muad.train(folder / "list.csv", run, recipe=tiny_recipe, overrides=overrides, device="cpu", note=said.append)
    return run, said


def test_whole_parts_are_kept_back_though_their_plain_sides_look_alike(trained: tuple[Path, list[str]]) -> None:
    kept = read_run_images(trained[0])
    assert kept is not None
    parts = {kept.objects[name][0] for name in kept.calibration_names}
    assert len(parts) == 10
    assert len(kept.calibration_names) == 20
    assert not parts & {kept.objects[name][0] for name in kept.training_names}
    assert "kept for calibration, not trained on: box 20 of 40 (20 count as 10) good images" in trained[1]


def test_limits_of_parts_are_set_without_a_word_of_the_user(trained: tuple[Path, list[str]]) -> None:
    run, said = trained
    limits, result = read_object_limits(run, ("box",)), object_limits_in_force(run)["box"]
    assert limits is not None
    assert limits.views == {"box": ("left", "top")}
    assert limits.rules.grouping == "manifest"
    assert result.count == 10
    assert limits.categories["box"].review == max(limits.calibration["box"])
    assert "limits of whole parts of box, from 10 good ones: review at 9.09 %" in said


def test_another_score_or_rate_needs_no_photograph(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    stored = read_calibration(run)
    assert stored is not None
    muad.calibrate(run, object_score="max", review_rate=0.2, device="cpu")
    limits = read_object_limits(run, ())
    assert limits is not None
    assert limits.rules.score == "max"
    assert limits.categories["box"].review == stored.objects["box"].scores["max"].scores[-2]  # 2 of 11 ranks
    muad.calibrate(run, review_rate=0.1, device="cpu")
    assert read_object_limits(run, ()).rules.score == "max"  # type: ignore[union-attr]
    assert tomllib.loads((run / "limits.toml").read_text(encoding="utf-8"))["objects"]["grouping"] == "manifest"


def test_parts_that_lack_a_view_or_have_an_odd_one_are_left_out_and_named(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run, good, said = Path(shutil.copytree(trained[0], tmp_path / "run")), tmp_path / "good", list[str]()
    random = np.random.default_rng(9)
    good.mkdir()
    for part in range(6):
        for view in ("left", "top"):
            if (part, view) != (0, "top"):
                name = "lfet" if (part, view) == (1, "left") else view
                pixels = random.integers(90, 150, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(good / f"n{part}_{name}.png")
    muad.calibrate(run, good, objects="{object}_{view}", device="cpu", note=said.append)
    assert (
        "box: left out of the limits of parts, because they have not one photograph of each view (left, top): 2 parts, "
        "n0, n1"
    ) in said
    assert object_limits_in_force(run)["box"].count == 4
    assert read_object_limits(run, ()).rules.grouping == "{object}_{view}"  # type: ignore[union-attr]


def test_a_rule_that_fits_no_photograph_is_told_and_photographs_get_their_limits(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run, said = Path(shutil.copytree(trained[0], tmp_path / "run")), list[str]()
    Image.fromarray(np.random.default_rng(3).integers(90, 150, (40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    results = muad.calibrate(run, tmp_path / "a.png", objects="{object}#{view}", device="cpu", note=said.append)
    assert results["box"].count == 1
    assert any("fits none of 1 photographs" in sentence for sentence in said)
