"""The questions of a check, one by one, on values whose answers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from muad.checking.cost import estimate_cost
from muad.checking.defects import defects_in_patches, small_defects
from muad.checking.findings import DataCheck, Finding, Kind, by_cause
from muad.checking.outliers import long_parts, odd_exposure, odd_sizes, robust_limit
from muad.checking.reading import Seen
from muad.checking.repeats import find_repeats
from muad.checking.suspicion import leave_one_out
from muad.configuration.run_config import RunConfig, load_config
from muad.images.near_duplicates import appearance
from muad.images.preprocessing import Preprocessing
from muad.types import Record


def _seen(name: str, *, bad: bool = False, split: str = "train", category: str = "bolt", **what: object) -> Seen:
    record = Record(path=Path(name), category=category, split=split, is_anomalous=bad)  # type: ignore[arg-type]
    return Seen(record=record, **what)  # type: ignore[arg-type]


def _picture(seed: int, digest: str = "") -> dict[str, object]:
    image = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    return {"appearance": appearance(image), "digest": digest or str(seed)}


def test_the_robust_limit_is_that_of_a_normal_distribution_and_does_not_mind_outliers() -> None:
    values = np.random.default_rng(0).normal(10, 2, 20_000)
    assert robust_limit(values, 3.0) == pytest.approx(16, abs=0.15)
    assert robust_limit(np.r_[values, np.full(500, 1e6)], 3.0) == pytest.approx(16, abs=1.0)


def test_a_picture_on_both_sides_is_leakage_and_under_two_labels_a_conflict() -> None:
    findings, groups, moved = find_repeats(
        [
            _seen("a", **_picture(1)), _seen("b", **_picture(1)), _seen("c", **_picture(2)),
            _seen("d", split="test", **_picture(2)), _seen("e", **_picture(3)),
            _seen("f", bad=True, split="test", **_picture(3)), _seen("g", **_picture(4)),
            _seen("h", category="nut", **_picture(4)), _seen("i", **_picture(5)),
        ]
    )  # fmt: skip
    kinds = {finding.images[0].name: finding.kind for finding in findings}
    assert kinds == {"a": "duplicate", "c": "leakage", "e": "label_conflict", "g": "duplicate"}
    assert "in different categories (bolt, nut)" in next(f.text for f in findings if f.images[0].name == "g")
    assert groups == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert moved == {}


def test_a_split_chosen_here_is_not_called_leakage() -> None:
    images = [
        _seen("a", **_picture(1)),
        _seen("b", split="test", **_picture(1)),
        _seen("c", split="test", **_picture(2)),
    ]
    chosen = [replace(image, record=replace(image.record, split_chosen=True)) for image in images]
    findings, _, moved = find_repeats(chosen)
    assert [finding.kind for finding in findings] == ["duplicate"]
    assert moved == {chosen[1].record.path: "train"}


def test_distances_to_the_fourth_nearest_other_image_are_those_of_brute_force() -> None:
    patches = F.normalize(torch.randn(7, 4, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    whole, farthest, places = leave_one_out(patches)
    pooled = F.normalize(patches.mean(1), dim=-1)
    for index in range(7):
        others = [other for other in range(7) if other != index]
        apart = sorted(float((pooled[index] - pooled[other]).norm()) for other in others)
        assert whole[index] == pytest.approx(apart[3], abs=1e-5)
        alone = [
            sorted(min(float((patch - like).norm()) for like in patches[other]) for other in others)[3]
            for patch in patches[index]
        ]
        assert farthest[index] == pytest.approx(max(alone), abs=1e-3)
        assert places[index] == int(np.argmax(alone))


def test_three_bad_parts_of_a_kind_do_not_vouch_for_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.tensor([1.0, 0, 0]) + 0.02 * torch.randn(12, 4, 3, generator=generator)
    patches[9:, 2] = torch.tensor([0.0, 1, 0])
    _, farthest, places = leave_one_out(F.normalize(patches, dim=-1))
    assert farthest[9:].min() > 10 * farthest[:9].max()
    assert (places[9:] == 2).all()


def test_copies_are_no_evidence_for_each_other() -> None:
    patches = F.normalize(torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    patches[1] = patches[0]
    assert leave_one_out(patches[:2])[0][0] == pytest.approx(0, abs=1e-3)
    assert np.isnan(leave_one_out(patches[:2], [(0, 1)])[0]).all()
    assert leave_one_out(patches, [(0, 1)])[0][0] == leave_one_out(patches[[0, 2, 3]])[0][0]


def test_dark_and_blurred_images_stand_out_and_a_tiny_spread_makes_no_outliers() -> None:
    usual = [_seen(str(n), brightness=0.5 + 0.001 * (n % 3), sharpness=2.0) for n in range(10)]
    odd = [_seen("dark", brightness=0.2, sharpness=2.0), _seen("blurred", brightness=0.5, sharpness=1.0)]
    found = {(finding.kind, finding.images[0].name) for finding in odd_exposure([*usual, *odd])}
    assert found == {("exposure", "dark"), ("blur", "blurred")}
    assert odd_exposure([*usual[:3], *odd]) == []


def test_one_cause_is_one_finding_unless_a_place_is_to_be_looked_at() -> None:
    def about(kind: Kind, name: str, box: tuple[float, float, float, float] | None = None) -> Finding:
        return Finding(kind=kind, category="bolt", images=(Path(name),), text=f"{kind}.", box=box)

    place = (0.0, 0.0, 0.5, 0.5)
    found = by_cause(
        [
            about("suspicious", "dark"), about("suspicious", "bad", place), about("suspicious", "blurred", place),
            about("blur", "dark"), about("blur", "blurred"), about("exposure", "dark"),
        ]
    )  # fmt: skip
    assert {(finding.kind, finding.images[0].name, finding.text) for finding in found} == {
        ("exposure", "dark", "exposure. Also: blur. Also: suspicious."),
        ("blur", "blurred", "blur."),
        ("suspicious", "blurred", "suspicious."),
        ("suspicious", "bad", "suspicious."),
    }


def test_sizes_and_aspect_ratios_that_differ_are_named() -> None:
    images = [*(_seen(str(n), size=(100, 200)) for n in range(5)), _seen("tall", size=(200, 100)),
              _seen("small", size=(20, 40))]  # fmt: skip
    views = Preprocessing(resize_px=(50, 50), crop_px=(50, 50))
    ratio, small = odd_sizes(images, views)
    assert [path.name for path in ratio.images] == ["tall"]
    assert [path.name for path in small.images] == ["small"]
    assert odd_sizes(images[:5], views) == []
    letterbox = Preprocessing(resize_px=(50, 50), crop_px=(50, 50), fit="letterbox")
    assert [path.name for finding in odd_sizes(images, letterbox) for path in finding.images] == ["small"]


def test_defects_are_counted_in_patches_of_the_resized_image() -> None:
    images = [_seen("a", bad=True, size=(280, 560), defects_px=(14 * 28 * 4, 14 * 28))]
    views = Preprocessing(resize_px=(280, 280), crop_px=(196, 196))
    patches = defects_in_patches(images, views, 14)
    np.testing.assert_allclose(patches, [4, 1])
    letterbox = Preprocessing(resize_px=(280, 280), crop_px=(280, 280), fit="letterbox")
    np.testing.assert_allclose(defects_in_patches(images, letterbox, 14), [2, 0.5])
    tiled = Preprocessing(resize_px=(280, 280), crop_px=(280, 280), tiles=(1, 2))
    np.testing.assert_allclose(defects_in_patches(images, tiled, 14), [8, 2])


def test_small_defects_are_said_with_the_tiles_that_make_them_large_enough() -> None:
    views = Preprocessing(resize_px=(280, 280), crop_px=(280, 280))
    assert small_defects("bolt", np.array([4.0, 1.0]), views, (2000, 2000)) == []
    (finding,) = small_defects("bolt", np.array([0.25] * 2 + [4.0]), views, (2000, 2000))
    assert "2 of 3 defects" in finding.text
    assert finding.settings == ("images.tiles=[2,3]",)
    assert "--set images.tiles=[2,3], 6 times the time" in finding.text
    (coarse,) = small_defects("bolt", np.array([0.25] * 2 + [4.0]), views, (300, 300))
    assert coarse.settings == ()
    assert "hold no more detail: photograph closer" in coarse.text
    (again,) = small_defects("bolt", np.array([0.5]), replace(views, tiles=(2, 2)), (2000, 2000))
    assert again.settings == ("images.tiles=[3,3]",)


def test_long_parts_are_said_with_tiles_or_letterbox() -> None:
    views = Preprocessing(resize_px=(280, 280), crop_px=(280, 280))
    assert long_parts("rail", (900, 1200), views) == []
    (finding,) = long_parts("rail", (600, 1900), views)
    assert finding.settings == ("images.tiles=[1,3]", "images.fit=letterbox")
    assert "--set images.tiles=[1,3] or --set images.fit=letterbox" in finding.text
    (small,) = long_parts("rail", (300, 100), views)
    assert small.settings == ("images.fit=letterbox",)
    assert long_parts("rail", (600, 1900), replace(views, tiles=(1, 3))) == []
    assert long_parts("rail", (300, 100), replace(views, fit="letterbox")) == []


def test_the_finest_tiles_any_product_needs_are_proposed_for_all() -> None:
    def about(*settings: str) -> Finding:
        return Finding(kind="small_defects", category="a", images=(), text="", settings=settings)

    check = DataCheck(
        data=Path("photos"), layout="folder", data_hash="", categories=(), cost=None, notes=(),
        findings=(about("images.tiles=[1,3]", "images.fit=letterbox"), about(), about("images.tiles=[2,2]"),
                  about("images.fit=letterbox")),
    )  # fmt: skip
    assert check.proposed == ("images.tiles=[2,2]", "images.fit=letterbox")
    assert check.to_json()["proposed"] == list(check.proposed)


def _cost(recipe: Path, **settings: object) -> tuple[float, int]:
    config: RunConfig = load_config(recipe, [f"{key}={value}" for key, value in settings.items()])
    cost = estimate_cost(config, 100, torch.device("cpu"))
    return cost.seconds, cost.memory_bytes


def test_a_training_of_diffusion_ad_has_an_estimate_as_well() -> None:
    small = ["resize_px=[32, 32]", "denoiser.width=8", "denoiser.multipliers=[1, 2]", "denoiser.blocks_per_level=1"]
    small += ["denoiser.attention_levels=1", "segmenter_width=4"]
    config = load_config(None, ['detector.name="diffusion_ad"', *(f"detector.{setting}" for setting in small)])
    cost = estimate_cost(config, 10, torch.device("cpu"))
    assert (cost.network, cost.image_px) == ("diffusion_ad", (32, 32))
    assert cost.seconds > 0


def test_the_estimate_grows_with_the_batch_and_with_the_length(tiny_recipe: Path) -> None:
    seconds, memory = _cost(tiny_recipe)
    assert _cost(tiny_recipe, **{"training.batch_size": 64})[1] > memory
    assert _cost(tiny_recipe, **{"schedule.total_steps": 12_000})[0] > 20 * seconds
