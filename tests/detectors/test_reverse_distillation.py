"""RD4AD, ReContrast and ViTAD beyond what recordings show: modes, sizes, encoders, runs."""

import dataclasses
from pathlib import Path

import pytest
import torch

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.detectors import Rd4ad, Rd4adConfig, ReContrast, ReContrastConfig, ViTad, ViTadConfig
from muad.detectors.recontrast import deviating_cosine_loss
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.errors import ConfigError
from muad.nn.mining import flattened_cosine_loss
from muad.nn.reverse_distillation import ResidualConfig

CNN = EncoderConfig(name="random-timm:test_resnet")
SMALL = ResidualConfig(kind="basic", fusing_blocks=1, decoder_blocks=(1, 1, 1))
LAYOUT = VitLayout(width=16, depth=4, heads=2, patch_px=8, registers=1, position_grid=4)
TINY_VIT = EncoderConfig(name="random-custom", layout=LAYOUT, tap_layers=(0, 1, 2, 3))


def batch(side: int = 64, category: str = "any", count: int = 3) -> Batch:
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))
    return Batch(images=images, seeds=tuple(range(count)), categories=(category,) * count)


# ------------------------------------------------------------------------------------------------------- shapes


def test_any_image_size_and_any_three_halving_stages_will_do() -> None:
    config = Rd4adConfig(encoder=CNN, resize_px=(72, 100), blocks=ResidualConfig(decoder_blocks=(1, 1, 1)))
    detector = Rd4ad(config)
    images = torch.randn(2, 3, 72, 100)
    assert [tuple(stage.shape) for stage in detector.decode(detector.encode(images))] == [
        tuple(stage.shape) for stage in detector.encode(images)
    ]
    assert detector.predict(images).anomaly_map.shape == (2, 72, 100)


