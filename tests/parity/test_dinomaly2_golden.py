"""Every number recorded from the authors' preview of Dinomaly2, through the code a user runs.

Sizes, heads and the seed are those of each recording; what makes it Dinomaly2 is settings.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from muad.checkpoints.checkpoint import load_detector
from muad.checkpoints.official import import_official, official_name
from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig, load_config
from muad.detectors.dinomaly import Dinomaly, DinomalyConfig, top_mean
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.errors import ConfigError
from muad.training.optimizer import build_optimizer, set_learning_rates

from .conftest import Recording, digest_error, image_batch, relative_error

SYSTEM = "dinomaly2"
DEPTH = 12  # of an encoder whose blocks 2 to 9 are read: eight, as there are in the decoder


@pytest.fixture
def detector(recording: Recording, tmp_path: Path) -> Dinomaly:
    """With the weights of the recorded network, and the mining of its steps."""
    file = tmp_path / "encoder.safetensors"
    save_file(recorded_encoder(recording), file)
    layout = VitLayout(
        width=recording.number("width"),
        depth=DEPTH,
        heads=recording.number("heads"),
        patch_px=patch_px(recording),
        registers=recording.number("registers"),
        position_grid=recording.number("position_grid"),
    )
    fractions = [easy_fraction(recording, step) for step in recording.steps()]
    side = recording.number("side")
    detector = Dinomaly(
        DinomalyConfig(
            encoder=EncoderConfig(name="custom", weights=file, layout=layout),
            resize_px=(side, side),
            crop_px=(side, side),
            dropout_rate=0.0,
            attention_eps=1e-8,
            recentring=True,
            bottleneck_width=256,
            bottleneck_lr_factor=0.1,
            easy_fraction=max(fractions),
            easy_ramp_steps=fractions.index(max(fractions)),
        )
    )
    recording.refill((name_of(name), parameter) for name, parameter in detector.trainable_state().items())
    return detector


def name_of(name: str) -> str:
    return official_name(name, narrow=True)


def patch_px(recording: Recording) -> int:
    return recording.number("side") // recording["step0.encoder_group.0"].shape[-1]


def easy_fraction(recording: Recording, step: int) -> float:
    """As the recorded code had it: a float64 that is kept as a float32."""
    return round(float(recording[f"step{step}.easy_fraction"]), 6)


def recorded_encoder(recording: Recording) -> dict[str, Tensor]:
    """The frozen ViT in Meta's naming."""
    width, grid, patch = recording.number("width"), recording.number("position_grid"), patch_px(recording)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    if registers := recording.number("registers"):
        shapes["register_tokens"] = (1, registers, width)
    block = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    block |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    norms = ["norm"]
    for index in range(DEPTH):
        norms += [f"blocks.{index}.norm1", f"blocks.{index}.norm2"]
        shapes |= {f"blocks.{index}.ls{scale}.gamma": (width,) for scale in (1, 2)}
        for name, shape in block.items():
            shapes |= {f"blocks.{index}.{name}.weight": shape, f"blocks.{index}.{name}.bias": shape[:1]}
    shapes |= {f"{norm}.{name}": (width,) for norm in norms for name in ("weight", "bias")}
    tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
    recording.refill((f"encoder.{name}", tensor) for name, tensor in tensors.items())
    return tensors


def grid(tokens: Tensor, detector: Dinomaly) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, detector.encoder.grid)


def test_recentred_targets_and_what_the_decoder_makes_are_the_authors(recording: Recording, detector: Dinomaly) -> None:
    with torch.no_grad():
        encoded, decoded = detector.decode(detector.encode(recording["step0.image"]))
    assert len(encoded) == len(recording.under("step0.encoder_group."))
    for group, (target, restored) in enumerate(zip(encoded, decoded, strict=True)):
        assert relative_error(grid(target, detector), recording[f"step0.encoder_group.{group}"]) < 1e-5
        assert relative_error(grid(restored, detector), recording[f"step0.decoder_group.{group}"]) < 1e-5


