"""Settings nobody had to write, and what is said of them."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from muad.configuration.run_config import RunConfig, config_to_dict, parse_config
from muad.detectors import PatchCoreConfig
from muad.encoders.packages import PACKAGED
from muad.errors import ConfigError
from muad.images.settings import ImagesConfig
from muad.training.choose import adapt_config, choose_config, describe_choice
from muad.types import Catalog, Record


def catalog_of(images: int) -> Catalog:
    records = tuple(
        Record(path=Path(f"{number}.png"), category="bolt", split="train", is_anomalous=False)
        for number in range(images)
    )
    return Catalog(root=Path(), layout="folder", records=records)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("images", [1, 100, 674, 3629, 100_000])
def test_steps_grow_with_the_images_between_a_floor_and_what_the_device_can_do(images: int, device: str) -> None:
    config = choose_config(catalog_of(images), torch.device(device), {"detector": {"name": "dinomaly"}})
    assert 300 <= config.schedule.total_steps <= (1_000 if device == "cpu" else 10_000)
    assert config.detector.crop_px == config.detector.resize_px
    assert config.detector.easy_ramp_steps == config.schedule.total_steps // 10


@pytest.mark.parametrize(
    ("encoder", "side"), [("muad-tiny", 280), ("dinov2-reg-base", 224), ("deit-base", 224), ("random-vit-tiny", 224)]
)
def test_on_a_cpu_the_packaged_encoder_gets_the_size_of_its_table_of_positions(encoder: str, side: int) -> None:
    config = adapt_config(catalog_of(100), torch.device("cpu"), [f"detector.encoder.name={encoder}"])
    assert config.detector.crop_px == (side, side)
    family = config.detector.encoder.family()
    assert side % family.layout.patch_px == 0
    if encoder == "muad-tiny":
        assert side == family.layout.patch_px * family.layout.position_grid
        assert adapt_config(catalog_of(100), torch.device("cpu"), ["detector.name=dinomaly"]) == config


def test_length_share_and_memory_are_chosen_for_the_few_images_that_are_drawn() -> None:
    def chosen(*settings: str) -> RunConfig:
        return adapt_config(catalog_of(2000), torch.device("cpu"), settings)

    few = chosen("detector.name=dinomaly", "training.shots=8")
    assert (few.schedule.total_steps, few.training.calibration_share) == (300, 0.0)
    assert chosen("detector.name=dinomaly").schedule.total_steps == 1000
    assert chosen("training.shots=16").training.calibration_share == 0.2
    memory = chosen("training.shots=8").detector
    assert isinstance(memory, PatchCoreConfig)
    assert (memory.turns, memory.coreset_fraction) == ((), 1.0)
    turned = chosen("training.shots=8", "detector.turns=[90, 180, 270]").detector
    assert isinstance(turned, PatchCoreConfig)
    assert turned.coreset_fraction < 0.5
    assert "chosen for 8 good images of 1 category" in describe_choice(few, catalog_of(2000), torch.device("cpu"))


@pytest.mark.parametrize("setting", ["detector=5", "detector.encoder=dinov2", "detector.encoder.name=5", "schedule=2"])
def test_a_malformed_setting_is_named_in_one_line(setting: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(setting.partition("=")[0])):
        adapt_config(catalog_of(100), torch.device("cpu"), [setting])


def test_an_asked_length_brings_warm_up_and_ramp_along() -> None:
    config = choose_config(catalog_of(100), torch.device("cpu"), {"schedule": {"total_steps": 20}})
    assert (config.schedule.total_steps, config.schedule.warmup_steps, config.detector.easy_ramp_steps) == (20, 2, 2)


def test_what_is_said_is_what_will_be_done() -> None:
    catalog = catalog_of(7)
    config = choose_config(catalog, torch.device("cpu"), {"schedule": {"total_steps": 20}})
    images = ImagesConfig(fit="letterbox", tiles=(1, 3), tile_overlap=0.2)
    config = dataclasses.replace(
        config, detector=dataclasses.replace(config.detector, crop_px=(196, 196)), images=images
    )
    said = describe_choice(config, catalog, torch.device("cpu"))
    assert (
        "20 steps of 16 images at 196 x 196 px (cropped, padded to keep the aspect ratio, 1 x 3 tiles of each image)"
        in said
    )
    assert "7 good images of 1 category on cpu" in said


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_asked_for_gets_a_memory_of_the_encoders_that_need_no_network(device: str) -> None:
    catalog = catalog_of(200)
    config = adapt_config(catalog, torch.device(device), ["training.seed=3", "images.fit=letterbox"])
    detector = config.detector
    assert isinstance(detector, PatchCoreConfig)
    assert config.encoder_name == "muad-tiny + efficientnet-lite2"
    assert config.encoders[0].family().patch_px == detector.grid_px
    assert detector.most_patches < detector.candidate_fraction * 200 * 36 * 36 <= 16_000
    said = describe_choice(config, catalog, torch.device(device))
    assert "one look at all images at 504 x 504 px" in said
    assert "patchcore with encoder muad-tiny + efficientnet-lite2" in said
    assert said.endswith("--encoder dinov2-reg-base trains Dinomaly on it (docs/encoders.md)")
    assert parse_config(config_to_dict(config)) == config


def test_a_smaller_image_has_a_finer_grid_and_as_many_candidates() -> None:
    def grid_px(*sides: object) -> int:
        sized = [f"detector.{name}_px={list(sides)}" for name in ("resize", "crop")]
        detector = adapt_config(catalog_of(200), torch.device("cpu"), sized).detector
        assert isinstance(detector, PatchCoreConfig)
        places = (detector.crop_px[0] // detector.grid_px) * (detector.crop_px[1] // detector.grid_px)
        assert detector.candidate_fraction * 200 * places == pytest.approx(16_000)
        return detector.grid_px

    assert [grid_px(side, side) for side in (224, 392, 504, 700)] == [8, 10, 14, 14]
    assert grid_px(700, 336) == 9
    with pytest.raises(ConfigError):
        grid_px(0, 224)


def test_the_light_in_which_photographs_are_remembered_is_said() -> None:
    catalog, device = catalog_of(100), torch.device("cpu")
    for looks, said in (("one", "half of them remembered in 0.8 and 1.25 times"), ("every", "each remembered in 0.8")):
        asked = ["detector.exposure_gains=[0.8, 1.25]", f"detector.exposure_looks={looks}"]
        assert f"efficientnet-lite2, {said}" in describe_choice(adapt_config(catalog, device, asked), catalog, device)
    assert "the light" not in describe_choice(choose_config(catalog, device, {}), catalog, device)


def test_memory_and_candidates_are_shared_by_the_products() -> None:
    one = catalog_of(100)
    more = dataclasses.replace(
        one, records=(*one.records, *(dataclasses.replace(record, category="nut") for record in one.records))
    )
    alone, both = (choose_config(catalog, torch.device("cpu"), {}).detector for catalog in (one, more))
    assert both.most_patches == alone.most_patches // 2
    assert both.candidate_fraction == pytest.approx(alone.candidate_fraction)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["detector.encoder.name=dinov2-reg-base"], "dinomaly"),
        (["schedule.total_steps=20"], "dinomaly"),
        (["optim.lr=1e-3"], "dinomaly"),
        (["detector.easy_weight=0.1"], "dinomaly"),
        (["detector.name=dinomaly"], "dinomaly"),
        (["detector.name=patchcore"], "patchcore"),
        (["detector.most_patches=50"], "patchcore"),
        (['detector.encoders=["muad-tiny"]'], "patchcore"),
    ],
)
def test_what_only_a_training_has_brings_dinomaly(settings: list[str], name: str) -> None:
    assert adapt_config(catalog_of(100), torch.device("cpu"), settings).detector.name == name


def test_without_the_imagenet_package_the_memory_is_of_the_packaged_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "efficientnet-lite2", "efficientnet_lite2_not_here")
    assert adapt_config(catalog_of(100), torch.device("cpu"), []).encoder_name == "muad-tiny"
