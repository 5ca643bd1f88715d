"""Photographs are remembered in other light: which in which, and what that does to their values."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from muad.configuration.run_config import TrainingConfig
from muad.detectors import PatchCore, PatchCoreConfig
from muad.encoders.encoder import EncoderConfig
from muad.images.roi import InterestMasks
from muad.training.batches import look_through
from muad.training.exposures import exposed, exposures_in_turn
from muad.types import Record


def records_of(names: list[str], category: str = "bolt", root: str = "photos") -> list[Record]:
    return [
        Record(path=Path(root) / category / name, category=category, split="train", is_anomalous=False)
        for name in names
    ]


def test_half_of_each_category_is_looked_at_as_it_is_and_the_others_at_the_gains_in_turn() -> None:
    names = [f"{number:03}.png" for number in range(20)]
    records = [*records_of(names), *records_of(names[:8], "nut")]
    planned = exposures_in_turn(records, (0.8, 1.25), "one", seed=3)
    assert {len(gains) for (gains,) in planned} == {1}
    of_bolts, of_nuts = (
        Counter(gain for record, ((gain,),) in zip(records, planned, strict=True) if record.category == name)
        for name in ("bolt", "nut")
    )
    assert of_bolts == {1.0: 10, 0.8: 5, 1.25: 5}
    assert of_nuts == {1.0: 4, 0.8: 2, 1.25: 2}


def test_the_light_of_an_image_depends_on_seed_and_names_not_on_its_place() -> None:
    names = [f"{number:03}.png" for number in range(12)]
    there = exposures_in_turn(records_of(names), (0.8, 1.25), "one", seed=3)
    moved = exposures_in_turn(records_of(names[::-1], root="elsewhere"), (0.8, 1.25), "one", seed=3)
    assert moved[::-1] == there
    assert exposures_in_turn(records_of(names), (0.8, 1.25), "one", seed=4) != there


def test_a_turned_image_takes_the_next_light_at_each_angle() -> None:
    planned = exposures_in_turn(records_of(["0.png"]), (0.8, 1.25), "one", seed=0, turns=4)
    assert planned == [((1.0,), (0.8,), (1.0,), (1.25,))]


@pytest.mark.parametrize(("gains", "each"), [((), (1.0,)), ((0.8, 1.25), (1.0, 0.8, 1.25))])
def test_every_image_is_looked_at_as_it_is_and_at_every_gain(gains: tuple[float, ...], each: tuple[float, ...]) -> None:
    assert exposures_in_turn(records_of(["0.png", "1.png"]), gains, "every", seed=0, turns=2) == [(each, each)] * 2


def test_more_light_clips_at_white_and_leaves_depth_alone() -> None:
    image = np.array([[[10, 100, 250, 10, 100, 250]]], np.uint8)
    assert exposed(image[..., :3], 1.25).tolist() == [[[12, 125, 255]]]
    assert exposed(image, 1.25, ("colour", "depth")).tolist() == [[[12, 125, 255, 10, 100, 250]]]
    assert exposed(image, 1.25, ("depth", "infrared")).tolist() == image.tolist()
    assert exposed(image, 1) is image


class Looker(PatchCore):
    """Shows what it is shown."""

    def encode(self, images: torch.Tensor) -> None:
        """Nothing, so that batches hold the images themselves."""


@pytest.mark.parametrize(("looks", "gains"), [("every", [1, 2]), ("one", [1])])
def test_light_falls_on_what_is_inspected_and_not_on_the_paint_around_it(
    tmp_path: Path, looks: str, gains: list[float]
) -> None:
    mask = np.zeros((56, 56), np.uint8)
    mask[:28] = 255
    for folder, pixels in (("masks", mask), ("bolt", np.full((56, 56, 3), 100, np.uint8))):
        (tmp_path / folder).mkdir()
        assert cv2.imwrite(str(tmp_path / folder / "bolt.png"), pixels)
    size = (56, 56)
    encoder = EncoderConfig(name="random-vit-tiny")
    detector = Looker(
        PatchCoreConfig(encoder=encoder, resize_px=size, crop_px=size, exposure_gains=(2.0,), exposure_looks=looks)  # type: ignore[arg-type]
    )
    detector.preprocessing = replace(detector.preprocessing, interest=InterestMasks(tmp_path / "masks"))
    batches = look_through(
        records_of(["bolt.png"], root=str(tmp_path)), detector, TrainingConfig(), progress=lambda *_: None, note=print
    )
    shown = [batch.images[0] for batch in batches]
    mean, std = (torch.tensor(values) for values in (detector.preprocessing.mean, detector.preprocessing.std))
    found = [image[:, 0, 0] * std + mean for image in shown]
    for gain, lit in zip(gains, found, strict=True):
        torch.testing.assert_close(lit * 255, torch.full((3,), 100.0 * gain), atol=0.01, rtol=0)
    assert max(float(image[:, -1].abs().max()) for image in shown) < 0.02  # the paint is the encoder's mean