def test_wide_resnet_is_restored_by_blocks_of_its_own_shape() -> None:
    """The published size: bottleneck blocks whose inner width is half of what comes out."""
    with torch.device("meta"):
        from muad.nn.reverse_distillation import FusingBottleneck, MirroredDecoder

        bottleneck = FusingBottleneck((256, 512, 1024), ResidualConfig())
        decoder = MirroredDecoder((256, 512, 1024), ((64, 64), (32, 32), (16, 16)), ResidualConfig())
        embedding = bottleneck([torch.empty(1, 256 * 2**n, 64 // 2**n, 64 // 2**n) for n in range(3)])
    assert embedding.shape == (1, 2048, 8, 8)
    assert [tuple(stage.shape) for stage in decoder(embedding)] == [
        (1, 256, 64, 64),
        (1, 512, 32, 32),
        (1, 1024, 16, 16),
    ]


@pytest.mark.parametrize("kind", [Rd4ad, ReContrast])
def test_an_encoder_that_cannot_be_used_is_refused_in_one_line(kind: type[Rd4ad | ReContrast]) -> None:
    with pytest.raises(ConfigError, match=r"must be a CNN such as resnet18, .*, got muad-tiny\.$"):
        kind(kind.settings(encoder=EncoderConfig()))
    with pytest.raises(ConfigError, match=r"three stages of .*, each half as large .* got \[1, 3\]"):
        kind(kind.settings(encoder=dataclasses.replace(CNN, tap_layers=(1, 3)), resize_px=(64, 64)))


def test_vitad_refuses_a_cnn_and_says_what_it_can_use() -> None:
    with pytest.raises(ConfigError, match=r"must be a plain vision transformer, got a CNN\. Choose one of .*muad-tiny"):
        ViTad(ViTadConfig(encoder=CNN))
    with pytest.raises(ConfigError, match=r"two blocks or more, .* got \(3,\)"):
        ViTad(ViTadConfig(encoder=dataclasses.replace(TINY_VIT, tap_layers=(3,)), resize_px=(32, 32)))


def test_vitad_reads_the_last_block_of_each_quarter_unless_told_otherwise() -> None:
    detector = ViTad(ViTadConfig(encoder=TINY_VIT, resize_px=(32, 40), blocks_per_target=1))
    assert detector.encode(torch.randn(2, 3, 32, 40)).shape == (2, 4, 20, 16)
    assert ViTad(ViTadConfig(encoder=EncoderConfig(), resize_px=(56, 56))).encoder.tap_layers == (2, 5, 8, 11)
    told = dataclasses.replace(TINY_VIT, tap_layers=(1, 3))
    assert len(ViTad(ViTadConfig(encoder=told, resize_px=(32, 32))).decoder) == 3


def test_only_matrices_of_vitad_decay() -> None:
    config = ViTadConfig(encoder=TINY_VIT, resize_px=(32, 32))
    matrices, biases = ViTad(config).parameter_groups()
    assert "weight_decay" not in matrices
    assert biases["weight_decay"] == 0
    assert all(parameter.dim() == 1 for parameter in biases["params"])
    (every,) = ViTad(dataclasses.replace(config, decay_biases=True)).parameter_groups()
    assert len(every["params"]) == len(matrices["params"]) + len(biases["params"])


# -------------------------------------------------------------------------------------------- learning, in parts


@pytest.fixture(scope="module")
def recontrast() -> ReContrast:
    return ReContrast(ReContrastConfig(encoder=CNN, resize_px=(64, 64), blocks=SMALL))


def statistics(detector: ReContrast) -> torch.Tensor:
    return torch.cat(
        [t.flatten() for name, t in detector.trainable_state().items() if "trained" in name and "run" in name]
    )


def test_the_copy_learns_slowly_and_the_frozen_encoder_not_at_all(recontrast: ReContrast) -> None:
    decoder, encoder = recontrast.parameter_groups()
    assert encoder["lr_factor"] == 0.005
    assert len(decoder["params"]) + len(encoder["params"]) == sum(p.requires_grad for p in recontrast.parameters())
    recontrast.train()(batch(), 0).total.backward()
    assert all(parameter.grad is not None for parameter in encoder["params"])
    assert all(parameter.grad is None for parameter in recontrast.encoder.parameters())
    recontrast.zero_grad()


@pytest.mark.parametrize(
    ("settings", "category", "moves"),
    [({}, "any", False), ({"encoder_norm": "batch"}, "any", True),
     ({"encoder_norm": "batch", "pretrained_norm_categories": ("grid",)}, "grid", False),
     ({"encoder_norm": "batch", "pretrained_norm_categories": ("grid",)}, "any", True)],
)  # fmt: skip
def test_the_trained_encoders_batch_norm_learns_where_the_settings_say_so(
    recontrast: ReContrast, settings: dict[str, object], category: str, moves: bool
) -> None:
    before, config = statistics(recontrast).clone(), recontrast.config
    recontrast.config = dataclasses.replace(config, **settings)
    recontrast.train()(batch(category=category), 0)
    recontrast.config = config
    assert torch.equal(statistics(recontrast), before) != moves


def test_easy_places_get_no_gradient_and_the_value_stays() -> None:
    generator = torch.Generator().manual_seed(3)
    encoded = torch.randn(2, 4, 5, 6, generator=generator)
    decoded = torch.randn(2, 4, 5, 6, generator=generator).requires_grad_()
    loss = deviating_cosine_loss(encoded, decoded, 0.5, 0.0)
    loss.backward()
    distance = 1 - torch.nn.functional.cosine_similarity(encoded, decoded.detach(), dim=1)
    easy = distance < distance.mean() + 0.5 * distance.std()
    assert torch.equal(decoded.grad.abs().sum(1) == 0, easy)
    assert loss == flattened_cosine_loss(encoded, decoded)


# --------------------------------------------------------------------------------------------------- whole runs

CNN_RUN = [
    "detector.encoder.name=random-timm:test_resnet", "detector.resize_px=[64, 64]", "detector.blocks.kind=basic",
    "detector.blocks.fusing_blocks=1", "detector.blocks.decoder_blocks=[1, 1, 1]",
]  # fmt: skip
VIT_RUN = ["detector.encoder.name=muad-tiny", "detector.resize_px=[56, 56]", "detector.blocks_per_target=1"]
RUNS = {"rd4ad": CNN_RUN, "recontrast": CNN_RUN, "vitad": VIT_RUN}


class PowerCut(BaseException):
    """What a crash looks like from the inside."""


@pytest.mark.parametrize("name", RUNS)
def test_a_run_without_recipe_that_was_interrupted_ends_bit_for_bit_as_one_that_was_not(
    name: str, photos: Path, tmp_path: Path
) -> None:
    overrides = [
        f"detector.name={name}", *RUNS[name], "schedule.total_steps=3",
        "training.batch_size=4", "training.save_every_steps=2", "training.precision=32-true", "training.cache=memory",
    ]  # fmt: skip

    def fail(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "train" and done == 2:
            raise PowerCut

    muad.train(photos, tmp_path / "whole", overrides=overrides, device="cpu")
    with pytest.raises(PowerCut):
        muad.train(photos, tmp_path / "broken", overrides=overrides, device="cpu", progress=fail)
    muad.train(photos, tmp_path / "broken", overrides=overrides, device="cpu", resume=True)
    whole, broken = (load_detector(tmp_path / run).trainable_state() for run in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(tensor, broken[key]) for key, tensor in whole.items())
    assert any(key.endswith("running_var") for key in whole) == (name != "vitad")
    report = muad.evaluate(tmp_path / "whole", photos, device="cpu")
    assert report.images == 8


@pytest.mark.parametrize("settings", [Rd4adConfig, ReContrastConfig, ViTadConfig])
def test_suggested_settings_are_the_authors_optimizer_with_an_encoder_that_needs_no_network(settings: type) -> None:
    from muad.configuration.run_config import parse_config

    for device in ("cpu", "cuda"):
        own = settings.suggest(100, device)
        config = parse_config({**own, "detector": {"name": settings().name, **own["detector"]}})
        assert config.encoder is not None
        assert config.encoder.family().origin != "hub"
        assert config.schedule.warmup_steps == 0


@pytest.mark.parametrize("name", RUNS)
def test_a_step_under_bfloat16_is_near_that_in_float32(name: str) -> None:
    kind = {"rd4ad": Rd4ad, "recontrast": ReContrast}.get(name)
    torch.manual_seed(2)
    if kind is None:
        detector = ViTad(ViTadConfig(encoder=TINY_VIT, resize_px=(64, 64), blocks_per_target=1))
    else:
        detector = kind(kind.settings(encoder=CNN, resize_px=(64, 64), blocks=SMALL))
    expected = detector(batch(), 0).total
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(detector(batch(), 0).total, expected, rtol=2e-2)
