"""The whole check: planted faults are found, a sound data set is left alone, the cost is counted."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muad.checking import DataCheck, check, check_data
from muad.checking.findings import MEANINGS, REMEDIES
from muad.checking.reading import Seen
from muad.errors import ConfigError, DataError
from muad.toy_factory import write_toy_factory

TINY = """
[detector]
resize_px = [28, 28]
crop_px = [28, 28]
[schedule]
total_steps = 10
warmup_steps = 1
"""


def _part(random: np.random.Generator, shift: int) -> np.ndarray:
    """A plate with a hole on a table, at slightly different places and with a grain of its own."""
    image = np.full((96, 96, 3), 90, np.uint8)
    grain = np.repeat(np.repeat(random.normal(0, 12, (14, 16, 1)), 4, 0), 4, 1)
    image[20 + shift : 76 + shift, 16:80] = 170 + grain
    image[40 + shift : 52 + shift, 40:52] = 30
    return np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "data"
    random = np.random.default_rng(0)
    for split, count in (("train", 14), ("test", 4)):
        folder = root / "plate" / split / "good"
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(_part(random, number % 7 - 3)).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def faulty(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(sound, tmp_path_factory.mktemp("faulty") / "data"))
    train, test = root / "plate/train/good", root / "plate/test/good"
    shutil.copy(train / "001.png", train / "copy.png")
    shutil.copy(train / "002.png", test / "leak.png")
    (train / "003.png").write_bytes((train / "003.png").read_bytes()[:900])
    scratched = np.array(Image.open(train / "004.png"))
    scratched[30:66, 22:30] = (255, 40, 40)
    Image.fromarray(scratched).save(train / "scratched.png")
    defect, mask = root / "plate/test/scratch", root / "plate/ground_truth/scratch"
    defect.mkdir()
    mask.mkdir(parents=True)
    shutil.copy(train / "005.png", defect / "same.png")
    Image.fromarray(np.pad(np.full((3, 3), 255, np.uint8), (0, 93))).save(mask / "same_mask.png")
    Image.fromarray((np.array(Image.open(train / "006.png")) // 4).astype(np.uint8)).save(train / "dark.png")
    Image.fromarray(np.array(Image.open(train / "007.png"))[:48]).save(train / "flat.png")
    return root


@pytest.fixture(scope="module")
def found(faulty: Path, recipe: Path) -> DataCheck:
    return check_data(faulty, recipe=recipe, device="cpu")


def _named(found: DataCheck, kind: str) -> set[str]:
    return {path.name for finding in found.findings if finding.kind == kind for path in finding.images}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("unreadable", "003.png"),
        ("duplicate", "copy.png"),
        ("leakage", "leak.png"),
        ("label_conflict", "same.png"),
        ("suspicious", "scratched.png"),
        ("exposure", "dark.png"),
        ("size", "flat.png"),
    ],
)
def test_a_planted_fault_is_found(kind: str, name: str, found: DataCheck) -> None:
    assert name in _named(found, kind)


def test_a_defect_of_a_few_pixels_is_said_to_be_too_small(found: DataCheck) -> None:
    (finding,) = [finding for finding in found.findings if finding.kind == "small_defects"]
    assert finding.text.startswith("1 of 1 defects cover less than one patch at 28 x 28 px")
    (facts,) = found.categories
    assert facts.median_patches == pytest.approx(9 * (28 / 96) ** 2 / 14**2)


def test_parts_to_look_at_come_first_and_every_kind_has_a_meaning_and_a_remedy(found: DataCheck) -> None:
    kinds = list(MEANINGS)
    places = [kinds.index(finding.kind) for finding in found.findings]
    assert places == sorted(places)
    assert found.findings[0].kind == "suspicious"
    assert set(REMEDIES) == set(MEANINGS)
    assert list(found.counts) == [kind for kind in kinds if kind in found.counts]
    assert sum(found.counts.values()) == len(found.findings)


def test_a_sound_data_set_has_no_grave_finding(sound: Path, recipe: Path) -> None:
    found = check_data(sound, recipe=recipe, device="cpu")
    assert not {"unreadable", "leakage", "label_conflict", "duplicate", "exposure", "size"} & set(found.counts)
    (facts,) = found.categories
    assert (facts.train, facts.test_good, facts.test_bad) == (14, 4, 0)
    assert facts.median_patches is None


def test_features_of_one_category_at_a_time_are_in_memory(tmp_path: Path, recipe: Path, monkeypatch) -> None:
    write_toy_factory(
        tmp_path / "data", image_px=64, train_per_category=9, test_normal=1, test_per_defect=1,
        categories=("brushed_plate", "woven_fabric"),
    )  # fmt: skip
    kept: list[int] = []
    describe, found = check.Describer.describe, check.suspicious

    def described(self: check.Describer, views: Sequence[np.ndarray]) -> torch.Tensor:
        kept.append(len(views))
        return describe(self, views)

    def compared(images: Sequence[Seen], patches: torch.Tensor, *rest: Any) -> Any:
        assert len(images) == len(patches) == sum(kept) == 10
        kept.clear()
        return found(images, patches, *rest)

    monkeypatch.setattr(check.Describer, "describe", described)
    monkeypatch.setattr(check, "suspicious", compared)
    assert len(check_data(tmp_path / "data", recipe=recipe, device="cpu").categories) == 2
    assert not kept


def test_the_cost_is_of_the_training_asked_for(found: DataCheck) -> None:
    assert found.cost is not None
    assert (found.cost.network, found.cost.image_px, found.cost.steps) == ("muad-tiny", (28, 28), 10)
    assert found.cost.seconds > 0
    assert found.cost.memory_bytes > 10 * 2**20  # the decoder alone, with its optimizer


def test_the_cost_of_a_detector_that_is_told_of_its_categories_is_known(sound: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "told.toml"
    recipe.write_text(
        '[detector]\nname = "diffusion_ad"\nconditioning = "category"\nresize_px = [32, 32]\nsegmenter_width = 4\n'
        "denoiser = { width = 8, multipliers = [1, 2], blocks_per_level = 1, attention_levels = 1, heads = 2 }\n",
        encoding="utf-8",
    )
    found = check_data(sound, recipe=recipe, device="cpu")
    assert found.cost is not None
    assert found.cost.seconds > 0


def test_the_result_is_plain_values(found: DataCheck) -> None:
    values = json.loads(json.dumps(found.to_json()))
    assert len(values["findings"]) == len(found.findings)
    assert values["data_hash"].startswith("sha256:")


@pytest.mark.parametrize("name", ["missing", ""])
def test_no_data_set_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        check_data(tmp_path / name)


def test_a_wrong_recipe_is_told(sound: Path) -> None:
    with pytest.raises(ConfigError, match="recipe must be"):
        check_data(sound, recipe="nothing")


@pytest.mark.shared
def test_faults_planted_in_real_data_are_found(
    load_benchmark: Callable[[str], Any], shared_dir: Path, recipe: Path, tmp_path: Path
) -> None:
    benchmark = load_benchmark("check_data")
    planted = benchmark.plant(shared_dir / "data" / "metal_plate", tmp_path, each=4)
    table = benchmark.count(planted, check_data(tmp_path, recipe=recipe, device="cpu"))
    for fault in ("truncated file", "duplicate", "near-duplicate", "leakage", "bad part, large defect"):
        made, seen, _ = table[fault]
        assert seen == made > 1, fault
