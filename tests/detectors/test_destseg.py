"""DeSTSeg: damage, phases, what it refuses; its numbers are in tests/parity."""

import dataclasses

import pytest
import torch

from muad.configuration.run_config import load_config
from muad.detectors.destseg import DamageConfig, DeStSeg, DeStSegConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.errors import ConfigError

SMALL = EncoderConfig(name="random-resnet18", tap_layers=(1, 2))


def make(**changes: object) -> DeStSeg:
    torch.manual_seed(3)
    settings = {"encoder": SMALL, "resize_px": (32, 48), "segmenter_width": 4, "dilations": (1, 2)}
    return DeStSeg(DeStSegConfig(**(settings | changes)))


@pytest.fixture(scope="module")
def detector() -> DeStSeg:
    return make()


def batch(seeds: tuple[int, ...] = (0, 1, 2, 3), category: str = "nut") -> Batch:
    images = torch.randn(len(seeds), 3, 32, 48, generator=torch.Generator().manual_seed(1))
    return Batch(images=images.clamp(-1, 1), seeds=seeds, categories=(category,) * len(seeds))


def test_damage_is_where_the_mask_is_and_belongs_to_the_image(detector: DeStSeg) -> None:
    given = batch(tuple(range(8)))
    made = detector.prepare(given)
    assert made.clean is not None
    assert made.masks is not None
    assert torch.allclose(made.clean, given.images, atol=1e-6)
    outside = (made.images - made.clean).abs().amax(dim=1, keepdim=True)[made.masks == 0]
    assert outside.max().item() < 1e-6
    assert (made.masks.flatten(1).amax(dim=1) > 0).float().mean() > 0.5
    alone = detector.prepare(dataclasses.replace(given, images=given.images[3:4], seeds=(3,), categories=("nut",)))
    assert torch.allclose(alone.images[0], made.images[3], atol=1e-6)
    parts = made.split(2)
    assert parts[1].clean is not None
    assert parts[1].clean.equal(made.clean[4:])


def test_the_damage_is_the_authors_where_one_setting_of_it_is_changed() -> None:
    config = load_config("destseg-mvtec", ["detector.synthesis.threshold=0.4"])
    assert isinstance(config.detector, DeStSegConfig)
    assert config.detector.synthesis == DamageConfig(threshold=0.4)
    assert config.detector.synthesis.probability == 1.0


def test_images_of_named_categories_are_turned_and_no_others() -> None:
    detector = make(quarter_turned=("nut",), resize_px=(32, 32))
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    turned = detector._turn(images, tuple(range(6)), ("nut",) * 6)
    quarters = [torch.rot90(images, number, dims=(2, 3)) for number in range(4)]
    which = [min(range(4), key=lambda q: float((quarters[q][i] - turned[i]).abs().max())) for i in range(6)]
    assert len(set(which)) > 1
    for index, quarter in enumerate(which):
        assert torch.allclose(turned[index], quarters[quarter][index], atol=1e-4)
    assert detector._turn(images, tuple(range(6)), ("screw",) * 6).equal(images)


def test_phases_are_shares_of_the_run_and_move_their_own_part(detector: DeStSeg) -> None:
    detector.total_steps = 20
    assert detector.student_steps == 4
    learns = {
        group["name"]: [step for step in range(20) if group["learns"](step)] for group in detector.parameter_groups()
    }
    assert learns["student"] == [0, 1, 2, 3]
    assert learns["segmenter residual"] == learns["segmenter head"] == list(range(4, 20))
    given = detector.prepare(batch())
    for step, part, other in ((3, detector.student, detector.segmenter), (4, detector.segmenter, detector.student)):
        detector.zero_grad()
        detector(given, step).total.backward()
        assert part.training
        assert not other.training
        assert all(parameter.grad is not None for parameter in part.parameters())
        assert all(parameter.grad is None for parameter in other.parameters())
    detector.total_steps = 1
    assert detector.student_steps == 1


def test_the_loss_of_a_place_without_features_has_a_gradient(detector: DeStSeg) -> None:
    images = torch.zeros(2, 3, 32, 48)
    detector.zero_grad()
    detector.cosine_loss(images, images).backward()
    assert all(bool(p.grad.isfinite().all()) for p in detector.student.parameters() if p.grad is not None)


def test_what_it_cannot_use_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"must be a CNN such as .*, got random-vit-tiny"):
        make(encoder=EncoderConfig(name="random-vit-tiny"))
    with pytest.raises(ConfigError, match=r"must leave a coarser stage of random-resnet18 .*, got \[3, 4\]"):
        make(encoder=EncoderConfig(name="random-resnet18", tap_layers=(3, 4)))
    with pytest.raises(ConfigError, match=r"detector\.map_of must be distance where detector\.student_share is 1"):
        DeStSegConfig(student_share=1.0)