def test_loss_and_gradients_of_the_first_step_are_the_authors(recording: Recording, detector: Dinomaly) -> None:
    losses = detector(image_batch(recording["step0.image"]), 0)
    assert relative_error(losses.total, recording["step0.loss"]) < 1e-5
    losses.total.backward()
    expected = recording.under("step0.grad.")
    ours = {name_of(name): p.grad for name, p in detector.named_parameters() if p.requires_grad}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert digest_error(gradient, expected[name]) < 1e-5, name


def test_all_steps_are_the_authors(recording: Recording, detector: Dinomaly) -> None:
    """Two rates, mining, clipping, and an optimiser without the largest second moment."""
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(lr=2e-3, weight_decay=1e-4, eps=1e-10, amsgrad=False, clip_norm=0.1),
        schedule=ScheduleConfig(kind="constant", total_steps=len(recording.steps()), warmup_steps=0),
    )
    optimizer = build_optimizer(config.optim, detector)
    for step in recording.steps():
        set_learning_rates(config, optimizer, step)
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert rates == {"bottleneck": pytest.approx(2e-4), "decoder": 2e-3}
        at = detector.easy_fraction_at(step)
        assert at == pytest.approx(easy_fraction(recording, step))
        total = detector(image_batch(recording[f"step{step}.image"]), step).total
        assert relative_error(total, recording[f"step{step}.loss"]) < 1e-5, step
        optimizer.zero_grad()
        total.backward()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, config.optim.clip_norm)
        optimizer.step()
    expected = recording.under(f"after{len(recording.steps())}.")
    ours = {name_of(name): tensor for name, tensor in detector.trainable_state().items()}
    assert ours.keys() == expected.keys()
    for name, tensor in ours.items():
        assert digest_error(tensor, expected[name]) < 1e-5, name


def test_map_and_score_are_the_authors(recording: Recording, detector: Dinomaly) -> None:
    images = recording["eval.image"]
    distance = detector.distance_map(images).detach()
    assert relative_error(detector.upsample_map(distance), recording["eval.map.input_size"]) < 1e-5
    prediction = detector.predict(images)
    assert relative_error(prediction.anomaly_map, recording["eval.map.256_blurred"]) < 1e-5
    assert relative_error(prediction.score, recording["eval.score"]) < 1e-5
    assert relative_error(top_mean(recording["eval.map.256_blurred"], 0.01), recording["eval.score"]) < 1e-6


def test_a_checkpoint_in_the_authors_naming_is_imported(
    recording: Recording, detector: Dinomaly, tmp_path: Path
) -> None:
    """As a user does it; and not by a recipe of the first Dinomaly, whose targets are others."""
    state = {f"encoder.{name}": tensor for name, tensor in recorded_encoder(recording).items()}
    state |= {name_of(name): tensor.detach() for name, tensor in detector.trainable_state().items()}
    save_file(state, tmp_path / "model.safetensors")
    side, heads = recording.number("side"), recording.number("heads")
    sizes = [f"detector.resize_px=[{side}, {side}]", f"detector.crop_px=[{side}, {side}]"]
    with pytest.raises(ConfigError, match="bottleneck_width must be 256 for a checkpoint of Dinomaly2, got none"):
        import_official(tmp_path / "model.safetensors", tmp_path / "run", load_config("dinomaly-mvtec", sizes))
    config = load_config("dinomaly2-mvtec", sizes)
    import_official(tmp_path / "model.safetensors", tmp_path / "run", config, heads=heads)
    prediction = load_detector(tmp_path / "run").predict(recording["eval.image"])
    assert relative_error(prediction.anomaly_map, recording["eval.map.256_blurred"]) < 1e-5
    assert relative_error(prediction.score, recording["eval.score"]) < 1e-5
