"""Every number recorded from the authors' RD4AD, through the code a user runs."""

import pytest
import torch
from torch import Tensor

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.rd4ad import Rd4ad, Rd4adConfig
from muad.detectors.types import Batch, Losses
from muad.encoders.encoder import EncoderConfig
from muad.nn.reverse_distillation import ResidualConfig

from .conftest import Recording, relative_error, require_gradients, require_steps

SYSTEM = "rd4ad"
UNUSED = ("bn.conv4.", "bn.bn4.")  # in their code, never called


def official_name(name: str) -> str:
    """What the authors call one of our tensors."""
    owner, _, rest = name.partition(".")
    part, rest = rest.split(".", 1)
    if owner == "bottleneck" and part == "shrink":
        path, number, rest = rest.split(".", 2)
        layer, is_norm = divmod(int(number), 3)
        return f"bn.{'bn' if is_norm else 'conv'}{3 if path == '1' else layer + 1}.{rest}"
    stage = "" if owner == "bottleneck" else rest.split(".", 1)[0]
    block, kind, number, rest = (rest if owner == "bottleneck" else rest.split(".", 1)[1]).split(".", 3)
    place = f"bn.bn_layer.{block}" if owner == "bottleneck" else f"decoder.layer{int(stage) + 1}.{block}"
    if kind == "shortcut":
        return f"{place}.{'downsample' if owner == 'bottleneck' else 'upsample'}.{number}.{rest}"
    layer, is_norm = divmod(int(number), 3)
    return f"{place}.{'bn' if is_norm else 'conv'}{layer + 1}.{rest}"


def features(recording: Recording, prefix: str) -> tuple[Tensor, ...]:
    found = recording.under(f"{prefix}.features.")
    return tuple(found[str(number)] for number in range(len(found)))


def blocks_of(names: set[str]) -> ResidualConfig:
    """The recorded blocks, as far as names tell."""
    counts = [len({name.split(".")[2] for name in names if name.startswith(f"decoder.layer{n}.")}) for n in (1, 2, 3)]
    fusing = len({name.split(".")[2] for name in names if name.startswith("bn.bn_layer.")})
    kind = "bottleneck" if "decoder.layer1.0.conv3.weight" in names else "basic"
    return ResidualConfig(kind=kind, fusing_blocks=fusing, decoder_blocks=tuple(counts))


BUILT: dict[str, Rd4ad] = {}
"""By size and widths: a detector is built once, and its weights are remade for every test."""


@pytest.fixture
def detector(recording: Recording) -> Rd4ad:
    key = str(recording.facts)
    if key not in BUILT:
        BUILT[key] = build(recording)
    BUILT[key].zero_grad()
    refill(recording, BUILT[key])
    return BUILT[key]


def build(recording: Recording) -> Rd4ad:
    side, channels = recording.number("size"), [stage.shape[1] for stage in features(recording, "step0")]
    encoder = "random-resnet18" if channels == [64, 128, 256] else "random-wide_resnet50_2"
    config = Rd4adConfig(
        encoder=EncoderConfig(name=encoder),
        resize_px=(side, side),
        blocks=blocks_of(set(recording.under("step0.grad."))),
    )
    return Rd4ad(config)


def refill(recording: Recording, detector: Rd4ad) -> None:
    recording.refill((official_name(name), tensor) for name, tensor in detector.trainable_state().items())


def losses_of(recording: Recording, detector: Rd4ad, step: int) -> Losses:
    stages = features(recording, f"step{step}")
    batch = Batch(
        images=torch.empty(0, 3, 1, 1),
        seeds=tuple(range(len(stages[0]))),
        categories=("any",) * len(stages[0]),
        features=stages,
    )
    return detector(batch, step)


def test_embedding_and_restored_stages_are_the_authors(recording: Recording, detector: Rd4ad) -> None:
    stages = features(recording, "step0")
    detector.train()
    embedding = detector.bottleneck(stages)
    assert relative_error(embedding, recording["step0.bottleneck"]) < 1e-5
    for number, restored in enumerate(detector.decoder(embedding)):
        assert relative_error(restored, recording[f"step0.decoded.{number}"]) < 1e-5, number


def test_loss_and_gradients_are_the_authors(recording: Recording, detector: Rd4ad) -> None:
    losses = losses_of(recording, detector.train(), 0)
    require_gradients(recording, losses, detector, official_name)


def test_training_steps_are_the_authors(recording: Recording, detector: Rd4ad) -> None:
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adam", lr=0.005, betas=(0.5, 0.999), eps=1e-8, weight_decay=0, amsgrad=False),
        schedule=ScheduleConfig(kind="constant", warmup_steps=0),
    )
    require_steps(recording, config, detector, lambda step: losses_of(recording, detector, step), official_name, UNUSED)


def test_map_and_score_are_the_authors(recording: Recording, detector: Rd4ad) -> None:
    detector.eval()
    with torch.no_grad():
        grids = detector.compare(features(recording, "eval"))
    maps, scores = detector.map_head({name: grid.numpy() for name, grid in grids.items()})
    assert relative_error(torch.from_numpy(maps), recording["eval.map"]) < 1e-5
    assert relative_error(torch.from_numpy(scores), recording["eval.score"]) < 1e-5
